"""From probabilities to labels, where the most probable class is not the best answer.

Macro F1 and balanced accuracy count a rare class as much as a frequent one, quadratic kappa counts how far off an
answer is: the class with the largest probability maximises none of them. Fitted here, on probabilities of images that
the models were not trained on: offsets on the log probabilities for the first two (Lipton et al. 2014, "Optimal
Thresholding of Classifiers to Maximize F1 Measure"), for kappa cut points on the expected label, which is the best
single answer under squared distance. `trainer.inference.blend.Blend` applies them.

Scores of labels jump, and a search over many settings finds jumps that are luck. Three things hold it back: the first
direction searched is a single number (how far to correct for how frequent the classes are), a setting counts by the
mean of the scores about it, so that a plateau beats a spike, and every step away from the start costs something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics import SMALLEST_PROBABILITY, Probabilities, score
from trainer.evaluation.targets import Targets

Values = NDArray[np.float64]

OFFSET_METRICS = ("macro_f1", "balanced_accuracy")
"""Metrics whose labels may follow class offsets."""
CUT_METRICS = ("qwk",)
"""Metrics whose labels may follow cut points."""

ROUNDS = 2
"""How often each direction is searched; the second finds what the others have moved."""
STEPS = np.linspace(-1.0, 1.0, 17)
"""Where a line is tried, in units of its reach."""
SMOOTHING = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0
"""Weights of the scores about a step: a quarter of the reach to either side."""
PENALTY = 0.005
"""What a step over the whole reach has to gain, in units of the metric; others in proportion to their square."""
OFFSET_REACH = 1.5
"""Farthest that one search moves a class, in natural logarithms: odds change by a factor of 4.5."""
CUT_REACH = 0.5
"""Farthest that one search moves a cut, in classes."""


def fit_offsets(targets: Targets, proba: Probabilities, metric: str) -> tuple[float, ...]:
    """Offsets that raise ``metric`` when they are added to the log probabilities: C numbers of mean 0.

    Args:
        targets: true classes and weights of n images that the model was not trained on.
        proba: ``(n, C)``, its probabilities for them.
        metric: one of `OFFSET_METRICS`.

    Raises:
        KeyError, ValueError: as `trainer.evaluation.metrics.score`.
    """
    classes = proba.shape[1]
    logs = np.log(np.clip(proba.astype(np.float64), SMALLEST_PROBABILITY, 1.0))
    counts = np.bincount(targets.y, targets.mean_one_weights, minlength=classes)
    prior = np.log((counts + 0.5) / (len(targets) + 0.5 * classes))
    # Along the first line lies plain argmax (the start) and, at the far end, the correction for the whole prior.
    lines = [prior.mean() - prior, *(OFFSET_REACH * np.eye(classes))]

    def judge(offsets: Values) -> float:
        return score_labels(targets, (logs + offsets).argmax(axis=1), classes, metric)

    offsets = _climb(np.zeros(classes), lines, judge)
    return tuple(float(value) for value in offsets - offsets.mean())


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

    def judge(cuts: Values) -> float:
        return score_labels(targets, np.searchsorted(np.sort(cuts), expected, side="left"), classes, metric)

    start = np.arange(classes - 1) + 0.5
    # All cuts together first: a model that shrinks toward the middle wants them closer to each other.
    middle = start - start.mean()
    lines = [CUT_REACH * np.ones(classes - 1), -CUT_REACH * middle / max(1.0, middle.max(initial=0.0))]
    return tuple(float(cut) for cut in np.sort(_climb(start, [*lines, *(CUT_REACH * np.eye(classes - 1))], judge)))


def score_labels(targets: Targets, labels: NDArray[np.integer], classes: int, metric: str) -> float:
    """Score predicted labels ``(n,)`` by a metric of labels, as `trainer.evaluation.metrics.score` scores probabilities
    whose largest is that of the label.
    """
    return score(metric, targets, np.eye(classes)[labels])


def _climb(start: Values, lines: Sequence[Values], judge: Callable[[Values], float]) -> Values:
    """Coordinate ascent: along each line the step with the best smoothed score, less what the step costs."""
    point = start
    for _ in range(ROUNDS):
        for line in lines:
            scores = np.array([judge(point + step * line) for step in STEPS])
            margin = len(SMOOTHING) // 2
            smooth = np.convolve(np.pad(scores, margin, mode="edge"), SMOOTHING, mode="valid")
            worth = smooth - PENALTY * STEPS**2
            # Of equal ones the smallest step.
            best = max(range(len(STEPS)), key=lambda i: (worth[i], -abs(STEPS[i])))
            if worth[best] > worth[len(STEPS) // 2]:
                point = point + STEPS[best] * line
    return point
