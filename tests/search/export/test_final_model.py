"""Several recipes in one model: plan from confirmations, refits, forecast, export and model folder."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from search.export.candidates.members import ExportMember
from search.export.doubts import _trains_otherwise, doubts_of_data, doubts_of_export
from search.export.expected_score import _recipe_groups, forecast_export, read_optimism
from search.export.files import write_export
from search.export.final_model import RefitFailed, Refits, gather_refits
from search.export.notes import ExportNotes, RecipeNotes
from search.export.output.export import Export
from search.export.plan import ExportPlan, plan_export, queue_refits
from search.report.status import optimism_lines
from search.statistics.paired_gain import shown_gain
from search.study_setup.create_study import create_study
from search.study_state.confirmation import Confirmation, freeze_split, read_confirmation
from search.study_state.snapshot import read_snapshot
from search.study_state.training_costs import final_recipe
from search.worker.study_context import StudyContext
from storage.stores import open_stores
from storage.values import PROBE_NOTE, TRIAL_NOTE, Failure, StudyState, TrialOutcome, TrialRecord, TrialStatus, WorkKind
from tests.search.small_study import STUDY, make_context, study_plan, work_on
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.inference.model_folder import load_model_folder
from trainer.inference.predict import predict_folder
from trainer.recipe.recipe import Recipe

ENSEMBLE = STUDY.replace("[space]", '[space]\nbackbone = ["test_resnet", "test_vit"]').replace(
    "epochs = 3", "epochs = 1"
)
FINAL = '\n[final]\nimage_size = 48\nensemble = "equal"\nmembers = 2\n'
SPLITS = (1, 2)
FORECAST = {
    "expected": 0.9,
    "low": 0.75,
    "high": 1.0,
    "level": 0.9,
    "error": 0.05,
    "test_images": 6,
    "single": 0.88,
    "averaging": 0.02,
    "chances": {"trial 0": 0.3, "trial 1": 0.7},
}


def wrong_on(y: NDArray[np.int64], third: int) -> NDArray[np.float32]:
    """Probabilities that are confident and right on two thirds of the images, unsure and wrong on one."""
    wrong = (np.arange(len(y)) // 3) % 3 == third
    proba = np.where(wrong[:, None], 0.4 * np.eye(3)[y] + 0.5 * np.eye(3)[(y + 1) % 3], 0.85 * np.eye(3)[y])
    return (proba + (1.0 - proba.sum(axis=1, keepdims=True)) / 3).astype(np.float32)


def confirm(context: StudyContext, trial: TrialRecord, split: int, oof: NDArray[np.float32]) -> None:
    queue = context.stores.queue
    recipe = final_recipe(trial.recipe or {}, context.spec.final).to_flat()
    queue.add(
        context.study.id, WorkKind.CONFIRM, split=split, seed=split, recipe=recipe, note={TRIAL_NOTE: trial.number}
    )
    item = queue.take(context.study.id, "w", 60, [WorkKind.CONFIRM])
    assert item is not None
    value = score("accuracy", Targets(context.images.y), oof)
    outcome = TrialOutcome(
        status=TrialStatus.FINISHED, value=value, brier=0.5, ambiguity=0.0, temperature=1.0, predictions={"oof": oof}
    )
    assert queue.store(item, outcome)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, competition_folder: Path) -> Iterator[StudyContext]:
    """A searched study with two confirmed recipes, the default and one of another backbone, which err on different
    images.
    """
    folder = tmp_path_factory.mktemp("ensemble")
    (folder / "colours.toml").write_text(ENSEMBLE + FINAL)
    stores = open_stores(f"sqlite:///{folder / 'retable.db'}", create=True)
    stored = create_study(stores, study_plan(folder / "colours.toml", competition_folder, budget=4))
    made = make_context(stores, stored, competition_folder, folder / "home")
    work_on(made)
    for split in SPLITS:
        freeze_split(stores, stored, split, made.images)
        for third, trial in enumerate(chosen(made)):
            confirm(made, trial, split, wrong_on(made.images.y, third))
    yield made
    made.loader.close()
    stores.database.close()


def chosen(context: StudyContext) -> list[TrialRecord]:
    """The trial of the default recipe, and the first of the other backbone."""
    records = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    return [next(r for r in records if (r.recipe or {})["backbone"] == name) for name in ("test_resnet", "test_vit")]


def refit(context: StudyContext, plan: ExportPlan) -> Refits:
    ids = queue_refits(context.stores, plan, context.home)
    work_on(context)
    return gather_refits(context.stores, plan, ids)


@pytest.fixture(scope="module")
def plan(context: StudyContext) -> ExportPlan:
    return plan_export(context.stores, context.study, seeds=None, full_data=False)


@pytest.fixture(scope="module")
def refits(context: StudyContext, plan: ExportPlan) -> Refits:
    return refit(context, plan)


@pytest.fixture(scope="module")
def exported(
    context: StudyContext, plan: ExportPlan, refits: Refits, tmp_path_factory: pytest.TempPathFactory
) -> Export:
    output = tmp_path_factory.mktemp("out") / "export"
    return write_export(context.stores, plan, refits, context.images, context.home, output, None, forecast=FORECAST)


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_recipes_with_different_errors_are_both_planned_as_confirmed(context: StudyContext, plan: ExportPlan) -> None:
    numbers = {trial.number for trial in chosen(context)}
    assert {name.trial for name in plan.choice.names} == numbers and plan.choice.blend_weights == (0.5, 0.5)
    assert {member.number for member in plan.members} == numbers
    assert plan.choice.gain is not None and plan.choice.gain.mean == pytest.approx(9 / 30)
    assert {member.recipe.image_size for member in plan.members} == {48}, "[final] counts"
    assert all(tuple(r.split for r in member.rounds) == SPLITS for member in plan.members)
    assert plan.estimates is not None and plan.leader.number == plan.estimates.leader.number


def test_settings_and_the_deadline_limit_the_plan(context: StudyContext) -> None:
    short = plan_export(context.stores, context.study, seeds=None, full_data=False, members_at_most=1)
    assert len(short.members) == 1 and short.short_of_time
    both = plan_export(context.stores, context.study, seeds=3, full_data=False, members_at_most=9)
    assert len(both.members) == 2 and both.seeds == 3 and not both.short_of_time


def test_the_model_averages_the_refits_of_its_members(refits: Refits, context: StudyContext, exported: Export) -> None:
    tests = [member.test for member in refits.members if member.test is not None]
    assert refits.test is not None and len(tests) == 2
    np.testing.assert_allclose(refits.test, np.mean(tests, axis=0), atol=1e-6)
    assert np.abs(tests[0] - tests[1]).max() > 1e-3, "two different models"
    oof = np.mean([member.oof_by_training[0] for member in refits.members], axis=0)
    assert exported.score == pytest.approx(score("accuracy", Targets(context.images.y), oof))
    table = rows(exported.folder / "oof.csv")
    np.testing.assert_allclose([[float(cell) for cell in row[5:]] for row in table[1:]], oof, atol=1e-6)


@pytest.mark.slow
def test_the_model_folder_reproduces_the_refits_without_retable(
    exported: Export, competition_folder: Path, tmp_path: Path
) -> None:
    config = json.loads((exported.folder / "model" / "config.json").read_text())
    assert {member["backbone"] for member in config["members"]} == {"test_resnet", "test_vit"}
    assert [len(member["weights"]) for member in config["members"]] == [2, 2]
    done = subprocess.run(
        [sys.executable, exported.folder / "model" / "predict.py", competition_folder / "test", "--output", "p.csv"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    proba = {row[0]: [float(cell) for cell in row[1:]] for row in rows(exported.folder / "test_proba.csv")[1:]}
    labels = dict(rows(exported.folder / "submission.csv")[1:])
    alone = rows(tmp_path / "p.csv")[1:]
    assert len(alone) == 6
    for image, label, *cells in alone:
        np.testing.assert_allclose([float(cell) for cell in cells], proba[Path(image).stem], atol=1e-5)
        assert label == labels[Path(image).stem]


def test_card_notes_and_console_give_the_reasons(context: StudyContext, plan: ExportPlan, exported: Export) -> None:
    card = (exported.folder / "MODEL_CARD.md").read_text()
    assert plan.choice.gain is not None and plan.estimates is not None
    gain = shown_gain(plan.choice.gain, "accuracy")
    numbers = ", ".join(name.short for name in plan.choice.names)
    reason = f"The average of trials {numbers} gains {gain} over trial {plan.leader.number} alone, out-of-fold, nested"
    assert exported.reasons[0].startswith(reason) and reason in card
    assert f"**{plan.estimates.leader.shrunk:.4f} ± {plan.estimates.leader.error:.4f}**" in card
    expected = "Expected on the 6 test images: accuracy 0.9000, between 0.7500 and 1.0000 with 90% probability"
    assert exported.expected.startswith(expected)
    assert "0.8800" in exported.expected and "+2.0 points" in exported.expected
    assert exported.expected in card
    assert "trial 0 30%, trial 1 70%." in card
    record = context.stores.exports.all(context.study.id)[-1]
    halves = [(name.trial, 0.5) for name in plan.choice.names]
    members = [m for m in ExportNotes.from_json(record.notes).members if isinstance(m, RecipeNotes)]
    assert [(m.trial, m.weight) for m in members] == halves
    assert {m.backbone for m in members} == {"test_resnet", "test_vit"}
    assert record.forecast == FORECAST and record.score == exported.score


def test_a_leader_no_better_than_the_default_recipe_is_a_doubt(context: StudyContext, exported: Export) -> None:
    leader = exported.members[0].name.trial
    doubts = [line for line in exported.warnings if "not clearly better than the default recipe" in line]
    assert len(doubts) == (leader != 0), "they are equally good here"


def test_doubts_about_an_export(context: StudyContext, plan: ExportPlan, exported: Export) -> None:
    doubts = doubts_of_export(context.stores, plan, exported)
    assert set(exported.warnings) <= set(doubts) == set(exported.doubts)
    record = context.stores.exports.all(context.study.id)[-1]
    assert ExportNotes.from_json(record.notes).doubts == exported.doubts, "report and dashboard show them as well"
    assert sum(f"{exported.score:.4f} ± {exported.score_error:.4f}" in line for line in doubts) == 1
    assert not any("just as good" in line or "tested on fresh splits" in line for line in doubts), "both are blended"
    assert plan.estimates is not None
    tied = replace(plan.estimates.leader, number=17)
    more = replace(plan, estimates=replace(plan.estimates, rows=(*plan.estimates.rows, tied)))
    assert sum("trial 17" in line for line in doubts_of_export(context.stores, more, exported)) == 1
    unconfirmed = doubts_of_export(context.stores, replace(plan, estimates=None), exported)
    assert sum("tested on fresh splits" in line for line in unconfirmed) == 1
    assert exported.score is not None
    for low, expected in ((exported.score - 0.1, 0), (exported.score + 0.01, 1)):
        elsewhere = replace(exported, forecast={"low": low, "high": exported.score + 0.2})
        assert sum("outside" in line for line in doubts_of_export(context.stores, plan, elsewhere)) == expected
    context.stores.studies.set_state(context.study.id, StudyState.STOPPED, "out of ideas")
    try:
        assert sum("out of ideas" in line for line in doubts_of_export(context.stores, plan, exported)) == 1
    finally:
        context.stores.studies.set_state(context.study.id, StudyState.RUNNING)


def test_fine_tuning_that_gained_nothing_is_a_doubt(
    context: StudyContext, plan: ExportPlan, exported: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubts(members: tuple[ExportMember, ...]) -> list[str]:
        found = doubts_of_export(context.stores, replace(plan, members=members), exported)
        return [line for line in found if "gained nothing over the linear probe" in line]

    first, second = plan.members
    probe = replace(second, trial=replace(second.trial, note={**second.trial.note, PROBE_NOTE: True}))
    assert doubts((first, second)) == doubts((first, probe)) == []
    (line,) = doubts((probe,))
    assert re.search(r"fine-tuned trials scores \d\.\d{4} after \d epochs? at 32 px, trial 0 \d\.\d{4} at 32 px", line)
    frozen = replace(first.trial, recipe={**(first.trial.recipe or {}), "freeze": 0.5})
    monkeypatch.setattr("search.export.doubts._finished", lambda *_: [frozen])
    assert "at 32 px with 50% of the layers frozen, trial 0" in doubts((probe,))[0]
    shortened = replace(first.trial, recipe={**(first.trial.recipe or {}), "epochs": 4}, epochs_done=3)
    monkeypatch.setattr("search.export.doubts._finished", lambda *_: [shortened])
    assert "after 3 of 4 epochs at 32 px" in doubts((probe,))[0]


def test_networks_of_the_search_were_not_trained_otherwise(plan: ExportPlan) -> None:
    """The [final] table wants longer trainings, but the deadline left time for none."""
    wanted = replace(plan.study.spec.final, epochs=40)
    study = replace(plan.study, spec=replace(plan.study.spec, final=wanted))
    leader = replace(plan.leader, study=study, recipe=Recipe.from_flat(plan.leader.trial.recipe or {}))
    assert not _trains_otherwise(replace(plan, study=study, members=(leader,)))
    longer = replace(leader, recipe=leader.recipe.replace({"epochs": 40}))
    assert _trains_otherwise(replace(plan, study=study, members=(longer,)))


def test_doubts_about_near_duplicates(context: StudyContext) -> None:
    dataset = context.stores.datasets.get(context.study.fingerprint)
    n, m = len(dataset.train_ids), len(dataset.test_ids)
    assert list(doubts_of_data(replace(dataset, groups=np.arange(n + m)), "a")) == []
    groups = np.arange(n + m)
    groups[n : n + 2] = groups[0]
    other = int(np.flatnonzero(dataset.y != dataset.y[0])[0])
    groups[other] = groups[0]
    copies, labels = doubts_of_data(replace(dataset, groups=groups), "a")
    assert copies.startswith(f"2 of {m} test images") and labels.startswith("1 group of equal or similar ")
    assert all("`search check --study a`" in line for line in (copies, labels))
    ids = list(dataset.train_ids)
    ids[other] = ids[0]
    _, labels = doubts_of_data(replace(dataset, groups=groups, train_ids=tuple(ids)), "a")
    assert labels.startswith("1 training image in several rows with different labels")


def test_submission_folder_and_notes_follow_the_label_rule(
    context: StudyContext, plan: ExportPlan, refits: Refits, competition_folder: Path, tmp_path: Path
) -> None:
    ruled = replace(refits, blend=replace(refits.blend, offsets=(30.0, 0.0, 0.0)))
    made = write_export(context.stores, plan, ruled, context.images, context.home, tmp_path / "ruled", None)
    first = context.images.class_names[0]
    assert {row[1] for row in rows(made.folder / "submission.csv")[1:]} == {first}
    predicted = predict_folder(made.folder / "model", [competition_folder / "test"])
    assert set(predicted.labels) == {0} and predicted.proba.argmax(axis=1).max() > 0
    assert load_model_folder(made.folder / "model").blend == ruled.blend
    notes = ExportNotes.from_json(context.stores.exports.all(context.study.id)[-1].notes)
    assert notes.offsets == (30.0, 0.0, 0.0)
    assert notes.labels is not None and notes.labels.tolist() == [0] * 6


def test_full_data_is_scored_by_confirmations(context: StudyContext, tmp_path: Path) -> None:
    plan = plan_export(context.stores, context.study, seeds=1, full_data=True)
    gathered = refit(context, plan)
    made = write_export(context.stores, plan, gathered, context.images, context.home, tmp_path / "full", None)
    assert gathered.by_confirmations and not gathered.has_oof
    assert made.score == 1.0 and made.by_confirmations, "the mean of the two is right everywhere"
    assert not (made.folder / "oof.csv").exists()
    config = json.loads((made.folder / "model" / "config.json").read_text())
    assert [len(member["weights"]) for member in config["members"]] == [1, 1]
    assert "this model itself has no score" in (made.folder / "MODEL_CARD.md").read_text()


def test_a_member_with_failed_refits_is_left_out_unless_it_leads(context: StudyContext, plan: ExportPlan) -> None:
    (leader,), (other,) = ids = queue_refits(context.stores, plan, context.home)

    def breaks(work_id: int) -> None:
        context.stores.queue.reopen(work_id, home=context.home.identity())
        item = context.stores.queue.take(context.study.id, "w", 60, [WorkKind.REFIT], home=context.home.identity())
        assert item is not None and item.id == work_id
        context.stores.queue.fail(item, Failure.DISK, "disk full")

    breaks(other)
    gathered = gather_refits(context.stores, plan, ids)
    assert [m.member.number for m in gathered.members] == [plan.leader.number]
    assert gathered.blend.weights == (1.0,)
    assert "disk full" in gathered.left_out[0] and f"trial {plan.members[1].number}" in gathered.left_out[0]
    breaks(leader)
    with pytest.raises(RefitFailed, match="disk full"):
        gather_refits(context.stores, plan, ids)


def test_the_forecast_of_an_export(context: StudyContext) -> None:
    plan = plan_export(context.stores, context.study, seeds=1, full_data=False)
    refits = refit(context, plan)
    forecast = forecast_export(context.stores, plan, refits)
    assert forecast is not None and plan.estimates is not None
    assert forecast.test_images == len(context.images.test_ids)
    assert forecast.chances == {f"trial {row.number}": row.chance_best for row in plan.estimates.rows}
    assert forecast.averaging > 0.05, "the right one of the two is the more confident"
    assert forecast.expected == pytest.approx(min(1.0, forecast.single + forecast.averaging))
    assert forecast.low < forecast.expected


def test_only_recipes_like_the_exported_one_tell_what_averaging_adds(context: StudyContext) -> None:
    plan = plan_export(context.stores, context.study, seeds=1, full_data=False)
    parts = refit(context, plan).members[:1]
    confirmation = read_confirmation(context.stores, context.study.name)
    assert plan.estimates is not None and len(confirmation.finalists) > 1

    def groups(plan: ExportPlan, confirmation: Confirmation) -> int:
        return len(list(_recipe_groups(context.stores, plan, parts, [confirmation])))

    rows = [replace(row, eliminated=False) for row in plan.estimates.rows]
    alike = replace(plan, estimates=replace(plan.estimates, rows=tuple(rows)))
    assert groups(alike, confirmation) == len(confirmation.finalists)
    worse = [replace(row, eliminated=row.number != plan.leader.number) for row in rows]
    assert groups(replace(plan, estimates=replace(plan.estimates, rows=tuple(worse))), confirmation) == 1
    probes = tuple(
        one if one.number == plan.leader.number else replace(one, trial=replace(one.trial, note={PROBE_NOTE: True}))
        for one in confirmation.finalists
    )
    assert groups(alike, replace(confirmation, finalists=probes)) == 1


def test_the_best_score_with_and_without_selection_bias(context: StudyContext) -> None:
    optimism = read_optimism(context.stores, context.study)
    assert optimism is not None
    (line,) = optimism_lines(context.stores, read_snapshot(context.stores, context.study.name))
    best, unbiased = optimism.best, optimism.unbiased
    for fact in (f"{best.value:.4f}", f"trial {best.number} ", f"{unbiased.score:.4f} ± {unbiased.error:.4f}"):
        assert fact in line
    assert 0.0 <= unbiased.score <= 1.0
