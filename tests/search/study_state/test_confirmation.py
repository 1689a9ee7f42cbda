"""The confirmation of a study on a real database. Trainings are simulated, except in one test."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from search.export.files import write_export
from search.export.final_model import gather_refits
from search.export.notes import ExportNotes
from search.export.output.export import Export
from search.export.plan import ExportPlan, missing_refits, plan_export, queue_refits
from search.report.status import show_status
from search.runtime.home import Home
from search.study_state.confirmation import freeze_split, judge, plan_step, queue_step, read_confirmation
from search.study_state.optuna_attributes import SIBLINGS
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.stages import confirmations_are_over, running_work
from search.study_state.study import Study, read_study
from search.study_state.study_targets import read_folds
from search.worker.lease import LEASE
from search.worker.study_context import StudyContext
from search.worker.task import Task
from search.workflow.confirm import run_confirmation
from search.workflow.control import retry
from search.workflow.watch import Interrupted
from storage.artifacts import ArtifactFolder
from storage.stores import Stores
from storage.values import TRIAL_NOTE, Failure, StudyState, TrialOutcome, TrialStatus, WorkKind, WorkState
from studies.stored_spec import spec_from_dict
from tests.search.instant_training import SECONDS, pretending
from tests.search.small_study import work_on


def even_quality(task: Task) -> float:
    """The same probability of the true class in every training."""
    return 0.7


def split_counts(stores: Stores, study: Study) -> Counter[tuple[int, int]]:
    records = stores.trials.records(study.id, kind=WorkKind.CONFIRM)
    return Counter((record.note[TRIAL_NOTE], record.split) for record in records)


def confirm(
    context: StudyContext, working: StudyContext | None = None, until: Callable[..., None] | None = None
) -> str:
    """Run the stage with one worker; returns what it printed."""
    output = io.StringIO()

    def work_until(over: Callable[[StudySnapshot], bool]) -> None:
        if not over(read_snapshot(context.stores, context.study.name)):
            work_on(working or context)
        assert over(read_snapshot(context.stores, context.study.name))

    console = Console(file=output, width=1000)
    study = read_study(context.stores, context.study.name)
    run_confirmation(context.stores, study, context.images, context.home, until or work_until, console, advise=True)
    return output.getvalue()


def change(context: StudyContext, **changes: dict[str, object]) -> None:
    """Change tables of the stored study that trials do not depend on."""
    study = context.stores.studies.get(context.study.name)
    spec = {**study.spec, **{table: {**study.spec[table], **values} for table, values in changes.items()}}
    checked = spec_from_dict(spec)
    assert checked.spec_hash == study.spec_hash
    context.stores.studies.set_spec(study.id, spec=checked.to_dict(), file_spec=study.file_spec)


@pytest.fixture
def searched(context: StudyContext) -> StudyContext:
    """A study in which ten trials of ten seconds have ended."""
    context.stores.studies.set_budget(context.study.id, 10)
    ready = pretending(context, even_quality)
    work_on(ready)
    return ready


def test_the_best_and_the_default_recipe_run_on_fresh_splits_within_the_share(
    searched: StudyContext, stores: Stores
) -> None:
    said = confirm(searched)
    confirmation = read_confirmation(stores, "colours")
    ran = split_counts(stores, searched.study)
    assert set(ran) == {(n, 1) for n in confirmation.numbers} and len(ran) == 3, "100 s of search pay for 33 s"
    assert confirmation.spent == 3 * SECONDS
    assert "Confirming 3 finalists on fresh split 1 (of up to 3)" in said and "share of the training time" in said
    ranking = [candidate.number for candidate in read_snapshot(stores, "colours").ranking]
    assert set(confirmation.numbers) == {0, *[number for number in ranking if number][:2]}
    for record in stores.trials.records(searched.study.id, kind=WorkKind.CONFIRM):
        trial = confirmation.trials[record.note[TRIAL_NOTE]]
        assert record.recipe == trial.recipe and record.seed == record.split == 1
    sibling = stores.optuna_study("colours" + SIBLINGS[WorkKind.CONFIRM]).get_trials()
    assert {(t.user_attrs[TRIAL_NOTE], t.user_attrs["split"]) for t in sibling} == set(ran)


@pytest.mark.slow
def test_repeated_confirmation_runs_nothing_twice_and_after_more_trials_only_new_finalists(
    searched: StudyContext, stores: Stores
) -> None:
    change(searched, confirm={"share": 0.5, "rounds": 2})
    confirm(searched)
    first = split_counts(stores, searched.study)
    assert {split for _, split in first} == {1, 2} and set(first.values()) == {1}
    confirm(searched)
    assert split_counts(stores, searched.study) == first
    stores.studies.set_budget(searched.study.id, 15)
    better = pretending(searched, lambda task: 0.9)
    work_on(better)
    confirm(better)
    later = split_counts(stores, searched.study)
    assert set(later.values()) == {1} and later.keys() >= first.keys()
    new = {number for number, _ in later} - {number for number, _ in first}
    assert new and all(number >= 10 for number in new)


def test_clearly_beaten_recipes_stop_after_the_first_round(context: StudyContext, stores: Stores) -> None:
    """All recipes are good, except for the default recipe."""
    default = context.spec.default_recipe()

    def quality(task: Task) -> float:
        return 0.1 if task.item.recipe == default else 0.9

    stores.studies.set_budget(context.study.id, 10)
    change(context, confirm={"share": 0.6})
    ready = pretending(context, quality)
    work_on(ready)
    said = confirm(ready)
    ran = split_counts(stores, context.study)
    assert (0, 1) in ran and (0, 2) not in ran
    assert {split for number, split in ran if number} == {1, 2, 3}
    assert "clearly beaten: trial 0" in said and "all that are left ran 3 rounds" in said
    assert "`search start --study colours --set confirm.rounds=4` allows more" in said


def test_it_is_skipped_after_few_trials_and_without_rounds(context: StudyContext, stores: Stores) -> None:
    ready = pretending(context, even_quality)
    work_on(ready)
    said = confirm(ready)
    assert "it takes 5 trials, and 3 counted. `search start --study colours --trials 5` continues" in said
    stores.studies.set_budget(context.study.id, 5)
    work_on(ready)
    change(context, confirm={"rounds": 0})
    assert "confirm.rounds is 0. `search start --study colours --set confirm.rounds=3` confirms" in confirm(ready)
    assert split_counts(stores, context.study) == {}
    change(context, confirm={"rounds": 1})
    confirm(ready)
    assert len(split_counts(stores, context.study)) == 2, "one finalist and the default recipe"


@pytest.mark.slow
def test_a_failed_confirmation_drops_its_finalist_with_a_message_and_can_be_retried(
    searched: StudyContext, stores: Stores, url: str
) -> None:
    change(searched, confirm={"share": 0.6, "rounds": 2})
    leader = read_confirmation(stores, "colours").numbers[0]

    def breaking(context: StudyContext, task: Task) -> TrialOutcome | None:
        if task.item.note.get(TRIAL_NOTE) == leader:
            raise KeyError("no [such] colour")
        return searched.train(context, task)

    said = confirm(searched, replace(searched, train=breaking))
    assert f"trial {leader} is no longer a finalist: on split 1 it failed" in said and "no [such] colour" in said
    failed = stores.trials.records(searched.study.id, kind=WorkKind.CONFIRM, status=TrialStatus.FAILED)
    assert [(r.note[TRIAL_NOTE], r.failure) for r in failed] == [(leader, Failure.BUG)]
    assert {split for number, split in split_counts(stores, searched.study) if number != leader} == {1, 2}
    retry(None, url, None)
    confirm(searched)
    assert {split for number, split in split_counts(stores, searched.study) if number == leader} == {1, 2}


def test_an_interruption_and_a_lost_worker_lose_nothing(searched: StudyContext, stores: Stores) -> None:
    def interrupted(over: Callable[[StudySnapshot], bool]) -> None:
        if over(read_snapshot(stores, "colours")):
            return
        item = stores.queue.take(searched.study.id, "killed", LEASE)
        assert item is not None and item.kind is WorkKind.CONFIRM
        raise Interrupted("study colours is interrupted")

    with pytest.raises(Interrupted):
        confirm(searched, until=interrupted)
    snapshot = read_snapshot(stores, "colours")
    assert (snapshot.confirms_running, snapshot.confirms_waiting) == (1, 2)
    assert not confirmations_are_over(snapshot)
    stores.recovery.expire_worker("killed")
    confirm(searched)
    records = stores.trials.records(searched.study.id, kind=WorkKind.CONFIRM)
    assert sorted(record.attempt for record in records) == [1, 1, 2]
    assert set(split_counts(stores, searched.study).values()) == {1}


def test_a_paused_study_waits(searched: StudyContext, stores: Stores) -> None:
    queue_next(searched)
    stores.studies.set_state(searched.study.id, StudyState.PAUSED)
    work_on(searched)
    snapshot = read_snapshot(stores, "colours")
    assert snapshot.confirms_waiting == 3 and not confirmations_are_over(snapshot)
    stores.studies.set_state(searched.study.id, StudyState.STOPPED)
    work_on(searched)
    assert confirmations_are_over(read_snapshot(stores, "colours")), "only the search was stopped"


def test_without_time_left_nothing_begins_and_the_queue_is_emptied(searched: StudyContext, stores: Stores) -> None:
    queue_next(searched)
    stores.studies.set_deadline(searched.study.id, stores.database.now() + 30.0)
    snapshot = read_snapshot(stores, "colours")
    assert not snapshot.in_time_to_confirm and confirmations_are_over(snapshot)
    said = confirm(searched)
    assert "no time left" in said
    assert split_counts(stores, searched.study) == {}
    assert read_snapshot(stores, "colours").confirms_open == 0, "or refits would wait behind them"


def test_after_a_change_of_the_export_only_trainings_of_that_length_count(
    searched: StudyContext, stores: Stores
) -> None:
    queue_next(searched)
    work_on(searched)
    assert len(read_confirmation(stores, "colours").finalists) == 3
    change(searched, confirm={"share": 0.6, "rounds": 1}, final={"epochs": 6})
    confirmation = read_confirmation(stores, "colours")
    assert confirmation.finalists == () and confirmation.spent == 3 * SECONDS
    queue_next(searched)
    change(searched, final={"epochs": 9})
    confirm(searched)
    recipes = {r.recipe["epochs"] for r in stores.trials.records(searched.study.id, kind=WorkKind.CONFIRM) if r.recipe}
    assert recipes == {3, 9}, "the confirmations queued for 6 epochs are removed"
    finalists = read_confirmation(stores, "colours").finalists
    assert {f.recipe.epochs for f in finalists} == {9}


def test_costs_are_predicted_by_length_and_corrected_by_measurements(searched: StudyContext, stores: Stores) -> None:
    """Confirmations take twice as long as predicted, so that the budget ends before the second round."""
    change(searched, confirm={"share": 0.4})  # 100 s of search pay for 67 s: two rounds of three

    def seconds(task: Task) -> float:
        return SECONDS if task.item.kind is WorkKind.SEARCH else 2 * SECONDS

    confirm(pretending(searched, even_quality, seconds))
    assert {split for _, split in split_counts(stores, searched.study)} == {1}


def test_status_names_the_trial_and_split_of_running_confirmations(
    searched: StudyContext, stores: Stores, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    queue_next(searched)
    item = stores.queue.take(searched.study.id, "w", LEASE)
    assert item is not None
    snapshot = read_snapshot(stores, "colours")
    assert running_work(stores, snapshot) == f"confirming 1 of 3: trial {item.note[TRIAL_NOTE]} on split 1"
    show_status(None, url, searched.home.root)
    assert "0 of 3 confirmations done; `search compare --study colours` shows them" in capsys.readouterr().out


def test_fresh_splits_differ_keep_groups_together_and_never_change(context: StudyContext, stores: Stores) -> None:
    with_groups = replace(context.images, groups=tuple(f"patient {i // 3}" for i in range(30)))
    for split in (1, 2, 1):
        freeze_split(stores, context.study, split, with_groups)
    splits = [read_folds(stores, context.study, split) for split in (0, 1, 2)]
    assert len({tuple(folds) for folds in splits}) == 3
    for folds in splits[1:]:
        assert np.bincount(folds).min() >= 12
        assert all(len(set(folds[i : i + 3])) == 1 for i in range(0, 30, 3))
    before = splits[1]
    freeze_split(stores, context.study, 1, context.images)
    np.testing.assert_array_equal(read_folds(stores, context.study, 1), before)


@pytest.mark.slow
def test_real_confirmations_train_on_their_split_and_become_the_model(
    context: StudyContext, stores: Stores, tmp_path: Path
) -> None:
    stores.studies.set_budget(context.study.id, 5)
    change(context, confirm={"rounds": 1})
    work_on(pretending(context, even_quality))
    confirm(context)
    records = stores.trials.records(context.study.id, kind=WorkKind.CONFIRM)
    assert [record.status for record in records] == [TrialStatus.FINISHED] * 2
    folds = read_folds(stores, context.study, 1)
    curves = stores.trials.curves(records[0].id)
    oof = stores.trials.prediction(records[0].id, "oof")
    right = oof.argmax(axis=1) == context.images.y
    assert curves[-1].fold_metrics == pytest.approx([float(right[folds == fold].mean()) for fold in (0, 1)])
    assert stores.queue.counts(context.study.id)[WorkKind.CONFIRM][WorkState.STORED] == 2

    plan = plan_export(stores, context.study, seeds=None, full_data=False, members_at_most=1)
    assert missing_refits(stores, plan, context.home) == 0
    assert queue_refits(stores, plan, context.home) == [(plan.leader.rounds[0].work_id,)]
    assert not stores.queue.waiting(context.study.id, WorkKind.REFIT), "nothing is left to train"
    exported = export(context, plan, tmp_path / "confirmed")
    with (exported.folder / "oof.csv").open() as file:
        assert [row["fold"] for row in csv.DictReader(file)] == [str(fold) for fold in folds]
    (record,) = stores.exports.all(context.study.id)
    stored = ExportNotes.from_json(record.notes).labels
    refits = gather_refits(stores, plan, queue_refits(stores, plan, context.home))
    assert stored is not None and refits.test is not None
    assert stored.tolist() == refits.blend.labels(refits.test).tolist()

    more = replace(plan, seeds=2)
    export(context, more, tmp_path / "more")
    ((kept, refitted),) = queue_refits(stores, more, context.home)
    refit = stores.trials.record_of(refitted)
    assert kept == plan.leader.rounds[0].work_id and refit is not None
    assert (refit.kind, refit.split, refit.seed) == (WorkKind.REFIT, 0, 0)
    elsewhere = Home(root=tmp_path / "elsewhere")
    assert missing_refits(stores, plan, elsewhere) == 1, "networks that are kept elsewhere are trained again"


def export(context: StudyContext, plan: ExportPlan, folder: Path) -> Export:
    ids = queue_refits(context.stores, plan, context.home)
    work_on(context)
    refits = gather_refits(context.stores, plan, ids)
    return write_export(context.stores, plan, refits, context.images, context.home, folder, None)


def test_weights_of_the_clearly_beaten_are_not_kept(searched: StudyContext, stores: Stores) -> None:
    kept = {}

    def quality(task: Task) -> float:
        folder = ArtifactFolder(searched.home.artifacts).weights("colours", task.item.id)
        (folder / "fold0.safetensors").write_bytes(b"weights")
        kept[task.item.id] = folder
        return 0.1 if task.item.recipe == searched.spec.default_recipe() else 0.9

    confirm(pretending(searched, quality))
    beaten = [
        r.work_id for r in stores.trials.records(searched.study.id, kind=WorkKind.CONFIRM) if r.note[TRIAL_NOTE] == 0
    ]
    assert beaten and not any(kept[work_id].exists() for work_id in beaten)
    assert sum(folder.exists() for folder in kept.values()) == len(kept) - len(beaten)


def queue_next(context: StudyContext) -> None:
    confirmation = read_confirmation(context.stores, context.study.name)
    step = plan_step(context.stores, confirmation, judge(context.stores, confirmation))
    assert step.items
    queue_step(context.stores, confirmation, step, context.images)
