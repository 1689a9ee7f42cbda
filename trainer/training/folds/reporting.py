"""The scores of a cross-validation after an epoch."""

from __future__ import annotations

import numpy as np

from trainer.common.arrays import Float32Array
from trainer.evaluation.metrics import score, true_class_probability
from trainer.training.results import EpochReport, TrainingData


def epoch_report(
    data: TrainingData,
    oof: Float32Array,
    *,
    metric: str,
    epoch: int,
    epochs: int,
    train_loss: float,
    seconds: float,
    prediction_seconds: float = 0.0,
) -> EpochReport:
    """The report of an epoch.

    Args:
        oof: out-of-fold probabilities, shape (n, C); NaN in rows that are never held out.
        metric: a name in `trainer.evaluation.metrics.METRICS`.
        epoch, epochs, train_loss, seconds, prediction_seconds: as in `EpochReport`.
    """
    targets, folds = data.targets, data.folds
    true_class = true_class_probability(targets.y, oof)
    held_out = np.isfinite(oof[:, 0])
    return EpochReport(
        epoch=epoch,
        epochs=epochs,
        true_class=true_class,
        metric=score(metric, targets.select(held_out), oof[held_out]) if held_out.any() else float("nan"),
        mean_true_probability=(targets.select(held_out).mean(true_class[held_out]) if held_out.any() else float("nan")),
        fold_metrics=tuple(
            score(metric, targets.select(rows), oof[rows])
            for rows in (folds == fold for fold in range(data.num_folds))
            if rows.any()
        ),
        train_loss=train_loss,
        seconds=seconds,
        prediction_seconds=prediction_seconds,
    )
