"""One work item from start to end: trial, recipe, cross-validation, store, tell."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.trial import TrialState

from search.bench import Bench
from search.lease import LeaseKeeper
from search.patience import patiently
from search.pruning import EPOCHS_ATTRIBUTE
from search.sampling import sample
from search.telling import tell_all
from storage.database import is_outage
from storage.errors import StorageError, StorageUnavailableError
from storage.values import EpochCurve, TrialOutcome, TrialStatus, WorkKind
from storage.work_items import WorkItem
from trainer.metrics import standard_error
from trainer.recipe import Recipe

if TYPE_CHECKING:
    from trainer.outcome import CVResult, EpochReport, Verdict

log = logging.getLogger(__name__)

FULL_DATA_SPLIT = -1
"""Split of a refit that trains on all images and holds nothing out."""


class LeaseLost(Exception):  # noqa: N818 - named for the fact
    """Another worker holds the item now. Raised to leave the training without writing a checkpoint over its own."""


def running_trials(study: optuna.Study) -> list[int]:
    """Numbers of the trials that Optuna takes for running."""
    return [t.number for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]


def run_item(bench: Bench, item: WorkItem, stop_requested: Callable[[], bool], orphans: Collection[int] = ()) -> None:
    """Run a work item that this worker has just taken.

    When this returns, the outcome is stored and told, or the item was handed back because ``stop_requested``, or
    another worker holds it. An error of the training is the outcome of the item (failed, with its reason), not of
    this call.

    Args:
        orphans: Optuna trials that nobody works on; one of them is taken on before a new one is asked for.

    Raises:
        Exception: the database is gone for good; the item stays leased until its lease runs out.
    """
    with LeaseKeeper(bench.ledger.queue, item) as lease:
        try:
            trial = None
            if item.kind is WorkKind.SEARCH:
                named, trial = _name(bench, item, orphans)
                if named is None:
                    return
                item = named
            outcome = _train(bench, item, trial, lease, stop_requested)
        except LeaseLost:
            log.info("%s was taken over by another worker and is dropped here", _called(item))
            return
        except Exception as error:
            if is_outage(error):
                raise
            log.error("%s failed:\n%s", _called(item), traceback.format_exc())
            outcome = TrialOutcome(status=TrialStatus.FAILED, reason=_reason(error))
        if outcome is None:
            patiently(lambda: bench.ledger.queue.hand_back(item))
            log.info("%s is handed back; the next worker goes on with it", _called(item))
            return
        if not patiently(lambda: bench.ledger.queue.store(item, outcome)):
            log.info("%s was taken over by another worker; its result here is dropped", _called(item))
            return
    bench.artifacts.remove_checkpoint(bench.study.name, item.id)
    tell_all(bench.ledger.queue, bench.study.id, bench.optuna_study)
    log.info("%s: %s", _called(item), outcome.reason or outcome.status)


def _name(bench: Bench, item: WorkItem, orphans: Collection[int]) -> tuple[WorkItem | None, optuna.Trial]:
    """The item with its trial number and recipe (None: the lease was lost), and the Optuna trial it stands for."""
    study = bench.optuna_study
    if item.trial_number is not None:
        return item, adopt(study, item.trial_number)
    for number in orphans:
        try:
            return _name_as(bench, item, adopt(study, number))
        except StorageUnavailableError:
            raise
        except StorageError:
            log.info("trial %d was adopted by another worker first", number)
    return _name_as(bench, item, study.ask())


def _name_as(bench: Bench, item: WorkItem, trial: optuna.Trial) -> tuple[WorkItem | None, optuna.Trial]:
    recipe = sample(trial, bench.spec)
    trial.set_user_attr(EPOCHS_ATTRIBUTE, recipe.epochs)
    return bench.ledger.queue.name_trial(item, trial.number, recipe.to_flat()), trial


def adopt(study: optuna.Study, number: int) -> optuna.Trial:
    """A running trial, to go on with: same number, same parameters."""
    trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    return optuna.trial.Trial(study, trial_id)


def _train(
    bench: Bench, item: WorkItem, trial: optuna.Trial | None, lease: LeaseKeeper, stop_requested: Callable[[], bool]
) -> TrialOutcome | None:
    """Cross-validate the item's recipe; None if a stop was requested.

    Raises:
        LeaseLost: noticed after an epoch.
    """
    from trainer.crossval import cross_validate
    from trainer.modelfolder import save_weights
    from trainer.outcome import Verdict
    from trainer.predict import VIEWS

    recipe = Recipe.from_flat(item.recipe or {})
    refit = item.kind is WorkKind.REFIT
    reported = set() if trial is None else set(_intermediate(trial))

    def on_epoch(report: EpochReport) -> Verdict:
        log.info("%s: epoch %d of %d, %s", _called(item), report.epoch, report.epochs, _progress(bench, report))
        if trial is not None and np.isfinite(report.soft) and report.epoch not in reported:
            patiently(lambda: trial.report(report.soft, report.epoch))
        if lease.lost:
            raise LeaseLost
        if stop_requested():
            return Verdict.STOP
        if trial is not None and patiently(trial.should_prune):
            return Verdict.PRUNE
        return Verdict.CONTINUE

    result = cross_validate(
        recipe,
        bench.training_data(recipe, None if item.split == FULL_DATA_SPLIT else item.split),
        metric=bench.spec.protocol.metric,
        seed=item.seed,
        device=bench.device,
        on_epoch=on_epoch,
        checkpoint=bench.artifacts.checkpoint(bench.study.name, item.id),
        weights_dir=bench.weights_dir,
        keep_models=refit,
        views=VIEWS if refit else ("identity",),
        predict_test=_keeps_test_predictions(bench, item.kind),
        loader=bench.loader,
    )
    if result.status == "stopped":
        return None
    if refit and result.status == "finished":
        folder = bench.artifacts.weights(bench.study.name, item.id)
        for fold, state in enumerate(result.models):
            save_weights(folder / weights_name(fold), state)
    return outcome_of(result, bench.spec.protocol.metric, bench.images.y)


def weights_name(fold: int) -> str:
    """File name of one fold model of a refit."""
    return f"fold{fold}.safetensors"


TEST_PER_TRAIN = 5
"""Trials predict the test images only where these are at most this many times the training images."""


def _keeps_test_predictions(bench: Bench, kind: WorkKind) -> bool:
    return kind is WorkKind.REFIT or len(bench.images.test_ids) <= TEST_PER_TRAIN * len(bench.images.train_ids)


def outcome_of(result: CVResult, metric: str, y: np.ndarray[tuple[int], np.dtype[np.int64]]) -> TrialOutcome:
    """A cross-validation's result as it is stored. Nothing held out: no value, no out-of-fold predictions."""
    last = result.reports[-1] if result.reports else None
    held_out = np.isfinite(result.oof).all(axis=1)
    scored = last is not None and bool(held_out.any())
    predictions = {}
    if result.status == "finished":
        kept = {"test": result.test, **{f"test.{view}": p for view, p in result.test_views.items()}}
        if scored:
            kept |= {"oof": result.oof, **{f"oof.{view}": p for view, p in result.oof_views.items()}}
        predictions = {name: proba for name, proba in kept.items() if proba is not None and len(proba)}
    return TrialOutcome(
        status=TrialStatus(result.status),
        reason=result.reason,
        value=last.metric if last is not None and scored else None,
        value_se=standard_error(metric, y[held_out], result.oof[held_out]) if scored else None,
        soft=last.soft if last is not None and scored else None,
        epochs_done=result.epochs_done,
        seconds=sum(report.seconds for report in result.reports),
        machine=result.machine,
        curves=tuple(
            EpochCurve(
                epoch=report.epoch,
                metric=report.metric,
                soft=report.soft,
                train_loss=report.train_loss,
                seconds=report.seconds,
                fold_metrics=report.fold_metrics,
                true_class=report.true_class.astype(np.float16),
            )
            for report in result.reports
        ),
        predictions=predictions,
    )


def _intermediate(trial: optuna.Trial) -> Collection[int]:
    return trial.storage.get_trial(trial._trial_id).intermediate_values


def _called(item: WorkItem) -> str:
    if item.kind is WorkKind.SEARCH:
        return f"trial {item.trial_number}" if item.trial_number is not None else "a new trial"
    return f"{item.kind} with seed {item.seed} on split {item.split}"


def _progress(bench: Bench, report: EpochReport) -> str:
    if not np.isfinite(report.metric):
        return f"training loss {report.train_loss:.4f}, {report.seconds:.1f} s"
    return (
        f"{bench.spec.protocol.metric} {report.metric:.4f}, true-class probability {report.soft:.4f}, "
        f"training loss {report.train_loss:.4f}, {report.seconds:.1f} s"
    )


def _reason(error: Exception) -> str:
    """What failed and where, on one line; the worker's log has the traceback."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
