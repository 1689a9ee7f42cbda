"""Counter-based random numbers: each draw depends on its coordinates alone, not on earlier draws.

Each random draw of a training is seeded with a hash of the seed and the draw's coordinates: (seed, "order", fold,
epoch) for the order of the images, (seed, "augment", fold, epoch, position) for one augmented image, and so on.
A training that is interrupted and continued elsewhere therefore draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import hashlib

import numpy as np


def random_key(*coordinates: int | str) -> int:
    """Hash coordinates to a pseudo-random number 0 .. 2**64 - 1, the same on every machine and Python release."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in coordinates)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def random_generator(*coordinates: int | str) -> np.random.Generator:
    """A separate generator for one place in a training, seeded with `random_key` of its coordinates."""
    return np.random.default_rng(random_key(*coordinates))
