"""Reproducibility: the difference between the predictions of two trainings of one recipe, and the tolerance for it.
Pure functions of stored values.

On one model of CPU a training is a function of (recipe, data, split, seed), bit for bit. Elsewhere it is not. GPUs
compute in bfloat16, which has three significant digits, and cuDNN chooses algorithms by their current speed, which sum
in different orders. Other releases, processors and numbers of threads also change the order of sums. Training amplifies
these rounding differences step by step. Such trainings agree in their scores, not in their digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEAN_DIFFERENCE = 0.02
"""Tolerated mean absolute difference of a probability, if bit equality cannot be expected."""
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
"""Recorded facts of a machine that change the results of a training."""


@dataclass(frozen=True, kw_only=True)
class PredictionDifference:
    """Difference between two predictions of the same images."""

    equal: bool
    """Whether all stored bits are equal."""
    largest: float
    """Largest absolute difference of a probability."""
    mean: float
    """Mean absolute difference."""
    agreement: float | None
    """Share of the images with the same predicted class; None if only the true class's probability is stored."""


def compare_predictions(
    then: NDArray[np.floating[Any]], now: NDArray[np.floating[Any]], *, classes: bool, several_labels: bool = False
) -> PredictionDifference:
    """Compare two arrays of probabilities, without the images that were never held out (NaN).

    Args:
        then, now: probabilities of the same shape and dtype: ``(n, C)`` by image and class, or ``(epochs, n)``.
        classes: whether the shape is ``(n, C)``, so that predicted classes can be compared.
        several_labels: whether an image may have several classes, those of a probability above 0.5.

    Raises:
        ValueError: the shapes, the dtypes or the images without NaN differ, or every image has NaN.
    """
    if (then.shape, then.dtype) != (now.shape, now.dtype):
        raise ValueError(f"predictions {then.dtype} {then.shape} cannot be compared with {now.dtype} {now.shape}")
    known = np.isfinite(then)
    if not np.array_equal(known, np.isfinite(now)) or not known.any():
        raise ValueError("the predictions are of different images")
    # In float64, because float16 cannot represent every difference of two float16 values.
    difference = np.abs(then[known].astype(np.float64) - now[known])
    rows = known.all(axis=-1)
    return PredictionDifference(
        equal=then[known].tobytes() == now[known].tobytes(),
        largest=float(difference.max()),
        mean=float(difference.mean()),
        agreement=_agreement(then[rows], now[rows], several_labels=several_labels) if classes else None,
    )


def _agreement(then: NDArray[np.floating[Any]], now: NDArray[np.floating[Any]], *, several_labels: bool) -> float:
    if several_labels:
        return float(((then > 0.5) == (now > 0.5)).all(axis=1).mean())
    return float((then.argmax(axis=1) == now.argmax(axis=1)).mean())


def different_facts(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The `FACTS` that differ between two machines, as (then, now). A fact that was not recorded is None."""
    return {fact: (then.get(fact), now.get(fact)) for fact in FACTS if then.get(fact) != now.get(fact)}


def must_be_equal(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two trainings with these facts must be equal bit for bit: on a CPU, with the same facts."""
    return now.get("device") == "cpu" and not different_facts(then, now)


def is_reproduced(difference: PredictionDifference, *, exactly: bool, metric_difference: float, allowed: float) -> bool:
    """Whether the difference between two trainings is within the tolerance.

    Args:
        exactly: whether only equality counts, see `must_be_equal`.
        metric_difference: absolute difference of the metric.
        allowed: largest ``metric_difference`` if equality is not required.
    """
    if exactly:
        return difference.equal
    return difference.mean <= MEAN_DIFFERENCE and metric_difference <= allowed
