"""Self-distillation as a second study: teachers within the trial, the paired comparison, the export or its refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from search.cli.app import app
from search.export.candidates.comparable import check_allowed
from search.export.candidates.pool import read_pool
from search.export.plan import plan_export
from search.runtime.kept_networks import kept_networks
from search.study_setup.create_study import create_study
from search.study_setup.second_study import NotAdopted, compare_with_first, finished_by_seed
from search.study_state.optuna_attributes import TEACHERS_ATTRIBUTE
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import running_work
from search.study_state.study import NotASearch, read_study, require_search
from search.worker.run_item import run_item
from search.workflow.second_study.command import NothingToCompare, start_second_study
from search.workflow.second_study.method import CannotTrainAgain
from search.workflow.second_study.prepare import SecondRequest, prepare_second_study, second_spec
from search.workflow.second_study.self_distillation import SELF_DISTILLED, CannotDistil
from storage.records.study_rows import ImageWeights
from storage.values import TrialStatus
from studies.settings import RulesSettings
from studies.spec import SELF_DISTILLATION
from studies.stored_spec import spec_from_dict
from tests.search.workflow.second_study.first_study import FOLDS, SEEDS, FirstStudy, adopt
from trainer.recipe.recipe import Recipe
from trainer.training.results import CVResult
from trainer.training.teaching.teachers import Teaching

pytestmark = pytest.mark.slow

TEACHERS = FOLDS * (FOLDS - 1) // 2
OPTION = "--distil-from"


def request(first: FirstStudy, study: str, of: str = "colours") -> SecondRequest:
    return first.request(study, of, OPTION)


def test_without_a_gain_the_first_export_stays(
    first: FirstStudy, work_here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adopt(monkeypatch, always=False)
    start_second_study(request(first, "plain_stays"))
    said = " ".join(capsys.readouterr().out.split())
    assert "50% of each target is the label" in said and "With self-distillation the recipe scores log_loss" in said
    assert "not adopted" in said and "export of colours stays" in said
    study = read_study(first.stores, "plain_stays")
    assert not first.stores.exports.all(study.id) and not (first.home.root / "plain_stays").exists()
    with pytest.raises(NotAdopted, match="stays"):
        plan_export(first.stores, study, seeds=None, full_data=False, home=first.home)


def test_with_a_gain_it_is_exported_and_named(
    first: FirstStudy, work_here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adopt(monkeypatch, always=True)
    start_second_study(request(first, "born_again", str(first.home.root / "colours")))
    study = read_study(first.stores, "born_again")
    assert study.spec.compared_seeds == (0, 1) and study.spec.begun_from == "colours:0"
    found = compare_with_first(first.stores, study)
    assert found is not None and found.adopted and (found.seeds, found.images) == (SEEDS, 30)
    own, plain = (finished_by_seed(first.stores, each, study.spec.recipe) for each in (study, first.study))
    assert set(own) == set(plain)
    for seed, record in own.items():
        oof = first.stores.trials.prediction(record.id, "oof")
        assert oof.shape == (30, 3) and not np.array_equal(oof, first.stores.trials.prediction(plain[seed].id, "oof"))
        assert len(kept_networks(first.home, "born_again", record)) == FOLDS
    assert first.context_of(study).artifacts.checkpoints("born_again") == [], "the teachers are gone with the trial"
    card = (first.home.root / "born_again" / "MODEL_CARD.md").read_text()
    assert "learned from predictions by networks of its own recipe, which is the best of colours" in card
    assert "seeds); adopted." in card and (first.home.root / "born_again" / "submission.csv").is_file()
    pool = read_pool(first.stores, (first.study, study))
    assert [member.study.name for member in pool.recipes] == ["born_again", "colours"], "the same recipe twice"
    with pytest.raises(NotAdopted, match="full-data"):
        plan_export(first.stores, study, seeds=None, full_data=True, home=first.home)
    with pytest.raises(NotASearch, match="--study born_again --distil-from colours"):
        require_search(study, "searches")
    for option in (OPTION, "--pseudo-from"):
        with pytest.raises(CannotTrainAgain, match=f"{option} colours"):
            start_second_study(first.request("third", "born_again", option))
        assert first.stores.studies.find("third") is None
    with pytest.raises(CannotTrainAgain, match="without pseudo-labels"):
        start_second_study(first.request("born_again"))
    capsys.readouterr()
    start_second_study(request(first, "born_again"))
    assert "continues" in capsys.readouterr().out


def stop_after(looks: int) -> Callable[[], bool]:
    """Whether to stop, asked once an epoch: yes from the ``looks``-th time on."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= looks

    return stop


