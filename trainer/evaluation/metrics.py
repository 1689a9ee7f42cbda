"""Metrics by name: always higher is better, so that a study always maximises.

The definitions are scikit-learn's; log loss is negated, as scikit-learn's own scorer does. Importing this module is
cheap; scikit-learn is imported when a score is computed.

Images may count differently, as those do that are more like the test images than others. A weighted score is what
scikit-learn makes of ``sample_weight``: an image of weight 2 counts as two of weight 1. Its standard error is that of
images drawn together with their weights: ``sqrt(sum w^2 r^2) / sum w`` with the influence ``r`` of each image on the
score (Huber 1967, the "sandwich"), which is the unweighted one where all weights are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
"""Class of each image: int64, shape (n,), 0 .. C - 1."""
Probabilities = npt.NDArray[np.floating[Any]]
"""Probability of each class: any float, shape (n, C), finite; each row sums to 1 up to rounding."""
Values = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float64]
"""How much each image counts, relative to the others: float64, shape (n,), finite, not negative, not all zero."""

BOOTSTRAP_ROUNDS = 200
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)
"""Log loss takes no probability for smaller than this, as scikit-learn does for float32 input."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How predictions are judged."""

    doc: str
    score: Callable[[Labels, Probabilities, Weights | None], float]
    """Higher is better. NaN where it is undefined for these labels (ROC AUC of one class). Weights are positive."""
    needs: Literal["labels", "probabilities"]
    """What a submission judged by this metric holds."""
    standard_error: Callable[[Labels, Probabilities, Weights | None], float] | None = None
    """Standard error in closed form; None = by bootstrap."""
    bounds: tuple[float, float] = (0.0, 1.0)
    """The lowest and the highest score there can be."""

    @property
    def is_share(self) -> bool:
        """Whether people tell its differences in points, hundredths."""
        return self.bounds == (0.0, 1.0)


def score(name: str, y: Labels, proba: Probabilities, weights: Weights | None = None) -> float:
    """Score predictions by the metric called ``name``; higher is better.

    Args:
        weights: None: all images count the same, as they do where all weights are equal.

    Raises:
        KeyError: no such metric; recipes and studies are checked against `METRICS` before anything runs.
        ValueError: no images, shapes that do not belong together, or weights that are none (see `Weights`).
    """
    return METRICS[name].score(*_checked(y, proba, weights))


def standard_error(name: str, y: Labels, proba: Probabilities, weights: Weights | None = None) -> float:
    """Standard error of `score` over the draw of the images, everything else held fixed.

    In closed form for accuracy (binomial), balanced accuracy (binomial per class), log loss (standard error of a mean)
    and ROC AUC (DeLong), and for the weighted forms of these; for the others the standard deviation over
    `BOOTSTRAP_ROUNDS` resamples of the images, each with its weight, with a fixed seed, so that the same predictions
    always give the same number (to about 5 % of itself).

    Args:
        weights: as `score`; fixed numbers, whatever they were estimated from.

    Raises:
        KeyError, ValueError: as `score`.
    """
    y, proba, weights = _checked(y, proba, weights)
    metric = METRICS[name]
    if metric.standard_error is not None:
        return metric.standard_error(y, proba, weights)
    generator = np.random.default_rng(0)
    rounds = [generator.integers(0, len(y), len(y)) for _ in range(BOOTSTRAP_ROUNDS)]
    scores = np.array([metric.score(y[rows], proba[rows], weights_of(weights, rows)) for rows in rounds])
    defined = scores[np.isfinite(scores)]
    return float(np.std(defined, ddof=1)) if len(defined) > 1 else float("nan")


def mean_over(values: npt.NDArray[np.floating[Any] | np.bool_], weights: Weights | None = None) -> float:
    """Mean of ``values`` ``(n,)``, n at least 1, each counting by its weight."""
    if weights is None:
        return float(values.mean(dtype=np.float64))
    return float((weights * values).sum() / weights.sum())


