"""Label rules: labels that score better than the most probable class, for metrics of labels.

Macro F1 and balanced accuracy weight rare classes as much as frequent ones, and quadratic kappa counts the distance
between classes. The most probable class maximises none of them. Two rules are fitted here, on probabilities of images
that the models were not trained on; `trainer.inference.blend.Blend` applies them:

- for macro F1 and balanced accuracy, offsets on the log probabilities (Lipton et al. 2014, "Optimal Thresholding of
  Classifiers to Maximize F1 Measure");
- where images have several labels, offsets on the log odds: an image has the labels of log odds above 0. An offset b
  is the threshold 1 / (1 + exp(b)) of a probability. The first direction moves all thresholds together;
- for kappa, cut points on the expected label, which is the best single prediction under squared distance.

Scores of labels are step functions, and a search over many settings finds steps that are noise. Three measures prevent
this overfitting. The first direction of the search has one parameter, the strength of the correction for the class
frequencies. A setting is scored by the mean of the scores around it, so that a plateau beats a spike. Every step away
from the start has a penalty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics import SMALLEST_PROBABILITY, Probabilities, score
from trainer.evaluation.several_labels import has_several
from trainer.evaluation.targets import Targets
from trainer.inference.blend import labels_above, log_odds

Values = NDArray[np.float64]

OFFSET_METRICS = ("macro_f1", "balanced_accuracy", "mean_f1", "micro_f1")
"""Metrics for which class offsets are fitted; of images with several labels these are thresholds."""
CUT_METRICS = ("qwk",)
"""Metrics for which cut points are fitted."""

ROUNDS = 2
"""How often each direction is searched; the second round adapts to what the other directions changed."""
STEPS = np.linspace(-1.0, 1.0, 17)
"""Steps along a line, in units of its reach."""
SMOOTHING = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0
"""Weights of the scores around a step, up to a quarter of the reach to either side."""
PENALTY = 0.005
"""Penalty of a step over the whole reach, in units of the metric; it grows with the square of the step."""
OFFSET_REACH = 1.5
"""Reach of one search over a class offset, in natural logarithms: odds change by a factor of 4.5."""
MOST_IMAGES = 20_000
"""Images on which thresholds of several labels are fitted: of more, a random sample."""
CUT_REACH = 0.5
"""Reach of one search over a cut point, in classes."""


def fit_offsets(targets: Targets, proba: Probabilities, metric: str) -> tuple[float, ...]:
    """Offsets that raise ``metric`` when they are added to the log probabilities: C numbers of mean 0.

    Of images with several labels they are added to the log odds, and have any mean.

    Args:
        targets: true classes and weights of n images that the model was not trained on.
        proba: ``(n, C)``, its probabilities for them.
        metric: one of `OFFSET_METRICS`.

    Raises:
        KeyError, ValueError: as `trainer.evaluation.metrics.score`.
    """
    classes = proba.shape[1]
    if targets.several_labels:
        return _fit_thresholds(targets, proba, metric)
    logs = np.log(np.clip(proba.astype(np.float64), SMALLEST_PROBABILITY, 1.0))
    counts = np.bincount(targets.y, targets.mean_one_weights, minlength=classes)
    prior = np.log((counts + 0.5) / (len(targets) + 0.5 * classes))
    # The first line leads from argmax (the start) to the full correction for the class frequencies.
    lines = [prior.mean() - prior, *(OFFSET_REACH * np.eye(classes))]

    def objective(offsets: Values) -> float:
        return score_labels(targets, (logs + offsets).argmax(axis=1), classes, metric)

    offsets = _climb(np.zeros(classes), lines, objective)
    return tuple(float(value) for value in offsets - offsets.mean())


def _fit_thresholds(targets: Targets, proba: Probabilities, metric: str) -> tuple[float, ...]:
    if len(targets) > MOST_IMAGES:
        rows = np.sort(np.random.default_rng(0).permutation(len(targets))[:MOST_IMAGES])
        targets, proba = targets.select(rows), proba[rows]
    at_least_one = bool(targets.y.any(axis=1).all())
    odds = log_odds(proba)

    def objective(offsets: Values) -> float:
        return score(metric, targets, labels_above(odds + offsets, at_least_one=at_least_one).astype(np.float64))

    classes = proba.shape[1]
    lines = [OFFSET_REACH * np.ones(classes), *(OFFSET_REACH * np.eye(classes))]
    return tuple(float(value) for value in _climb(np.zeros(classes), lines, objective))


def fit_cuts(targets: Targets, proba: Probabilities, metric: str) -> tuple[float, ...]:
    """Cut points on the expected label that raise ``metric``: C - 1 ascending numbers.

    The start is rounding: 0.5, 1.5 and so on.

    Args:
        targets: true classes, numbered in their order, and weights of n images that the model was not trained on.
        proba: ``(n, C)``, its probabilities for them.
        metric: one of `CUT_METRICS`.

    Raises:
        KeyError, ValueError: as `trainer.evaluation.metrics.score`.
    """
    classes = proba.shape[1]
    rows = proba.astype(np.float64)
    expected = rows @ np.arange(classes) / rows.sum(axis=1)

    def objective(cuts: Values) -> float:
        return score_labels(targets, np.searchsorted(np.sort(cuts), expected, side="left"), classes, metric)

    start = np.arange(classes - 1) + 0.5
    # First all cuts together: for a model that shrinks toward the middle, they lie closer to each other.
    middle = start - start.mean()
    lines = [CUT_REACH * np.ones(classes - 1), -CUT_REACH * middle / max(1.0, middle.max(initial=0.0))]
    return tuple(float(cut) for cut in np.sort(_climb(start, [*lines, *(CUT_REACH * np.eye(classes - 1))], objective)))


def score_labels(targets: Targets, labels: NDArray[np.integer], classes: int, metric: str) -> float:
    """Score predicted labels ``(n,)`` by a metric of labels.

    `trainer.evaluation.metrics.score` receives them as one-hot probabilities of ``classes`` classes.
    """
    return score(metric, targets, as_certain(labels, classes))


def as_certain(labels: NDArray[np.integer], classes: int) -> Values:
    """Predicted labels, ``(n,)`` or ``(n, C)``, as probabilities 0 and 1: float64 (n, C)."""
    return labels.astype(np.float64) if has_several(labels) else np.eye(classes)[labels]


def _climb(start: Values, lines: Sequence[Values], objective: Callable[[Values], float]) -> Values:
    """Coordinate ascent: along each line, take the step with the best smoothed score minus penalty."""
    point = start
    for _ in range(ROUNDS):
        for line in lines:
            scores = np.array([objective(point + step * line) for step in STEPS])
            margin = len(SMOOTHING) // 2
            smooth = np.convolve(np.pad(scores, margin, mode="edge"), SMOOTHING, mode="valid")
            penalised = smooth - PENALTY * STEPS**2
            # Ties go to the smallest step.
            best = max(range(len(STEPS)), key=lambda i: (penalised[i], -abs(STEPS[i])))
            if penalised[best] > penalised[len(STEPS) // 2]:
                point = point + STEPS[best] * line
    return point
