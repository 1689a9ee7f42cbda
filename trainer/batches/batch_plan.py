"""The plan of an epoch: which images a fold trains on, in which order and in which batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.common.arrays import Float32Array
from trainer.common.randomness import random_generator, random_key

Indices = npt.NDArray[np.int64]
"""Row numbers of images: int64, shape (n,)."""


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """One batch before its images are read."""

    indices: Indices
    """Rows of the training images: int64, shape (b,), b >= 2."""
    keys: tuple[int, ...]
    """Seed of each image's augmentation: one number 0 .. 2**64 - 1 per image."""


def plan_epoch(
    candidates: Indices,
    y: Indices,
    *,
    batch_size: int,
    balance: float,
    seed: int,
    fold: int,
    epoch: int,
    row_weights: Float32Array | None = None,
) -> tuple[BatchPlan, ...]:
    """Draw the batches of one epoch of one fold.

    An epoch has as many images as the fold has candidates. Without balance, each image occurs exactly once. With
    balance ``b``, the share of a class of frequency f is proportional to f ** (1 - b), and all images of a class occur
    equally often. Both hold to within one image, because the sampling is systematic. Its variance is lower than that of
    independent draws with replacement.

    With row weights, an image occurs in proportion to its weight: in expectation, its loss counts as much.

    A last batch of a single image is left out, because batch normalisation cannot train on one image. The order changes
    with every epoch, so no image is left out for good.

    Args:
        candidates: rows that the fold may train on: int64, shape (n,), n >= 2.
        y: class of *every* row, indexed by the values of ``candidates``: int64. Of several labels, the
            rarest, as in repeat factor sampling (Gupta et al. 2019, "LVIS").
        batch_size: images per batch, at least 2.
        balance: 0 (natural class frequencies) .. 1 (equal class frequencies).
        seed: seed of the training; with ``fold`` and ``epoch`` it determines the order and the augmentation.
        epoch: 1-based.
        row_weights: weight of *every* row, above 0: float32; None: all are equal.
    """
    generator = random_generator(seed, "order", fold, epoch)
    # Sorted by class, so that systematic sampling meets the share of each class to within one image.
    shuffled = generator.permutation(candidates)
    shuffled = shuffled[np.argsort(y[shuffled], kind="stable")]
    weights = np.bincount(y[candidates])[y[shuffled]].astype(np.float64) ** -balance
    if row_weights is not None:
        weights *= row_weights[shuffled]
    cumulative = np.cumsum(weights * (len(shuffled) / weights.sum()))
    sampled = np.searchsorted(cumulative, np.arange(len(shuffled)) + generator.random(), side="right")
    order = generator.permutation(shuffled[np.minimum(sampled, len(shuffled) - 1)])
    starts = [start for start in range(0, len(order), batch_size) if len(order) - start > 1]
    return tuple(
        BatchPlan(
            indices=order[start : start + batch_size],
            keys=tuple(
                random_key(seed, "augment", fold, epoch, position)
                for position in range(start, min(start + batch_size, len(order)))
            ),
        )
        for start in starts
    )


def batches_per_epoch(n_candidates: int, batch_size: int) -> int:
    """Number of batches in an epoch of `plan_epoch`."""
    full, rest = divmod(n_candidates, batch_size)
    return full + (rest > 1)