def mean_error(values: npt.NDArray[np.floating[Any]], weights: Weights | None = None) -> float:
    """Standard error of `mean_over`; NaN for fewer than two values."""
    if len(values) < 2:
        return float("nan")
    if weights is None:
        return float(np.std(values, ddof=1) / np.sqrt(len(values)))
    size = effective_images(weights)
    if size <= 1.0:
        return float("nan")
    left = weights * (values - mean_over(values, weights))
    # As ddof=1 does where all count the same.
    return float(np.sqrt((left**2).sum() * size / (size - 1.0)) / weights.sum())


def effective_images(weights: Weights) -> float:
    """How many images that all count the same give a mean as certain, about (Kish 1965): ``(sum w)^2 / sum w^2``,
    between 1 and n.
    """
    return float(weights.sum() ** 2 / (weights**2).sum())


def weights_of(weights: Weights | None, rows: Any) -> Weights | None:
    """The weights of some images, by an index of NumPy's."""
    return None if weights is None else weights[rows]


def true_class_probability(y: Labels, proba: Probabilities) -> npt.NDArray[np.float32]:
    """Probability given to the class that each image has: float32, shape (n,)."""
    return np.asarray(proba[np.arange(len(y)), y], dtype=np.float32)


def _checked(y: Labels, proba: Probabilities, weights: Weights | None) -> tuple[Labels, Probabilities, Weights | None]:
    """The same without images of no weight; weights that are all equal are none, so that they change no bit."""
    if len(y) == 0 or proba.ndim != 2 or len(proba) != len(y):
        raise ValueError(f"cannot score {len(y)} labels against probabilities of shape {proba.shape}")
    if weights is None:
        return y, proba, None
    if weights.shape != (len(y),):
        raise ValueError(f"{len(y)} labels but weights of shape {weights.shape}")
    if not (np.isfinite(weights).all() and weights.min() >= 0.0 and weights.max() > 0.0):
        raise ValueError("weights are finite, not negative and not all zero")
    counts = weights > 0.0
    if not counts.all():
        y, proba, weights = y[counts], proba[counts], weights[counts]
    return y, proba, None if np.all(weights == weights[0]) else weights


def _hits(y: Labels, proba: Probabilities) -> Values:
    return np.asarray(proba.argmax(axis=1) == y, dtype=np.float64)


def _accuracy(y: Labels, proba: Probabilities, weights: Weights | None) -> float:
    return mean_over(_hits(y, proba), weights)


def _accuracy_error(y: Labels, proba: Probabilities, weights: Weights | None) -> float:
    share = _accuracy(y, proba, weights)
    if weights is None:
        return float(np.sqrt(share * (1.0 - share) / len(y)))
    return float(np.sqrt(((weights * (_hits(y, proba) - share)) ** 2).sum()) / weights.sum())


def _recalls(y: Labels, proba: Probabilities, weights: Weights | None) -> tuple[Values, Values]:
    """Recall of each class that occurs in ``y``, and its variance."""
    hits = _hits(y, proba)
    counts = np.bincount(y, weights).astype(np.float64)
    present = counts > 0
    right = np.bincount(y, hits if weights is None else weights * hits)
    recalls = right[present] / counts[present]
    if weights is None:
        return recalls, recalls * (1.0 - recalls) / counts[present]
    left = weights * (hits - (recalls[np.cumsum(present) - 1])[y])
    return recalls, np.bincount(y, left**2)[present] / counts[present] ** 2


def _balanced_accuracy(y: Labels, proba: Probabilities, weights: Weights | None) -> float:
    return float(_recalls(y, proba, weights)[0].mean())


def _balanced_accuracy_error(y: Labels, proba: Probabilities, weights: Weights | None) -> float:
    recalls, variances = _recalls(y, proba, weights)
    return float(np.sqrt(variances.sum()) / len(recalls))


def _macro_f1(y: Labels, proba: Probabilities, weights: Weights | None) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(y, proba.argmax(axis=1), average="macro", sample_weight=weights, zero_division=0.0))


def _log_likelihoods(y: Labels, proba: Probabilities) -> Values:
    rows = proba.astype(np.float64)
    rows = rows / rows.sum(axis=1, keepdims=True)
    return np.asarray(np.log(np.clip(rows[np.arange(len(y)), y], SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)))


def _log_loss(y: Labels, proba: Probabilities, weights: Weights | None) -> float:
    return mean_over(_log_likelihoods(y, proba), weights)


