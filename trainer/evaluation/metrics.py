"""Metrics by name. Higher is always better, so a study always maximises.

The definitions are scikit-learn's; log loss is negated, as scikit-learn's own scorer does. Importing this module is
cheap; scikit-learn is imported when a score is computed.

A weighted score is scikit-learn's with ``sample_weight``: an image of weight 2 counts as two of weight 1. Its standard
error assumes that images are drawn together with their weights. It is the "sandwich" of Huber 1967,

    sqrt(sum w^2 r^2) / sum w

    w  weight of an image
    r  influence of the image on the score

and equals the unweighted standard error if all weights are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trainer.evaluation.several_labels import has_several
from trainer.evaluation.targets import ImageWeights, Labels, Targets

Probabilities = npt.NDArray[np.floating[Any]]
"""Probability of each class: any float, shape (n, C), finite; each row sums to 1 up to rounding, unless images may have
several labels."""
Values = npt.NDArray[np.float64]

BOOTSTRAP_ROUNDS = 200
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)
"""Lower limit of probabilities in log loss, as scikit-learn sets it for float32 input."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score of predictions."""

    doc: str
    score: Callable[[Targets, Probabilities], float]
    """Higher is better. NaN if undefined for these labels, as ROC AUC of one class is. Weights are positive."""
    needs: Literal["labels", "probabilities"]
    """Content of a submission that is scored by this metric."""
    standard_error: Callable[[Targets, Probabilities], float] | None = None
    """Standard error in closed form; None: by bootstrap."""
    bounds: tuple[float, float] = (0.0, 1.0)
    """Lowest and highest possible score."""
    labels: Literal["one", "several", "both"] = "one"
    """How many labels an image has in the data that this metric scores. Of several labels an image is predicted to have
    those of a probability above 0.5."""

    @property
    def is_share(self) -> bool:
        """Whether the score is a share, 0 to 1, so that differences are shown in points (hundredths)."""
        return self.bounds == (0.0, 1.0)


def metrics_for(several_labels: bool) -> list[str]:
    """Names of the metrics for images with several labels, or with one each."""
    return [
        name for name, metric in METRICS.items() if metric.labels in ("both", "several" if several_labels else "one")
    ]


def score(name: str, targets: Targets, proba: Probabilities) -> float:
    """Score predictions by the metric called ``name``; higher is better.

    Args:
        targets: true classes and weights of n images, at least one. Weights that are all equal change nothing.
        proba: ``(n, C)``.

    Raises:
        KeyError: no such metric; recipes and studies are checked against `METRICS` before anything runs.
        ValueError: no images, none of a weight above 0, or another number of images in ``proba``.
    """
    return METRICS[name].score(*_scored_images(targets, proba))


def standard_error(name: str, targets: Targets, proba: Probabilities) -> float:
    """Standard error of `score` over the draw of the images, everything else held fixed.

    In closed form for accuracy (binomial), balanced accuracy (binomial per class), log loss (standard error of a mean)
    and ROC AUC (DeLong), and for the weighted forms of these. For the other metrics it is the standard deviation over
    `BOOTSTRAP_ROUNDS` resamples of the images, each with its weight. The seed is fixed, so the same predictions always
    give the same number, to about 5 % of itself.

    Args:
        targets, proba: as `score`; weights are taken as known, even if they were estimated.

    Raises:
        KeyError, ValueError: as `score`.
    """
    targets, proba = _scored_images(targets, proba)
    metric = METRICS[name]
    if metric.standard_error is not None:
        return metric.standard_error(targets, proba)
    generator = np.random.default_rng(0)
    n = len(targets)
    resamples = [generator.integers(0, n, n) for _ in range(BOOTSTRAP_ROUNDS)]
    scores = np.array([metric.score(targets.select(rows), proba[rows]) for rows in resamples])
    defined = scores[np.isfinite(scores)]
    return float(np.std(defined, ddof=1)) if len(defined) > 1 else float("nan")


def true_class_probability(y: Labels, proba: Probabilities) -> npt.NDArray[np.float32]:
    """Probability given to the true class of each image: float32, shape (n,).

    Of several labels: the mean of two means, that of the probabilities of the labels that the image has, and that of
    the complements of those that it lacks. So the many labels that an image lacks do not outweigh the few that it has.
    (Means of probabilities on both sides make up the coefficient of discrimination of Tjur 2009.)
    """
    if has_several(y):
        has = np.einsum("nc,nc->n", proba, y) / np.maximum(y.sum(axis=1), 1)
        lacks = np.einsum("nc,nc->n", 1.0 - proba, 1 - y) / np.maximum((1 - y).sum(axis=1), 1)
        some, every = y.any(axis=1), y.all(axis=1)
        return np.asarray(np.where(every, has, np.where(some, (has + lacks) / 2.0, lacks)), dtype=np.float32)
    return np.asarray(proba[np.arange(len(y)), y], dtype=np.float32)


