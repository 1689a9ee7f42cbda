"""The outcome of a work item, from the result of its cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from storage.values import EpochCurve, TrialOutcome, TrialStatus
from trainer.evaluation.metrics import standard_error
from trainer.evaluation.targets import Targets

if TYPE_CHECKING:
    from trainer.training.results import CVResult


def outcome_of(result: CVResult, metric: str, targets: Targets) -> TrialOutcome:
    """The outcome to store for a cross-validation.

    If no image was held out, the outcome has no value. Unless all were, it has no out-of-fold predictions.

    Args:
        metric: a name in `trainer.evaluation.metrics.METRICS`.
        targets: classes and weights of the training images.
    """
    last = result.reports[-1] if result.reports else None
    held_out = np.isfinite(result.oof).all(axis=1)
    scored = last is not None and bool(held_out.any())
    average = result.average
    predictions = {}
    if result.status == "finished":
        kept = {"test": result.test, **{f"test.{view}": p for view, p in result.test_views.items()}}
        if held_out.all():
            kept |= {"oof": result.oof, **{f"oof.{view}": p for view, p in result.oof_views.items()}}
        predictions = {name: proba for name, proba in kept.items() if proba is not None and len(proba)}
    return TrialOutcome(
        status=TrialStatus(result.status),
        reason=result.reason,
        value=last.metric if last is not None and scored else None,
        value_se=standard_error(metric, targets.select(held_out), result.oof[held_out]) if scored else None,
        mean_true_probability=last.mean_true_probability if last is not None and scored else None,
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
                mean_true_probability=report.mean_true_probability,
                train_loss=report.train_loss,
                seconds=report.seconds,
                fold_metrics=report.fold_metrics,
                true_class=report.true_class.astype(np.float16),
            )
            for report in result.reports
        ),
        predictions=predictions,
    )
