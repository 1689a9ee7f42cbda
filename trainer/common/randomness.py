"""Randomness that is a function of what is being done, never of what was done before.

Every random draw of a training comes from a hash of the seed and the draw's own coordinates: (seed, "order", fold,
epoch) for the order of the images, (seed, "augment", fold, epoch, position) for one augmented image, and so on.
A training that was interrupted and continued elsewhere therefore draws exactly what an undisturbed one would.
"""

from __future__ import annotations

import hashlib

import numpy as np


def random_key(*coordinates: int | str) -> int:
    """Hash coordinates to a number that looks random: 0 .. 2**64 - 1, the same on every machine and Python release."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in coordinates)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def random_generator(*coordinates: int | str) -> np.random.Generator:
    """A generator of its own for one place in a training, seeded with `random_key`."""
    return np.random.default_rng(random_key(*coordinates))