def test_an_interrupted_trial_keeps_its_teachers_and_equals_an_undisturbed_one(
    first: FirstStudy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stores = first.stores
    epochs = int(first.study.spec.recipe["epochs"])  # type: ignore[arg-type]
    oof = {}
    for name, stops in (("undisturbed", ()), ("interrupted", (epochs + 1, TEACHERS * epochs - epochs))):
        plan = prepare_second_study(request(first, name), stores, "cpu", Console(quiet=True))
        context = first.context_of(create_study(stores, plan))
        seen = []
        for looks in stops:
            item = stores.queue.take(context.study.id, "worker-a", 60.0)
            assert item is not None
            run_item(context, item, stop_after(looks))
            [checkpoint] = context.artifacts.checkpoints(name)
            seen.append(sorted(path.name for path in checkpoint.path.parent.iterdir()))
            (trial,) = context.optuna_study.get_trials()
            seen.append(trial.user_attrs[TEACHERS_ATTRIBUTE])
        if stops:
            done, part = "teacher-0-1-predictions.pt", "teacher-0-2.pt"
            assert seen[:2] == [[done, part], [1, TEACHERS]]
            assert seen[2][-1] == "teacher-1-2-predictions.pt" and seen[3] == [TEACHERS, TEACHERS]
        caplog.clear()
        with caplog.at_level("INFO"):
            item = stores.queue.take(context.study.id, "worker-b", 60.0)
            assert item is not None
            snapshot = read_snapshot(stores, name)
            assert (f"trial 0 epoch 2/{epochs}" in running_work(stores, snapshot)) == bool(stops)
            run_item(context, item, lambda: False)
        context.loader.close()
        assert (caplog.text.count("teacher") > 0) != bool(stops), "finished teachers are not trained again"
        (record,) = stores.trials.records(context.study.id)
        assert (record.status, record.epochs_done) == (TrialStatus.FINISHED, epochs)
        oof[name] = stores.trials.prediction(record.id, "oof")
    np.testing.assert_array_equal(oof["interrupted"], oof["undisturbed"])


def test_a_diverged_teacher_leaves_nothing_to_compare(
    first: FirstStudy, work_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = np.full((30, 3), np.nan, np.float32)
    ended = CVResult(status="diverged", reason="the teacher without folds 0 and 1: no", reports=(), oof=nothing)
    monkeypatch.setattr("search.worker.training.train_item.teach", lambda *given: Teaching(targets=None, ended=ended))
    with pytest.raises(NothingToCompare, match="cannot be compared with colours"):
        start_second_study(request(first, "diverged"))
    study = read_study(first.stores, "diverged")
    assert {(record.status, record.reason) for record in first.stores.trials.records(study.id)} == {
        (TrialStatus.DIVERGED, ended.reason)
    }
    with pytest.raises(NotAdopted, match="has not been compared with colours"):
        check_allowed(first.stores, (study,), None)


def test_exports_that_cannot_be_distilled(first: FirstStudy, tmp_path: Path) -> None:
    check, study, export = SELF_DISTILLED.check_recipe, first.study, first.opened()
    assert check is not None
    probe = Recipe.from_flat({"method": "linear_probe"})
    check(study, Recipe.from_flat({}))
    SELF_DISTILLED.check_export(export)
    with pytest.raises(CannotDistil, match="search start --study colours --trials 11"):
        check(replace(study, spec=replace(study.spec, space=(), recipe={**study.spec.recipe})), probe)
    with pytest.raises(CannotDistil, match="search studies"):
        check(replace(study, spec=replace(study.spec, space=(), recipe=probe.to_flat())), probe)
    halves = replace(study, spec=replace(study.spec, protocol=replace(study.protocol, folds=2)))
    with pytest.raises(CannotDistil, match="2 folds, and self-distillation needs 3"):
        SELF_DISTILLED.check_export(replace(export, study=halves))


def test_a_recipe_that_judges_labels_is_not_trained_again(first: FirstStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    export = first.opened()
    judging = export.recipes[0].replace({"suspicious_labels": "drop"})
    monkeypatch.setattr(
        "search.workflow.second_study.prepare.open_export", lambda *given: replace(export, recipes=(judging,))
    )
    with pytest.raises(CannotTrainAgain, match="suspicious_labels = drop"):
        prepare_second_study(request(first, "judging"), first.stores, "cpu", Console(quiet=True))


def test_no_rule_forbids_it_and_it_is_as_long_as_its_teachers(first: FirstStudy) -> None:
    recipe = Recipe.from_flat(dict(first.study.spec.recipe))
    spec = second_spec(first.study.spec, recipe, "colours:0", SELF_DISTILLATION, [1, 0])
    strict = replace(spec, rules=RulesSettings(use_test_images=False, external_data=False))
    assert spec_from_dict(strict.to_dict()) == strict
    second = replace(first.study, spec=strict)
    assert (second.first, second.is_self_distilled, second.has_pseudo_labels) == ("colours", True, False)
    five = replace(second, spec=replace(strict, protocol=replace(strict.protocol, folds=5)))
    # 5 students learn from 4 folds each, 10 teachers from 3; each of 11 folds leaves out one eleventh of all images.
    assert five.length_in_folds - 1 == (5 * 4 + 10 * 3) / 5


def test_scores_are_weighted_as_in_the_first_study(first: FirstStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = ImageWeights(values=np.linspace(0.5, 1.5, 30), about={})
    monkeypatch.setattr("search.workflow.second_study.prepare.read_image_weights", lambda *given: weights)
    plan = prepare_second_study(request(first, "weighted"), first.stores, "cpu", Console(quiet=True))
    assert plan.weighting is weights


def test_options_are_checked_at_once(first: FirstStudy) -> None:
    command = ["start", "--study", "second", OPTION, "colours", "--storage", first.url]
    result = CliRunner().invoke(app, [*command, "--trials", "3"])
    assert "--distil-from trains one recipe" in str(result.exception) and "--trials" in str(result.exception)
    result = CliRunner().invoke(app, [*command, "--pseudo-from", "colours"])
    assert "--pseudo-from and --distil-from begin different studies" in str(result.exception)
    assert first.stores.studies.find("second") is None
