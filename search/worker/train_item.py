"""Training what a work item asks for, and what of it is kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from search.worker.retention import may_be_exported
from search.worker.task import LeaseLost, Task
from storage.optuna_storage import stored_trial
from storage.values import FULL_DATA_SPLIT, EpochCurve, TrialOutcome, TrialStatus, WorkKind
from trainer.evaluation.metrics import standard_error
from trainer.evaluation.targets import Targets
from trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from search.worker.study_context import StudyContext
    from trainer.evaluation.ambiguity import Average
    from trainer.training.results import CVResult, EpochReport, Verdict

log = logging.getLogger(__name__)


def train(context: StudyContext, task: Task) -> TrialOutcome | None:
    """Cross-validate the item's recipe; None if it was stopped, to be continued by whoever takes it next.

    Raises:
        LeaseLost: another worker holds the item.
    """
    from trainer.networks.view_averaging import FLIPS
    from trainer.training.cross_validation import cross_validate
    from trainer.training.results import Verdict
    from trainer.training.write_model_folder import save_weights

    item, trial, lease = task.item, task.trial, task.lease
    recipe = Recipe.from_flat(item.recipe or {})
    in_search = item.kind is WorkKind.SEARCH
    # Only an earlier attempt can have reported anything.
    reported = set() if trial is None or item.attempt == 1 else set(stored_trial(trial).intermediate_values)

    def on_epoch(report: EpochReport) -> Verdict:
        log.info("%s: epoch %d of %d, %s", task.name, report.epoch, report.epochs, _progress(context, report))
        if not lease.check():
            raise LeaseLost
        if trial is not None and np.isfinite(report.mean_true_probability) and report.epoch not in reported:
            trial.report(report.mean_true_probability, report.epoch)
        if task.stop_requested():
            return Verdict.STOP
        if task.out_of_time(recipe, report):
            log.info("%s would end too late for the deadline and is handed back", task.name)
            return Verdict.STOP
        if trial is not None and context.pruner.gives_up(trial, report):
            return Verdict.PRUNE
        return Verdict.CONTINUE

    def worth_keeping(last: EpochReport, average: Average | None) -> bool:
        if not _keeps_test_predictions(context, item.kind):
            return False  # of what was not predicted nothing can be exported
        return may_be_exported(context.stores, context.study, recipe, last, average)

    split = None if item.split == FULL_DATA_SPLIT else item.split
    result = cross_validate(
        recipe,
        context.training_data(recipe, split),
        metric=context.study.metric,
        seed=item.seed,
        device=context.device,
        on_epoch=on_epoch,
        abandon=lambda: lease.lost or task.overdue(),
        checkpoint=context.artifacts.checkpoint(context.study.name, item.id),
        weights_dir=context.weights_dir,
        keep_models=True,
        # From these the export chooses, unless the recipe itself says which views are averaged.
        views=FLIPS if recipe.tta == "none" else ("identity",),
        worth_keeping=worth_keeping if in_search else None,
        predict_test=_keeps_test_predictions(context, item.kind),
        loader=context.loader,
    )
    if lease.lost:
        raise LeaseLost
    if result.status == "stopped":
        return None
    if result.models:
        try:
            folder = context.artifacts.weights(context.study.name, item.id)
            for fold, state in enumerate(result.models):
                save_weights(folder / weights_name(fold), state)
        except OSError as error:
            if not in_search:
                raise
            # A trial that has ended counts, whether there is room for its networks or not: a refit makes them again.
            context.artifacts.remove_weights(context.study.name, item.id)
            log.warning("%s: its networks are not kept: %s", task.name, error)
    return outcome_of(result, context.study.metric, context.targets)


def weights_name(fold: int) -> str:
    """File name of one fold model."""
    return f"fold{fold}.safetensors"


TEST_PER_TRAIN = 5
"""Trials predict the test images only where these are at most this many times the training images."""


def _keeps_test_predictions(context: StudyContext, kind: WorkKind) -> bool:
    return kind is not WorkKind.SEARCH or len(context.images.test_ids) <= TEST_PER_TRAIN * len(context.images.train_ids)


def outcome_of(result: CVResult, metric: str, targets: Targets) -> TrialOutcome:
    """A cross-validation's result as it is stored. Nothing held out: no value, no out-of-fold predictions.

    Args:
        targets: classes and weights of the training images, as in the training's data.
    """
    last = result.reports[-1] if result.reports else None
    held_out = np.isfinite(result.oof).all(axis=1)
    scored = last is not None and bool(held_out.any())
    average = result.average
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
        value_se=standard_error(metric, targets.select(held_out), result.oof[held_out]) if scored else None,
        soft=last.mean_true_probability if last is not None and scored else None,
        brier=None if average is None else average.brier,
        ambiguity=None if average is None else average.ambiguity,
        temperature=None if average is None else average.temperature,
        epochs_done=result.epochs_done,
        seconds=sum(report.seconds for report in result.reports),
        machine=result.machine,
        curves=tuple(
            EpochCurve(
                epoch=report.epoch,
                metric=report.metric,
                soft=report.mean_true_probability,
                train_loss=report.train_loss,
                seconds=report.seconds,
                fold_metrics=report.fold_metrics,
                true_class=report.true_class.astype(np.float16),
            )
            for report in result.reports
        ),
        predictions=predictions,
    )


def _progress(context: StudyContext, report: EpochReport) -> str:
    if not np.isfinite(report.metric):
        return f"training loss {report.train_loss:.4f}, {report.seconds:.1f} s"
    return (
        f"{context.study.metric} {report.metric:.4f}, "
        f"true-class probability {report.mean_true_probability:.4f}, "
        f"training loss {report.train_loss:.4f}, {report.seconds:.1f} s"
    )
