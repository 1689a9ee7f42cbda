"""Labels of images that may have several, judged by held-out probabilities: those of a study, or of a linear probe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float32Array
from trainer.common.errors import DataError
from trainer.data.folds import make_folds
from trainer.data.inspection import Progress
from trainer.evaluation.label_errors.several_labels import SeveralLabelErrors, find_several_label_errors
from trainer.evaluation.several_labels import Labels, as_pairs
from trainer.probing.judge_labels import CannotJudge, is_informative

PREDICTED = 0.5
"""Probability above which a label counts as predicted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedSeveralLabels:
    """The suspicious labels of n images, and how far the predictions can be trusted."""

    errors: SeveralLabelErrors
    hits: float
    """Share of the judged labels that images have and the predictions hold (`PREDICTED`), 0 .. 1."""
    false_alarms: float
    """Share of the judged labels that images lack and the predictions hold, 0 .. 1."""
    unjudged: tuple[int, ...]
    """Labels about which the predictions say no more than the share of the images with them: indices, ascending."""

    @property
    def predicted(self) -> str:
        """How far the predictions can be trusted, as the end of a sentence on them."""
        return f"predict {self.hits:.0%} of the labels that images have and {self.false_alarms:.0%} of those they lack"


def judge_predictions(y: Labels, proba: Float32Array, folds: NDArray[np.int64]) -> JudgedSeveralLabels:
    """Find suspicious labels by confident learning (`trainer.evaluation.label_errors.several_labels`).

    A label is judged where the probabilities predict it better than its frequency does, and only in folds whose
    networks have seen images with it and images without it.

    Args:
        y: labels, int64, shape (n, C), 0 and 1.
        proba: probabilities by models that were not trained on the image's fold, float32, shape (n, C). NaN is not
            judged.
        folds: fold of each image: int64, shape (n,), 0 .. K - 1.

    Raises:
        CannotJudge: no label is predicted better than its frequency does.
    """
    judged = _learned(y, folds) & np.isfinite(proba)
    for label in range(y.shape[1]):
        rows = np.flatnonzero(judged[:, label])
        pairs = as_pairs(proba[rows, label]).astype(np.float32)
        judged[:, label] &= is_informative(y[rows, label], pairs)
    unjudged = np.flatnonzero(~judged.any(axis=0))
    if len(unjudged) == y.shape[1]:
        raise CannotJudge("no label is predicted better than its frequency does")
    has, predicted = judged & (y == 1), proba > PREDICTED
    return JudgedSeveralLabels(
        errors=find_several_label_errors(y, proba, judged),
        hits=float(predicted[has].mean()),
        false_alarms=float(predicted[judged & (y == 0)].mean()),
        unjudged=tuple(unjudged.tolist()),
    )


def _learned(y: Labels, folds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the other folds hold images with each label, and images without it: bool, shape (n, C)."""
    learned = np.zeros(y.shape, np.bool_)
    for fold in np.unique(folds):
        others = y[folds != fold]
        learned[folds == fold] = others.any(axis=0) & ~others.all(axis=0)
    return learned


def judge_several_labels(
    features: Float32Array,
    y: Labels,
    groups: NDArray[np.int64],
    *,
    n_folds: int,
    progress: Progress | None = None,
) -> JudgedSeveralLabels:
    """Find suspicious labels by linear probes, one logistic regression for each label.

    Each image gets its probabilities from probes that were fitted without its fold.

    Args:
        features: float32, shape (n, d).
        y: labels, int64, shape (n, C), 0 and 1.
        groups: see `trainer.probing.judge_labels.judge_labels`.
        progress: see `trainer.probing.linear_head.fit_heads`.

    Raises:
        CannotJudge: the groups do not fit into the folds, or no label is predicted better than its frequency does.
    """
    from trainer.probing.linear_head import fit_heads  # torch, which a mistyped command need not wait for

    try:
        folds = make_folds(y, groups, n_folds, seed=0)
    except DataError as error:
        raise CannotJudge(str(error)) from error
    classes = y.shape[1]
    heads = fit_heads(features, y, folds, class_weights=lambda _: np.ones(classes, np.float32), progress=progress)
    proba = np.zeros(y.shape, np.float32)
    for fold, head in enumerate(heads):
        proba[folds == fold] = head.predict_proba(features[folds == fold])
    return judge_predictions(y, proba, folds)
