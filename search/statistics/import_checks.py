"""What there is to doubt of predictions that were made elsewhere. Pure functions.

Nobody can check whether they were really held out. But predictions of images that a model was trained on look like
this: far better than anything that was reached honestly, or as good as certain and always right.
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
"""Standard errors of a gain over the best of the study beyond which it is looked at."""
HALF = 0.5
"""Share of the best trial's distance to a perfect score; who leaves less of it open than that is too good, as long as
the gain is beyond `TOO_MUCH`."""
PERFECT = 0.99
"""Geometric mean of the true class's probability, at the best temperature, from which predictions seem to know the
labels."""


def fold_doubts(
    folds: NDArray[np.int64] | None, of_study: NDArray[np.int64], groups: NDArray[np.int64] | None
) -> Iterable[str]:
    """What the folds by which predictions were held out leave open.

    Args:
        folds: part of each image, ``(S, n)``, for each seed; None where nobody told.
        of_study: fold of each image in the study's search, ``(n,)``.
        groups: the same number for near-duplicates, ``(n,)``; None where they were not looked for.
    """
    alike = np.zeros(len(of_study), bool)
    if groups is not None:
        _, group, size = np.unique(groups, return_inverse=True, return_counts=True)
        alike = size[group] > 1
    if folds is None:
        if alike.any():
            yield (
                f"nothing tells in which fold each image was held out; {np.count_nonzero(alike)} images have a "
                "near-duplicate, and where that was trained on, the score flatters"
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
                f"{max(torn)} images were held out while a near-duplicate of theirs was trained on, so that the score "
                "flatters"
            )


def score_doubts(metric: str, targets: Targets, oof: Probabilities, best: Probabilities | None) -> Iterable[str]:
    """Whether predictions are too good to have been held out.

    Args:
        metric: a name in `trainer.evaluation.metrics.METRICS`.
        targets: true classes of the n images, and the weights that the study gives them.
        oof: the imported predictions, ``(n, C)``.
        best: those of the study's best trial, ``(n, C)``; None while none has finished.
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
        yield "it is nearly always right and sure of it, as models are of images that they were trained on"


def same_division(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Whether two numberings ``(n,)`` divide images into the same parts, whatever the parts are called."""
    pairs = len(np.unique(np.stack([one, other]), axis=1).T)
    return pairs == len(np.unique(one)) == len(np.unique(other))


def _parts_by_group(folds: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each image: in how many parts the images of its group are."""
    pairs = np.unique(np.stack([groups, folds]), axis=1)
    found, parts = np.unique(pairs[0], return_counts=True)
    return np.asarray(parts[np.searchsorted(found, groups)], dtype=np.int64)


def _certainty(targets: Targets, proba: Probabilities) -> float:
    return float(np.exp(score("log_loss", targets, scale_temperature(proba, fit_temperature(targets, proba)))))