def _scored_images(targets: Targets, proba: Probabilities) -> tuple[Targets, Probabilities]:
    """The images with a weight above 0. Equal weights are dropped, so that they change no bit of a score."""
    if len(targets) == 0 or proba.ndim != 2 or len(proba) != len(targets):
        raise ValueError(f"cannot score {len(targets)} labels against probabilities of shape {proba.shape}")
    if targets.image_weights is None:
        return targets, proba
    counts = targets.image_weights > 0.0
    if not counts.any():
        raise ValueError("the weights of all images are zero")
    if not counts.all():
        targets, proba = targets.select(counts), proba[counts]
    weights = targets.image_weights
    return (Targets(targets.y) if weights is not None and np.all(weights == weights[0]) else targets), proba


def _hits(targets: Targets, proba: Probabilities) -> Values:
    return np.asarray(proba.argmax(axis=1) == targets.y, dtype=np.float64)


def _accuracy(targets: Targets, proba: Probabilities) -> float:
    return targets.mean(_hits(targets, proba))


def _accuracy_error(targets: Targets, proba: Probabilities) -> float:
    share, weights = _accuracy(targets, proba), targets.image_weights
    if weights is None:
        return float(np.sqrt(share * (1.0 - share) / len(targets)))
    return float(np.sqrt(((weights * (_hits(targets, proba) - share)) ** 2).sum()) / weights.sum())


def _recalls(targets: Targets, proba: Probabilities) -> tuple[Values, Values]:
    """Recall of each class that has an image, and its variance."""
    y, weights = targets.y, targets.image_weights
    hits = _hits(targets, proba)
    counts = np.bincount(y, weights).astype(np.float64)
    present = counts > 0
    right = np.bincount(y, hits if weights is None else weights * hits)
    recalls = right[present] / counts[present]
    if weights is None:
        return recalls, recalls * (1.0 - recalls) / counts[present]
    residuals = weights * (hits - (recalls[np.cumsum(present) - 1])[y])
    return recalls, np.bincount(y, residuals**2)[present] / counts[present] ** 2


def _balanced_accuracy(targets: Targets, proba: Probabilities) -> float:
    return float(_recalls(targets, proba)[0].mean())


def _balanced_accuracy_error(targets: Targets, proba: Probabilities) -> float:
    recalls, variances = _recalls(targets, proba)
    return float(np.sqrt(variances.sum()) / len(recalls))


def _macro_f1(targets: Targets, proba: Probabilities) -> float:
    if targets.several_labels:
        right, given, true = _label_sums(targets, proba, axis=0)
        return float(np.where(given + true > 0, 2.0 * right / np.maximum(given + true, _TINY), 0.0).mean())
    from sklearn.metrics import f1_score

    labels, weights = proba.argmax(axis=1), targets.image_weights
    return float(f1_score(targets.y, labels, average="macro", sample_weight=weights, zero_division=0.0))


_TINY = 1e-300  # instead of 0 in a denominator


def _label_sums(targets: Targets, proba: Probabilities, axis: int) -> list[Values]:
    """Right, predicted and true labels: of each class, weighted (axis 0), or of each image, not weighted (axis 1)."""
    predicted, y = proba > 0.5, targets.y == 1
    parts = (predicted & y, predicted, y)
    if axis == 1 or targets.image_weights is None:
        return [part.sum(axis=axis).astype(np.float64) for part in parts]
    return [np.asarray(targets.image_weights @ part) for part in parts]


def _image_f1(targets: Targets, proba: Probabilities) -> Values:
    """F1 score of the labels of each image; 1 where it has none and none is predicted."""
    right, given, true = _label_sums(targets, proba, axis=1)
    return np.where(given + true > 0, 2.0 * right / np.maximum(given + true, 1.0), 1.0)


def _mean_f1(targets: Targets, proba: Probabilities) -> float:
    return targets.mean(_image_f1(targets, proba))


def _mean_f1_error(targets: Targets, proba: Probabilities) -> float:
    return targets.mean_error(_image_f1(targets, proba))


def _micro_f1(targets: Targets, proba: Probabilities) -> float:
    right, given, true = (part.sum() for part in _label_sums(targets, proba, axis=0))
    return float(2.0 * right / (given + true)) if given + true > 0 else 0.0


def _label_ranks(targets: Targets, proba: Probabilities) -> Values:
    """Label ranking average precision of each image; 1 where it has no label, or all, as scikit-learn defines it."""
    y = targets.y == 1
    above = np.zeros(y.shape)  # labels with at least the probability of each label
    right = np.zeros(y.shape)  # those of them that the image has
    for label in range(y.shape[1]):
        not_below = proba[:, label, None] >= proba
        above += not_below
        right += not_below & y[:, label, None]
    counts = y.sum(axis=1)
    precision = (right / above).sum(axis=1, where=y) / np.maximum(counts, 1)
    return np.where((counts == 0) | (counts == y.shape[1]), 1.0, precision)


def _lrap(targets: Targets, proba: Probabilities) -> float:
    return targets.mean(_label_ranks(targets, proba))


def _lrap_error(targets: Targets, proba: Probabilities) -> float:
    return targets.mean_error(_label_ranks(targets, proba))


