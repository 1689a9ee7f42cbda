"""Restoring a study that was deleted from Optuna's tables: the trials are those of before, for every kind of trial."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.report.status import show_status
from search.study_setup.create_study import resume
from search.study_state.optuna_attributes import ORIGIN_ATTRIBUTE, RETRY_ATTRIBUTE, SIBLINGS
from search.study_state.study import Study
from search.tuning.report_to_optuna import report_to_optuna
from search.tuning.restore_optuna import (
    NEVER_BEGAN,
    ForeignOptunaStudy,
    optuna_study,
    record_enqueued,
    restore_if_gone,
    sampled_parts,
)
from search.tuning.retry import retry_failed
from search.tuning.suggest import sample
from search.worker.dead_workers import sweep
from search.worker.lease import LEASE
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from search.worker.training.train_item import train
from search.workflow.try_recipe import TryRequest, try_recipe
from storage.optuna_storage.optuna_trials import study_id_of
from storage.stores import Stores, open_stores
from storage.values import EpochCurve, Failure, TrialOutcome, TrialStatus, WorkKind
from studies.file.catalog import bundled_studies
from studies.load_study import load_study
from tests.databases import DIALECTS
from tests.search.small_study import study_plan, work_on


def parts_of(trial: FrozenTrial) -> dict[str, Any]:
    """Everything of a trial but its id and its times."""
    return {
        name: getattr(trial, name)
        for name in (
            "number",
            "state",
            "values",
            "params",
            "distributions",
            "user_attrs",
            "system_attrs",
            "intermediate_values",
        )
    }


def trials_of(stores: Stores, name: str = "colours") -> list[dict[str, Any]]:
    """The trials of an Optuna study, as a process that has just started reads them."""
    fresh = open_stores(stores.database.url.render_as_string(hide_password=False))
    try:
        return [parts_of(trial) for trial in fresh.optuna_study(name).get_trials()]
    finally:
        fresh.database.close()


def delete(stores: Stores, *suffixes: str) -> None:
    """Delete Optuna studies as another program does, past the caches of this process."""
    fresh = open_stores(stores.database.url.render_as_string(hide_password=False))
    for suffix in suffixes or ("", *SIBLINGS.values()):
        optuna.delete_study(study_name=f"colours{suffix}", storage=fresh.optuna_storage)
    fresh.database.close()


def outcome(status: TrialStatus, epochs: int = 2) -> TrialOutcome:
    proba = np.full(4, 0.25, np.float16)
    return TrialOutcome(
        status=status,
        failure=Failure.BUG if status is TrialStatus.FAILED else None,
        reason="" if status is TrialStatus.FINISHED else "a reason",
        value=0.5,
        value_se=0.01,
        mean_true_probability=0.4,
        brier=0.5,
        ambiguity=0.1,
        temperature=1.0,
        epochs_done=epochs,
        seconds=3.5,
        predictions={"oof": np.full((30, 3), 1 / 3, np.float32)} if status is TrialStatus.FINISHED else {},
        curves=tuple(
            EpochCurve(
                epoch=epoch,
                metric=0.5,
                mean_true_probability=float("nan")
                if status is TrialStatus.DIVERGED and epoch == epochs
                else 0.1 * epoch,
                train_loss=1.0,
                seconds=1.0,
                fold_metrics=(0.5, 0.5),
                true_class=proba,
            )
            for epoch in range(1, epochs + 1)
        ),
    )


def begin_next(stores: Stores, stored: Study, worker: str = "test") -> tuple[Any, optuna.trial.Trial]:
    item = stores.queue.take(stored.id, worker, 60.0)
    assert item is not None
    trial = stores.optuna_study(stored.name).ask()
    recipe = sample(trial, stored.spec)
    trial.set_user_attr("epochs", recipe.epochs)
    assigned = stores.queue.assign_trial(item, trial.number, recipe.to_flat())
    assert assigned is not None
    return assigned, trial


def end_next(stores: Stores, stored: Study, status: TrialStatus) -> None:
    """Take, report and end a trial as a worker does, with two epochs."""
    item, trial = begin_next(stores, stored)
    ended = outcome(status)
    for curve in ended.curves:
        if np.isfinite(curve.mean_true_probability):
            trial.report(curve.mean_true_probability, curve.epoch)
    assert stores.queue.store(item, ended)
    report_to_optuna(stores, stored.id, stores.optuna_study(stored.name), item.id)


def study_with_every_kind_of_trial(stores: Stores, stored: Study, url: str) -> None:
    """Finished, pruned, diverged and failed trials, one that runs, and two that wait: a retry, a recipe by hand."""
    stores.studies.set_budget(stored.id, 20)
    for status in (TrialStatus.FINISHED, TrialStatus.PRUNED, TrialStatus.DIVERGED, TrialStatus.FAILED):
        end_next(stores, stored, status)
    assert retry_failed(stores, stored).trials == 1
    end_next(stores, stored, TrialStatus.FINISHED)  # the retry
    end_next(stores, stored, TrialStatus.FAILED)
    begin_next(stores, stored, "another")
    assert retry_failed(stores, stored).trials == 1
    try_recipe(TryRequest(study="colours", storage_url=url, assignments=["optimizer.lr=2e-3"], like=None))


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_every_kind_of_trial_is_as_it_was(stores: Stores, stored: Study, url: str) -> None:
    study_with_every_kind_of_trial(stores, stored, url)
    before, metric_names = trials_of(stores), stores.optuna_study("colours").metric_names
    states = [trial["state"].name for trial in before]
    assert states == ["COMPLETE", "PRUNED", "PRUNED", "FAIL", "COMPLETE", "FAIL", "RUNNING", "WAITING", "WAITING"]
    delete(stores)
    assert restore_if_gone(stores, stored.stored)
    assert trials_of(stores) == before
    after = stores.optuna_study("colours")
    assert after.direction is optuna.study.StudyDirection.MAXIMIZE
    assert after.metric_names == metric_names
    assert not restore_if_gone(stores, stored.stored), "it is there already"
    assert after.ask().params == {} and after.get_trials()[7].state is TrialState.RUNNING, "waiting trials come first"


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_the_study_of_confirmations_is_restored_as_well(stores: Stores, stored: Study) -> None:
    end_next(stores, stored, TrialStatus.FINISHED)
    recipe = stores.trials.records(stored.id)[0].recipe
    assert recipe is not None
    stores.queue.add(stored.id, WorkKind.CONFIRM, split=1, seed=0, recipe=recipe, note={"trial": 0})
    item = stores.queue.take(stored.id, "test", 60.0, [WorkKind.CONFIRM])
    assert item is not None and stores.queue.store(item, outcome(TrialStatus.FINISHED))
    report_to_optuna(stores, stored.id, stores.optuna_study("colours"))
    before = trials_of(stores, "colours.confirm")
    assert len(before) == 1 and before[0]["user_attrs"]["trial"] == 0
    delete(stores, ".confirm", ".final")
    assert not restore_if_gone(stores, stored.stored), "the search trials were there"
    assert trials_of(stores, "colours.confirm") == before
    assert trials_of(stores, "colours.final") == []


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_a_number_without_any_record_keeps_its_place_as_a_failed_trial(stores: Stores, stored: Study) -> None:
    end_next(stores, stored, TrialStatus.FINISHED)
    stores.optuna_study("colours").ask()  # its worker dies before the trial is assigned
    end_next(stores, stored, TrialStatus.FINISHED)
    before = trials_of(stores)
    delete(stores)
    restore_if_gone(stores, stored.stored)
    after = trials_of(stores)
    assert [trial["number"] for trial in after] == [0, 1, 2]
    assert (after[0], after[2]) == (before[0], before[2])
    assert (after[1]["state"], after[1]["user_attrs"]) == (TrialState.FAIL, {"reason": NEVER_BEGAN})


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_warm_starts_are_recorded_when_a_study_of_an_earlier_release_is_resumed(
    stores: Stores, stored: Study, study_file: Path, competition_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand = {"optimizer.name": "sgd", "optimizer.lr@sgd": 0.02, "loss.label_smoothing": 0.05}
    backend = stores.optuna_study("colours")
    backend.enqueue_trial(by_hand, user_attrs={"epochs": 3, ORIGIN_ATTRIBUTE: "by hand"})
    assert [trial.number for trial in stores.enqueued.all(stored.id)] == [0]
    resume(stores, stored, study_plan(study_file, competition_folder))
    assert [trial.params for trial in stores.enqueued.all(stored.id)][1] == by_hand
    record_enqueued(stores, stored.id, backend)
    before = trials_of(stores)
    delete(stores)
    resume(stores, stored, study_plan(study_file, competition_folder))
    assert trials_of(stores) == before


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_status_sweeps_and_retries_restore(
    stores: Stores, stored: Study, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study_with_every_kind_of_trial(stores, stored, url)
    before = trials_of(stores)
    delete(stores)
    show_status("colours", url, tmp_path)
    assert "trial   0" in capsys.readouterr().out
    assert trials_of(stores) == before
    delete(stores)
    sweep(stores, stored.stored)
    assert trials_of(stores) == before
    delete(stores)
    assert retry_failed(stores, stored).trials == 0, "both failed trials have a retry"
    assert trials_of(stores) == before
    assert [trial["user_attrs"].get(RETRY_ATTRIBUTE) for trial in before].count(3) == 1


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_one_of_many_processes_restores(stores: Stores, stored: Study, url: str) -> None:
    study_with_every_kind_of_trial(stores, stored, url)
    before = trials_of(stores)
    delete(stores)
    others = [open_stores(url) for _ in range(6)]
    with ThreadPoolExecutor(len(others)) as pool:
        restored = list(pool.map(lambda other: restore_if_gone(other, stored.stored), others))
    for other in others:
        other.database.close()
    assert restored.count(True) == 1
    assert trials_of(stores) == before


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_ids_are_never_used_again(stores: Stores, stored: Study) -> None:
    """Processes that run identify studies and trials by these ids in their caches."""
    seen: set[tuple[str, int]] = set()
    for _ in range(3):
        end_next(stores, stored, TrialStatus.FAILED)
        study = stores.optuna_study("colours")
        ids = {("study", study_id_of(study)), *(("trial", trial._trial_id) for trial in study.get_trials())}
        assert not ids & seen
        seen |= ids
        delete(stores)
        optuna_study(stores, stored.stored)
    assert len(stores.optuna_study("colours").get_trials()) == 3


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_a_study_of_another_program_under_the_name_is_refused_and_an_empty_one_replaced(
    stores: Stores, stored: Study
) -> None:
    for _ in range(2):
        end_next(stores, stored, TrialStatus.FINISHED)
    before = trials_of(stores)
    delete(stores, "")
    foreign = optuna.create_study(study_name="colours", storage=stores.optuna_storage)
    foreign.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(ForeignOptunaStudy, match="has 1 trials, but Retable has recorded 2"):
        restore_if_gone(stores, stored.stored)
    sweep(stores, stored.stored)  # logs the problem: workers of other studies go on
    assert len(trials_of(stores)) == 1
    delete(stores, "")
    optuna.create_study(study_name="colours", storage=stores.optuna_storage)
    assert restore_if_gone(stores, stored.stored)
    assert trials_of(stores) == before


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_a_worker_survives_the_deletion_of_the_trial_that_it_trains(context: StudyContext) -> None:
    stores, epochs = context.stores, 0

    def deleting_train(context: StudyContext, task: Any) -> TrialOutcome | None:
        def stop_requested() -> bool:
            nonlocal epochs
            epochs += 1
            if epochs == 2:
                delete(stores)
            return False

        return train(context, replace(task, stop_requested=stop_requested))

    item = stores.queue.take(context.study.id, context.worker, LEASE)
    assert item is not None
    run_item(replace(context, train=deleting_train), item, lambda: False)
    assert stores.trials.records(context.study.id) == [], "released with its checkpoint, not failed"
    (running,) = trials_of(stores)
    assert running["state"] is TrialState.RUNNING
    work_on(replace(context, optuna_study=stores.optuna_study("colours")))
    records = stores.trials.records(context.study.id)
    assert [record.status for record in records] == [TrialStatus.FINISHED] * 3
    trials = trials_of(stores)
    assert [trial["number"] for trial in trials] == [0, 1, 2]
    for record, trial in zip(records, trials, strict=True):
        curves = stores.trials.curves(record.id)
        assert trial["intermediate_values"] == {curve.epoch: curve.mean_true_probability for curve in curves}
        assert len(curves) == 3


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_an_outcome_is_reported_to_the_restored_study(context: StudyContext) -> None:
    stores = context.stores

    def train_and_delete(context: StudyContext, task: Any) -> TrialOutcome | None:
        trained = train(context, task)
        delete(stores)
        return trained

    item = stores.queue.take(context.study.id, context.worker, LEASE)
    assert item is not None
    run_item(replace(context, train=train_and_delete), item, lambda: False)
    (record,) = stores.trials.records(context.study.id)
    (trial,) = trials_of(stores)
    assert (record.status, trial["state"]) == (TrialStatus.FINISHED, TrialState.COMPLETE)
    assert stores.queue.unreported(context.study.id) == []


def test_sampled_parameters_follow_from_the_recipe() -> None:
    """For the spaces of the shipped studies: branches, switches, steps and logarithmic ranges."""
    compared = 0
    for name in bundled_studies():
        spec = load_study(name)
        backend = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        for _ in range(20 if spec.is_resolved else 0):
            trial = backend.ask()
            params, distributions = sampled_parts(spec, sample(trial, spec).to_flat())
            assert params == trial.params
            assert distributions == trial.distributions
            compared += 1
    assert compared >= 60
