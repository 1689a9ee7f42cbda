"""Retention of trial networks."""

from __future__ import annotations

import errno
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import trainer.training.write_model_folder
from search.export.candidates.pool import read_pool
from search.runtime.home import Home
from search.statistics.ranking import rank
from search.study_state.search_trials import candidates
from search.worker.retention import kept_trials, may_be_exported, needs_no_refit
from search.worker.study_context import StudyContext
from search.worker.task import Task
from storage.artifacts import ArtifactFolder
from storage.values import TrialStatus, WorkKind
from tests.search.instant_training import pretending
from tests.search.small_study import work_on
from trainer.evaluation.ambiguity import Average
from trainer.recipe.recipe import Recipe
from trainer.training.results import EpochReport

TRIALS = 9


def report(metric: float, mean_true_probability: float) -> EpochReport:
    return EpochReport(
        epoch=3,
        epochs=3,
        metric=metric,
        mean_true_probability=mean_true_probability,
        fold_metrics=(metric, metric),
        true_class=np.full(30, mean_true_probability, np.float32),
        train_loss=0.5,
        seconds=1.0,
    )


def average(brier: float) -> Average:
    return Average(temperature=1.0, brier=brier, ambiguity=0.02)


def search(context: StudyContext) -> dict[int, Path]:
    """Run a search with fake trainings that save networks. Returns the folder of each trial's networks by work item."""
    folders = {}

    def quality(task: Task) -> float:
        folder = ArtifactFolder(context.home.artifacts).weights("colours", task.item.id)
        for fold in range(context.spec.protocol.folds):
            (folder / f"fold{fold}.safetensors").write_bytes(b"weights")
        folders[task.item.id] = folder
        return 0.3 + 0.07 * (task.item.trial_number or 0)

    context.stores.studies.set_budget(context.study.id, TRIALS)
    work_on(pretending(context, quality))
    return folders


def test_only_the_best_trials_keep_their_networks_and_enter_the_pool(context: StudyContext) -> None:
    folders = search(context)
    records = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    by_number = {record.number: record for record in records}
    best = [c.number for c in rank(candidates(records, "accuracy"))][: kept_trials(context.spec.final)]
    assert len(records) == TRIALS and len(best) == 5
    kept = {work_id for work_id, folder in folders.items() if folder.exists()}
    assert kept == {by_number[number].work_id for number in best}
    pool = read_pool(context.stores, [context.study], context.home)
    assert [member.number for member in pool.recipes] == best
    elsewhere = read_pool(context.stores, [context.study], Home(root=context.home.root / "elsewhere"))
    assert [member.number for member in elsewhere.recipes] == best[:1], (
        "a home without networks has no pool beyond the best recipe"
    )


def test_an_ended_trial_is_compared_with_the_best_so_far(context: StudyContext) -> None:
    stores, study = context.stores, context.study
    recipe = Recipe.from_flat(study.spec.default_recipe())

    def is_kept(quality: float) -> bool:
        return may_be_exported(stores, study, recipe, report(quality, quality), average(1.0 - quality))

    assert is_kept(0.1), "the first trial is the best so far"
    search(context)
    assert is_kept(0.95)
    assert not is_kept(0.1)


def test_a_recipe_that_the_export_trains_longer_is_not_kept(context: StudyContext) -> None:
    recipe, final = Recipe.from_flat(context.spec.default_recipe()), context.spec.final
    assert needs_no_refit(recipe, final) and needs_no_refit(recipe, replace(final, epochs=recipe.epochs))
    spec = replace(context.spec, final=replace(final, epochs=recipe.epochs + 1))
    longer = replace(context.study, spec=spec)
    assert not may_be_exported(context.stores, longer, recipe, report(0.99, 0.9), average(0.1))
    assert kept_trials(replace(final, ensemble="none")) == 1


@pytest.mark.slow
def test_a_trial_counts_even_if_the_disk_has_no_room_for_its_networks(
    context: StudyContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, state: object, origin: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer.training.write_model_folder, "save_weights", full)
    context.stores.studies.set_budget(context.study.id, 1)
    with caplog.at_level(logging.WARNING):
        work_on(context)
    (record,) = context.stores.trials.records(context.study.id)
    assert record.status is TrialStatus.FINISHED
    assert not ArtifactFolder(context.home.artifacts).kept_weights("colours", record.work_id)
    assert "its networks are not kept: " in caplog.text
