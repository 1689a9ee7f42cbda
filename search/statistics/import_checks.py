"""Checks of imported predictions for signs that they were not held out. Pure functions.

Whether imported predictions were really held out cannot be proved. Predictions of images that the model was trained on
show two signs: a score far above that of every trial, or near certainty that is almost always right.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from search.statistics.paired_gain import paired_gain, shown_gain
from trainer.evaluation.metrics import METRICS, Probabilities, score
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import fit_temperature, scale_temperature

TOO_MUCH = 3.0
"""A gain over the study's best trial is suspicious only beyond this many standard errors."""
HALF = 0.5
"""A gain beyond `TOO_MUCH` is suspicious if less than this share of the best trial's distance to a perfect score
remains."""
PERFECT = 0.99
"""Geometric mean of the true class's probability, at the optimal temperature, from which on the predictions seem to
know the labels."""


def fold_doubts(
    folds: NDArray[np.int64] | None, of_study: NDArray[np.int64], groups: NDArray[np.int64] | None
) -> Iterable[str]:
    """Doubts about the folds by which imported predictions were held out.

    Args:
        folds: fold of each image for each of S seeds, ``(S, n)``; None if the file does not say.
        of_study: fold of each image in the study's search, ``(n,)``.
        groups: group of near-duplicates of each image, ``(n,)``; None if duplicates were not searched.
    """
    alike = np.zeros(len(of_study), bool)
    if groups is not None:
        _, group, size = np.unique(groups, return_inverse=True, return_counts=True)
        alike = size[group] > 1
    if folds is None:
        if alike.any():
            yield (
                f"the file does not say in which fold each image was held out; {np.count_nonzero(alike)} images have a "
                "near-duplicate, and if that was trained on, the score is too high"
            )
        return
    others = [own for own in folds if not same_division(own, of_study)]
    if others:
        yield (
            "its folds are not the study's"
            + f" (of {len(others)} of {len(folds)} seeds)" * (len(folds) > 1)
            + ": each image was predicted by networks that saw other images than the study's did"
        )
    if groups is not None:
        torn = [np.count_nonzero(alike & (_parts_by_group(own, groups) > 1)) for own in folds]
        if max(torn):
            yield (
                f"{max(torn)} images were held out while a near-duplicate of theirs was trained on, so the score is "
                "too high"
            )


def score_doubts(metric: str, targets: Targets, oof: Probabilities, best: Probabilities | None) -> Iterable[str]:
    """Doubts about predictions that score too well to have been held out.

    Args:
        metric: a name in `trainer.evaluation.metrics.METRICS`.
        targets: true classes of the n images, and the weights that the study gives them.
        oof: the imported predictions, ``(n, C)``.
        best: out-of-fold predictions of the study's best trial, ``(n, C)``; None if no trial has finished.
    """
    if best is not None:
        gain, highest = paired_gain(metric, targets, oof, best), METRICS[metric].bounds[1]
        left_open, of_best = (highest - score(metric, targets, part) for part in (oof, best))
        if gain.mean > TOO_MUCH * gain.error and left_open < HALF * of_best:
            yield (
                f"it is {shown_gain(gain, metric)} better than the best of the study's own trials, which is hard to "
                "believe of held-out predictions"
            )
    unweighted = Targets(targets.y)
    if _certainty(unweighted, oof) >= PERFECT and (best is None or _certainty(unweighted, best) < PERFECT):
        yield "it is nearly always right with near certainty, as a model is on images that it was trained on"


def same_division(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Whether two assignments ``(n,)`` of images to folds are the same division, whatever the fold numbers."""
    pairs = len(np.unique(np.stack([one, other]), axis=1).T)
    return pairs == len(np.unique(one)) == len(np.unique(other))


def _parts_by_group(folds: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of folds over which the group of each image is spread: ``(n,)``."""
    pairs = np.unique(np.stack([groups, folds]), axis=1)
    found, parts = np.unique(pairs[0], return_counts=True)
    return np.asarray(parts[np.searchsorted(found, groups)], dtype=np.int64)


def _certainty(targets: Targets, proba: Probabilities) -> float:
    temperature = fit_temperature(targets, proba)
    scaled = scale_temperature(proba, temperature, several_labels=targets.several_labels)
    return float(np.exp(score("log_loss", targets, scaled)))