def _log_loss_error(y: Labels, proba: Probabilities, weights: Weights | None) -> float:
    return mean_error(_log_likelihoods(y, proba), weights)


def _judged_columns(y: Labels, proba: Probabilities) -> list[int]:
    """Classes that some images have and others have not: those whose ROC curve is defined."""
    return [c for c in range(proba.shape[1]) if 0 < np.count_nonzero(y == c) < len(y)]


def _roc_auc(y: Labels, proba: Probabilities, weights: Weights | None) -> float:
    from sklearn.metrics import roc_auc_score

    columns = _judged_columns(y, proba)
    if not columns:
        return float("nan")
    return float(np.mean([roc_auc_score(y == c, proba[:, c], sample_weight=weights) for c in columns]))


def _roc_auc_error(y: Labels, proba: Probabilities, weights: Weights | None) -> float:
    """DeLong et al. 1988: the spread of what each image, compared with all of the other side, does to the mean area."""
    columns = _judged_columns(y, proba)
    if not columns:
        return float("nan")
    pull = np.zeros(len(y))
    for c in columns:
        positive = y == c
        of_these, of_others = weights_of(weights, positive), weights_of(weights, ~positive)
        below = _share_below(proba[positive, c], proba[~positive, c], of_others)
        above = 1.0 - _share_below(proba[~positive, c], proba[positive, c], of_these)
        pull[positive] += (below - mean_over(below, of_these)) / mean_over(positive, weights)
        pull[~positive] += (above - mean_over(above, of_others)) / mean_over(~positive, weights)
    if weights is None:
        return float(np.std(pull) / len(columns) / np.sqrt(len(y)))
    return float(np.sqrt(((weights * pull) ** 2).sum()) / weights.sum() / len(columns))


def _share_below(values: Probabilities, others: Probabilities, weights: Weights | None) -> Values:
    """Share of ``others`` by weight below each of ``values``, equal ones counted half: float64, shape of ``values``."""
    if weights is None:
        ordered = np.sort(others)
        ranks = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
        return np.asarray(ranks / (2.0 * len(others)), dtype=np.float64)
    order = np.argsort(others, kind="stable")
    ordered, passed = others[order], np.concatenate([[0.0], np.cumsum(weights[order])])
    sums = passed[np.searchsorted(ordered, values, "left")] + passed[np.searchsorted(ordered, values, "right")]
    return np.asarray(sums / (2.0 * passed[-1]), dtype=np.float64)


def _quadratic_weighted_kappa(y: Labels, proba: Probabilities, weights: Weights | None) -> float:
    from sklearn.metrics import cohen_kappa_score

    predicted = proba.argmax(axis=1)
    if np.all(y == y[0]) and np.all(predicted == y[0]):
        return 0.0  # one class seen and predicted: undefined (0 / 0); no better than chance is what can be claimed
    classes = np.arange(proba.shape[1])
    return float(cohen_kappa_score(y, predicted, labels=classes, weights="quadratic", sample_weight=weights))


METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        doc="share of images whose most probable class is right",
        score=_accuracy,
        needs="labels",
        standard_error=_accuracy_error,
    ),
    "balanced_accuracy": Metric(
        doc="mean over the classes of the share of their images that are right",
        score=_balanced_accuracy,
        needs="labels",
        standard_error=_balanced_accuracy_error,
    ),
    "macro_f1": Metric(doc="mean over the classes of the F1 score", score=_macro_f1, needs="labels"),
    "log_loss": Metric(
        doc="mean logarithm of the true class's probability: log loss, negated",
        score=_log_loss,
        needs="probabilities",
        standard_error=_log_loss_error,
        bounds=(-math.inf, 0.0),
    ),
    "roc_auc": Metric(
        doc="area under the ROC curve of each class against the rest, averaged over the classes that occur",
        score=_roc_auc,
        needs="probabilities",
        standard_error=_roc_auc_error,
    ),
    "qwk": Metric(
        doc="quadratic weighted kappa, for classes in a meaningful order",
        score=_quadratic_weighted_kappa,
        needs="labels",
        bounds=(-1.0, 1.0),
    ),
}
"""Every metric by name."""