def _log_likelihoods(targets: Targets, proba: Probabilities) -> Values:
    if targets.several_labels:
        pairs, of_pairs = targets.pairs(proba)
        return np.asarray(_log_likelihoods(pairs, of_pairs).reshape(proba.shape).mean(axis=1))
    rows = proba.astype(np.float64)
    rows = rows / rows.sum(axis=1, keepdims=True)
    true = rows[np.arange(len(targets)), targets.y]
    return np.asarray(np.log(np.clip(true, SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)))


def _log_loss(targets: Targets, proba: Probabilities) -> float:
    return targets.mean(_log_likelihoods(targets, proba))


def _log_loss_error(targets: Targets, proba: Probabilities) -> float:
    return targets.mean_error(_log_likelihoods(targets, proba))


def _defined_curves(y: Labels, proba: Probabilities) -> list[int]:
    """Classes whose ROC curve is defined: some images are of the class and others are not."""
    return [c for c in range(proba.shape[1]) if 0 < np.count_nonzero(_has(y, c)) < len(y)]


def _has(y: Labels, label: int) -> npt.NDArray[np.bool_]:
    """Whether each image has a label: bool (n,)."""
    return np.asarray(y[:, label] == 1 if has_several(y) else y == label)


def _roc_auc(targets: Targets, proba: Probabilities) -> float:
    from sklearn.metrics import roc_auc_score

    y, weights = targets.y, targets.image_weights
    areas = [roc_auc_score(_has(y, c), proba[:, c], sample_weight=weights) for c in _defined_curves(y, proba)]
    return float(np.mean(areas)) if areas else float("nan")


def _roc_auc_error(targets: Targets, proba: Probabilities) -> float:
    """The standard deviation of each image's influence on the mean area (DeLong et al. 1988).

    An image's influence comes from its comparisons with all images on the other side of the curve.
    """
    columns = _defined_curves(targets.y, proba)
    if not columns:
        return float("nan")
    influence = np.zeros(len(targets))
    for c in columns:
        positive = _has(targets.y, c)
        positives, negatives = targets.select(positive), targets.select(~positive)
        below = _share_below(proba[positive, c], proba[~positive, c], negatives.image_weights)
        above = 1.0 - _share_below(proba[~positive, c], proba[positive, c], positives.image_weights)
        influence[positive] += (below - positives.mean(below)) / targets.mean(positive)
        influence[~positive] += (above - negatives.mean(above)) / targets.mean(~positive)
    weights = targets.image_weights
    if weights is None:
        return float(np.std(influence) / len(columns) / np.sqrt(len(targets)))
    return float(np.sqrt(((weights * influence) ** 2).sum()) / weights.sum() / len(columns))


def _share_below(values: Probabilities, others: Probabilities, weights: ImageWeights | None) -> Values:
    """Share of ``others`` below each of ``values``, ties counted half: float64, shape of ``values``.

    Args:
        weights: of ``others``; None: all the same.
    """
    if weights is None:
        ordered = np.sort(others)
        ranks = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
        return np.asarray(ranks / (2.0 * len(others)), dtype=np.float64)
    order = np.argsort(others, kind="stable")
    ordered, passed = others[order], np.concatenate([[0.0], np.cumsum(weights[order])])
    sums = passed[np.searchsorted(ordered, values, "left")] + passed[np.searchsorted(ordered, values, "right")]
    return np.asarray(sums / (2.0 * passed[-1]), dtype=np.float64)


def _quadratic_weighted_kappa(targets: Targets, proba: Probabilities) -> float:
    from sklearn.metrics import cohen_kappa_score

    y, predicted = targets.y, proba.argmax(axis=1)
    if np.all(y == y[0]) and np.all(predicted == y[0]):
        return 0.0  # one class seen and predicted: undefined (0 / 0); no better than chance is what can be claimed
    classes, weights = np.arange(proba.shape[1]), targets.image_weights
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
    "macro_f1": Metric(doc="mean over the classes of the F1 score", score=_macro_f1, needs="labels", labels="both"),
    "mean_f1": Metric(
        doc="mean over the images of the F1 score of their labels",
        score=_mean_f1,
        needs="labels",
        standard_error=_mean_f1_error,
        labels="several",
    ),
    "micro_f1": Metric(
        doc="F1 score of all pairs of an image and a label", score=_micro_f1, needs="labels", labels="several"
    ),
    "lrap": Metric(
        doc="label ranking average precision: the share of right labels among those that are as probable as each label",
        score=_lrap,
        needs="probabilities",
        standard_error=_lrap_error,
        labels="several",
    ),
    "log_loss": Metric(
        doc="mean logarithm of the true class's probability: log loss, negated",
        score=_log_loss,
        labels="both",
        needs="probabilities",
        standard_error=_log_loss_error,
        bounds=(-math.inf, 0.0),
    ),
    "roc_auc": Metric(
        doc="area under the ROC curve of each class against the rest, averaged over the classes that occur",
        score=_roc_auc,
        labels="both",
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
