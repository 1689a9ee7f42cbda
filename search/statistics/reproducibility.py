"""How alike two trainings of one recipe are, and how alike they have to be. Pure functions of stored values.

On one kind of CPU a training is a function of (recipe, data, split, seed), bit for bit. Not so elsewhere: GPUs compute
in bfloat16, which rounds to three digits, and cuDNN chooses among algorithms by their speed at the moment, which add up
in different orders; other releases, processors and numbers of threads change the order of sums as well. What differs in
the last digit at first is amplified step by step. Such trainings agree in what they find, not in its digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEAN_DIFFERENCE = 0.02
"""Of a probability, over all images: what is tolerated where equality cannot be expected."""
FACTS = (
    "device",
    "cpu",
    "precision",
    "threads",
    "folds_abreast",
    "micro_batch",
    "torch",
    "timm",
    "albumentations",
    "init_sha256",
)
"""Recorded facts of a machine that change what a training computes."""


@dataclass(frozen=True, kw_only=True)
class PredictionDifference:
    """What two trainings predicted for the same images, compared."""

    equal: bool
    """Every bit that is stored."""
    largest: float
    """Largest absolute difference of a probability."""
    mean: float
    """Mean absolute difference."""
    agreement: float | None
    """Share of the images that get the same class; None where only the true class's probability is known."""


def compare_predictions(
    then: NDArray[np.floating[Any]], now: NDArray[np.floating[Any]], *, classes: bool
) -> PredictionDifference:
    """Compare probabilities of the same shape and type, images that were never held out (NaN) left out.

    Args:
        classes: the rows are images and the columns are classes.

    Raises:
        ValueError: other shapes or types, or other images are left out; then there is nothing to compare.
    """
    if (then.shape, then.dtype) != (now.shape, now.dtype):
        raise ValueError(f"predictions {then.dtype} {then.shape} cannot be compared with {now.dtype} {now.shape}")
    known = np.isfinite(then)
    if not np.array_equal(known, np.isfinite(now)) or not known.any():
        raise ValueError("the predictions are of different images")
    # In double precision: the difference of two float16 values need not be one.
    difference = np.abs(then[known].astype(np.float64) - now[known])
    rows = known.all(axis=-1)
    return PredictionDifference(
        equal=then[known].tobytes() == now[known].tobytes(),
        largest=float(difference.max()),
        mean=float(difference.mean()),
        agreement=float((then[rows].argmax(axis=1) == now[rows].argmax(axis=1)).mean()) if classes else None,
    )


def different_facts(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Which of `FACTS` differ, then and now; None where one was not recorded."""
    return {fact: (then.get(fact), now.get(fact)) for fact in FACTS if then.get(fact) != now.get(fact)}


def must_be_equal(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two trainings on these machines have to come out bit for bit equal."""
    return now.get("device") == "cpu" and not different_facts(then, now)


def is_reproduced(difference: PredictionDifference, *, exactly: bool, metric_difference: float, allowed: float) -> bool:
    """Whether two trainings are as alike as they have to be.

    Args:
        exactly: see `must_be_equal`.
        metric_difference: of the metric, absolute.
        allowed: for it, where equality is not asked for.
    """
    if exactly:
        return difference.equal
    return difference.mean <= MEAN_DIFFERENCE and metric_difference <= allowed
