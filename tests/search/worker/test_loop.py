"""The loop of a worker on a real study: budget, outcomes, stops, adoption and failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState

import trainer.training.cross_validation
from search.study_setup.create_study import create_study
from search.study_state.optuna_attributes import objective_of_trial
from search.study_state.search_trials import candidates
from search.worker.dead_workers import MAX_FAILURES
from search.worker.lease import LEASE
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from storage.optuna_storage.optuna_rows import running_trials
from storage.queue.work_queue import WorkItem
from storage.stores import Stores
from storage.values import Failure, StudyState, TrialStatus, WorkKind
from tests.databases import DIALECTS
from tests.search.small_study import make_context, study_plan, work_on
from trainer.recipe.recipe import Recipe
from trainer.training.results import CVResult

pytestmark = pytest.mark.parametrize("dialect", DIALECTS, indirect=True)


def take(context: StudyContext) -> WorkItem:
    item = context.stores.queue.take(context.study.id, context.worker, LEASE)
    assert item is not None
    return item


def run_next(context: StudyContext, stop_after: int | None = None) -> WorkItem:
    """Take and run one item; ``stop_after``: request a stop after this many epochs."""
    item = take(context)
    epochs = 0

    def stop_requested() -> bool:
        nonlocal epochs
        epochs += 1
        return stop_after is not None and epochs >= stop_after

    run_item(context, item, stop_requested)
    return item


@pytest.fixture
def uninterrupted(context: StudyContext) -> np.ndarray:
    """Out-of-fold probabilities of trial 0, trained without interruption."""
    run_next(context)
    return context.stores.trials.prediction(context.stores.trials.records(context.study.id)[0].id, "oof")


def test_the_budget_is_used_exactly_and_optuna_knows_all_outcomes(context: StudyContext) -> None:
    work_on(context)
    records = context.stores.trials.records(context.study.id)
    trials = context.optuna_study.get_trials()
    assert [record.number for record in records] == [0, 1, 2] == [trial.number for trial in trials]
    for record, trial in zip(records, trials, strict=True):
        assert (record.status, trial.state) == (TrialStatus.FINISHED, TrialState.COMPLETE)
        assert trial.value == round(record.value or 0.0, 4)
        assert objective_of_trial(trial) == candidates([record], "accuracy")[0].objective
        assert sorted(trial.intermediate_values) == [1, 2, 3]
        curves = context.stores.trials.curves(record.id)
        assert [curve.epoch for curve in curves] == [1, 2, 3]
        assert curves[-1].metric == record.value
        assert trial.intermediate_values[3] == pytest.approx(
            float(curves[-1].true_class.astype(float).mean()), abs=1e-3
        )
    work_on(context)
    assert len(context.stores.trials.records(context.study.id)) == 3, "a second run finds no work"


@pytest.mark.slow
def test_with_a_pruner_some_trials_end_early_and_none_fails(
    stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path
) -> None:
    begun = study_plan(
        study_file,
        competition_folder,
        "search.pruner=successive_halving",
        "search.startup_trials=2",
        name="halving",
        budget=8,
    )
    work_on(make_context(stores, create_study(stores, begun), competition_folder, tmp_path / "halving"))
    study = stores.studies.get("halving")
    statuses = [record.status for record in stores.trials.records(study.id)]
    assert len(statuses) == 8
    assert set(statuses) == {TrialStatus.FINISHED, TrialStatus.PRUNED}
    assert statuses[0] is TrialStatus.FINISHED, "trial 0 is never pruned"


def test_trial_zero_is_the_default_recipe_and_recipes_are_recorded_complete(context: StudyContext) -> None:
    work_on(context)
    records = context.stores.trials.records(context.study.id)
    assert records[0].recipe == context.spec.default_recipe()
    for record, trial in zip(records, context.optuna_study.get_trials(), strict=True):
        assert record.recipe == context.spec.assemble(trial.params)
        assert Recipe.from_flat(record.recipe).to_flat() == record.recipe


def test_stored_predictions_of_a_finished_trial_give_its_value(context: StudyContext) -> None:
    run_next(context)
    record = context.stores.trials.records(context.study.id)[0]
    oof = context.stores.trials.prediction(record.id, "oof")
    test = context.stores.trials.prediction(record.id, "test")
    assert oof.shape == (30, 3) and test.shape == (6, 3)
    np.testing.assert_allclose(oof.sum(axis=1), 1, atol=1e-5)
    assert record.value == pytest.approx(float((oof.argmax(axis=1) == context.images.y).mean()))
    assert record.value_se == pytest.approx(np.sqrt(record.value * (1 - record.value) / 30))


def test_a_stopped_trial_is_adopted_and_equals_an_uninterrupted_one(
    uninterrupted: np.ndarray, stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path
) -> None:
    again = create_study(stores, study_plan(study_file, competition_folder, name="again"))
    first = make_context(stores, again, competition_folder, tmp_path / "shared", "worker-a")
    run_next(first, stop_after=1)
    assert stores.trials.records(again.id) == [], "released, not ended"
    assert running_trials(stores.database, "again") == [0]

    second = make_context(stores, again, competition_folder, tmp_path / "shared", "worker-b")
    item = run_next(second)
    assert item.trial_number == 0 and item.attempt == 2
    record = stores.trials.records(again.id)[0]
    assert (record.number, record.worker, record.epochs_done) == (0, "worker-b", 3)
    np.testing.assert_array_equal(stores.trials.prediction(record.id, "oof"), uninterrupted)
    assert len(second.optuna_study.get_trials()) == 1, "no trial was copied or enqueued again"
    checkpoint = second.artifacts.checkpoint("again", item.id)
    assert not checkpoint.exists(), "the checkpoint of an ended trial is removed"


def test_the_result_is_dropped_after_the_lease_is_lost(context: StudyContext) -> None:
    item = take(context)
    context.stores.queue.release(item)
    context.stores.queue.take(context.study.id, "other-worker", LEASE)
    run_item(context, item, lambda: False)
    assert context.stores.trials.records(context.study.id) == []


def test_a_trial_of_a_worker_that_died_before_it_began_is_adopted(context: StudyContext) -> None:
    context.optuna_study.ask()  # trial 0, whose worker dies before it assigns the trial to its item
    work_on(context)
    assert [t.state for t in context.optuna_study.get_trials()] == [TrialState.COMPLETE] * 3
    records = context.stores.trials.records(context.study.id)
    assert [r.number for r in records] == [0, 1, 2]
    assert records[0].recipe == context.spec.default_recipe()


def test_a_stored_outcome_is_reported_to_optuna_by_the_next_worker(
    context: StudyContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "search.worker.run_item.report_to_optuna", lambda *args: None
        )  # died between storing and reporting
        run_next(context)
    assert running_trials(context.stores.database, "colours") == [0]
    work_on(context)
    assert context.optuna_study.get_trials()[0].state is TrialState.COMPLETE
    assert len(context.stores.trials.records(context.study.id)) == 3


def test_failures_do_not_count_against_the_budget_and_five_stop_the_study(
    context: StudyContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise KeyError("p001.png")

    with monkeypatch.context() as patch:
        patch.setattr(trainer.training.cross_validation, "cross_validate", broken)
        work_on(context)
    records = context.stores.trials.records(context.study.id)
    assert [r.status for r in records] == [TrialStatus.FAILED] * MAX_FAILURES
    assert "p001.png" in records[0].reason
    assert {r.failure for r in records} == {Failure.BUG}
    assert {t.state for t in context.optuna_study.get_trials()} == {TrialState.FAIL}
    study = context.stores.studies.get("colours")
    assert study.state is StudyState.STOPPED and "5 trials in a row failed" in study.state_reason

    context.stores.studies.set_state(study.id, StudyState.RUNNING)
    work_on(context)
    finished = context.stores.trials.records(study.id, status=TrialStatus.FINISHED)
    assert len(finished) == 3, "failed trials do not count against the budget"


def test_a_diverged_trial_is_reported_as_pruned_with_its_reason(
    context: StudyContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(*args: object, **kwargs: object) -> CVResult:
        return CVResult(
            status="diverged", reason="fold 1, epoch 1, batch 3: loss is nan", reports=(), oof=np.full((30, 3), np.nan)
        )

    with monkeypatch.context() as patch:
        patch.setattr(trainer.training.cross_validation, "cross_validate", diverging)
        run_next(context)
    record = context.stores.trials.records(context.study.id)[0]
    assert (record.status, record.reason) == (TrialStatus.DIVERGED, "fold 1, epoch 1, batch 3: loss is nan")
    trial = context.optuna_study.get_trials()[0]
    assert trial.state is TrialState.PRUNED and trial.user_attrs["reason"] == record.reason
    work_on(context)
    assert len(context.stores.trials.records(context.study.id)) == 3, (
        "a diverged trial counts: the sampler learned from it"
    )


def test_refits_keep_weights_and_views(context: StudyContext) -> None:
    recipe = context.spec.default_recipe()
    context.stores.studies.set_budget(context.study.id, 0)
    work_id = context.stores.queue.add(context.study.id, WorkKind.REFIT, split=0, seed=1, recipe=recipe)
    everything = context.stores.queue.add(context.study.id, WorkKind.REFIT, split=-1, seed=1, recipe=recipe)
    work_on(context)
    record = context.stores.trials.record_of(work_id)
    assert record is not None and record.recipe == recipe
    names = context.stores.trials.prediction_names(record.id)
    assert {"oof", "oof.identity", "oof.hflip", "oof.vflip", "oof.hvflip", "test", "test.identity"} <= set(names)
    assert len(list(context.artifacts.weights("colours", work_id).iterdir())) == 2
    full = context.stores.trials.record_of(everything)
    assert full is not None and full.status is TrialStatus.FINISHED and full.value is None
    assert len(list(context.artifacts.weights("colours", everything).iterdir())) == 1
    final = context.stores.optuna_study("colours.final").get_trials()
    assert [trial.value for trial in final] == [record.value]
