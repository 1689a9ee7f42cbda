"""Metrics by name: always higher is better, so that a study always maximises.

The definitions are scikit-learn's; log loss is negated, as scikit-learn's own scorer does. Importing this module is
cheap; scikit-learn is imported when a score is computed.
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

BOOTSTRAP_ROUNDS = 200
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)
"""Log loss takes no probability for smaller than this, as scikit-learn does for float32 input."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How predictions are judged."""

    doc: str
    score: Callable[[Labels, Probabilities], float]
    """Higher is better. NaN where it is undefined for these labels (ROC AUC of one class)."""
    needs: Literal["labels", "probabilities"]
    """What a submission judged by this metric holds."""
    standard_error: Callable[[Labels, Probabilities], float] | None = None
    """Standard error in closed form; None = by bootstrap."""
    bounds: tuple[float, float] = (0.0, 1.0)
    """The lowest and the highest score there can be."""

    @property
    def is_share(self) -> bool:
        """Whether people tell its differences in points, hundredths."""
        return self.bounds == (0.0, 1.0)


def score(name: str, y: Labels, proba: Probabilities) -> float:
    """Score predictions by the metric called ``name``; higher is better.

    Raises:
        KeyError: no such metric; recipes and studies are checked against `METRICS` before anything runs.
        ValueError: no images, or shapes that do not belong together.
    """
    _check(y, proba)
    return METRICS[name].score(y, proba)


def standard_error(name: str, y: Labels, proba: Probabilities) -> float:
    """Standard error of `score` over the draw of the images, everything else held fixed.

    In closed form for accuracy (binomial), balanced accuracy (binomial per class), log loss (standard error of a mean)
    and ROC AUC (DeLong); for the others the standard deviation over `BOOTSTRAP_ROUNDS` resamples of the images with a
    fixed seed, so that the same predictions always give the same number (to about 5 % of itself).

    Raises:
        KeyError, ValueError: as `score`.
    """
    _check(y, proba)
    metric = METRICS[name]
    if metric.standard_error is not None:
        return metric.standard_error(y, proba)
    generator = np.random.default_rng(0)
    rounds = [generator.integers(0, len(y), len(y)) for _ in range(BOOTSTRAP_ROUNDS)]
    scores = np.array([metric.score(y[rows], proba[rows]) for rows in rounds])
    defined = scores[np.isfinite(scores)]
    return float(np.std(defined, ddof=1)) if len(defined) > 1 else float("nan")


def true_class_probability(y: Labels, proba: Probabilities) -> npt.NDArray[np.float32]:
    """Probability given to the class that each image has: float32, shape (n,)."""
    return np.asarray(proba[np.arange(len(y)), y], dtype=np.float32)


def _check(y: Labels, proba: Probabilities) -> None:
    if len(y) == 0 or proba.ndim != 2 or len(proba) != len(y):
        raise ValueError(f"cannot score {len(y)} labels against probabilities of shape {proba.shape}")


def _hits(y: Labels, proba: Probabilities) -> Values:
    return np.asarray(proba.argmax(axis=1) == y, dtype=np.float64)


def _accuracy(y: Labels, proba: Probabilities) -> float:
    return float(_hits(y, proba).mean())


def _accuracy_error(y: Labels, proba: Probabilities) -> float:
    share = _accuracy(y, proba)
    return float(np.sqrt(share * (1.0 - share) / len(y)))


def _recalls(y: Labels, proba: Probabilities) -> tuple[Values, Values]:
    """Recall and number of images of each class that occurs in ``y``."""
    counts = np.bincount(y).astype(np.float64)
    hits = np.bincount(y, weights=_hits(y, proba))
    present = counts > 0
    return hits[present] / counts[present], counts[present]


def _balanced_accuracy(y: Labels, proba: Probabilities) -> float:
    return float(_recalls(y, proba)[0].mean())


def _balanced_accuracy_error(y: Labels, proba: Probabilities) -> float:
    recalls, counts = _recalls(y, proba)
    return float(np.sqrt((recalls * (1.0 - recalls) / counts).sum()) / len(counts))


def _macro_f1(y: Labels, proba: Probabilities) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(y, proba.argmax(axis=1), average="macro", zero_division=0.0))


def _log_likelihoods(y: Labels, proba: Probabilities) -> Values:
    rows = proba.astype(np.float64)
    rows = rows / rows.sum(axis=1, keepdims=True)
    return np.asarray(np.log(np.clip(rows[np.arange(len(y)), y], SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)))


def _log_loss(y: Labels, proba: Probabilities) -> float:
    return float(_log_likelihoods(y, proba).mean())


def _log_loss_error(y: Labels, proba: Probabilities) -> float:
    values = _log_likelihoods(y, proba)
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def _judged_columns(y: Labels, proba: Probabilities) -> list[int]:
    """Classes that some images have and others have not: those whose ROC curve is defined."""
    return [c for c in range(proba.shape[1]) if 0 < np.count_nonzero(y == c) < len(y)]


def _roc_auc(y: Labels, proba: Probabilities) -> float:
    from sklearn.metrics import roc_auc_score

    columns = _judged_columns(y, proba)
    if not columns:
        return float("nan")
    return float(np.mean([roc_auc_score(y == c, proba[:, c]) for c in columns]))


def _roc_auc_error(y: Labels, proba: Probabilities) -> float:
    """DeLong et al. 1988: the spread of what each image, compared with all of the other side, does to the mean area."""
    columns = _judged_columns(y, proba)
    if not columns:
        return float("nan")
    pull = np.zeros(len(y))
    for c in columns:
        positive = y == c
        below = _share_below(proba[positive, c], proba[~positive, c])
        above = 1.0 - _share_below(proba[~positive, c], proba[positive, c])
        pull[positive] += (below - below.mean()) / positive.mean()
        pull[~positive] += (above - above.mean()) / (~positive).mean()
    return float(np.std(pull) / len(columns) / np.sqrt(len(y)))


def _share_below(values: Probabilities, others: Probabilities) -> Values:
    """Share of ``others`` below each of ``values``, equal ones counted half: float64, shape of ``values``."""
    ordered = np.sort(others)
    ranks = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(ranks / (2.0 * len(others)), dtype=np.float64)


def _quadratic_weighted_kappa(y: Labels, proba: Probabilities) -> float:
    from sklearn.metrics import cohen_kappa_score

    predicted = proba.argmax(axis=1)
    if np.all(y == y[0]) and np.all(predicted == y[0]):
        return 0.0  # one class seen and predicted: undefined (0 / 0); no better than chance is what can be claimed
    return float(cohen_kappa_score(y, predicted, labels=np.arange(proba.shape[1]), weights="quadratic"))


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
