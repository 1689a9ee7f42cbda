"""Labels judged by a linear probe: by its out-of-fold probabilities on frozen features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float32Array
from trainer.common.errors import DataError, TrainerError
from trainer.data.folds import make_folds
from trainer.data.inspection import Progress
from trainer.evaluation.label_errors.one_label import LabelErrors, find_label_errors

SIGNIFICANT = 2.0
"""Standard errors by which a probe must predict better than the frequencies of the classes do."""


class CannotJudge(TrainerError):
    """The labels cannot be judged; the message is the reason."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedLabels:
    """The suspicious labels of n images, and how far the probe can be trusted."""

    errors: LabelErrors
    accuracy: float
    """Share of the judged images whose label is the probe's most probable class, 0 .. 1."""
    unjudged: int
    """Number of images with a class that only one fold holds: the probe of this fold has never seen the class."""


def judge_labels(
    features: Float32Array,
    y: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    num_classes: int,
    n_folds: int,
    progress: Progress | None = None,
) -> JudgedLabels:
    """Find suspicious labels by confident learning (`trainer.evaluation.label_errors`).

    Each image gets its probabilities from a linear probe that was fitted without its fold.

    Args:
        features: float32, shape (n, d).
        y: labels, int64, shape (n,), 0 .. num_classes - 1.
        groups: int64, shape (n,); images of one group, such as near-duplicates, stay in one fold. Otherwise a wrong
            label would be confirmed by a copy of its image.
        progress: see `trainer.probing.linear_head.fit_heads`.

    Raises:
        CannotJudge: there is one class, the groups do not fit into the folds, or the probe predicts no better than the
            frequencies of the classes.
    """
    from trainer.probing.linear_head import fit_heads  # torch, which a mistyped command need not wait for

    if len(np.unique(y)) < 2:
        raise CannotJudge("all images have one label")
    try:
        folds = make_folds(y, groups, n_folds, seed=0)
    except DataError as error:
        raise CannotJudge(str(error)) from error
    heads = fit_heads(features, y, folds, class_weights=lambda _: np.ones(num_classes, np.float32), progress=progress)
    proba = np.full((len(y), num_classes), np.nan, np.float32)
    for fold, head in enumerate(heads):
        held_out = np.flatnonzero((folds == fold) & np.isin(y, y[folds != fold]))
        proba[held_out] = head.predict_proba(features[held_out])
    judged = np.flatnonzero(np.isfinite(proba[:, 0]))
    if not is_informative(y[judged], proba[judged]):
        raise CannotJudge(
            "a linear probe on these features predicts the labels no better than the class frequencies do"
        )
    return JudgedLabels(
        errors=find_label_errors(y, proba),
        accuracy=float((proba[judged].argmax(axis=1) == y[judged]).mean()),
        unjudged=len(y) - len(judged),
    )


def is_informative(y: NDArray[np.int64], proba: Float32Array) -> bool:
    """Whether probabilities predict the labels significantly better than the frequencies of the classes do.

    Either the log loss or the accuracy has to be better. A few wrong labels that are contradicted with confidence spoil
    the log loss, but hardly the accuracy; with a class of nearly all images, only the log loss can be better.

    Args:
        y: labels, int64, shape (n,), 0 .. C - 1.
        proba: probabilities by models that were not trained on the image, finite, shape (n, C).
    """
    if len(y) < 2:
        return False
    smallest = np.finfo(np.float32).tiny
    own = np.log(np.maximum(proba[np.arange(len(y)), y], smallest).astype(np.float64))
    counts = np.bincount(y)
    log_gains = own - np.log(counts[y] / len(y))
    hits = (proba.argmax(axis=1) == y).astype(np.float64) - (y == counts.argmax())
    return any(bool(gains.mean() > SIGNIFICANT * gains.std(ddof=1) / np.sqrt(len(y))) for gains in (log_gains, hits))
