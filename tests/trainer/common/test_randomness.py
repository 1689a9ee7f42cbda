from __future__ import annotations

import numpy as np

from trainer.common.randomness import random_generator, random_key


def test_keys_are_the_same_for_ever() -> None:
    """Another number here would make every stored training another one."""
    assert random_key(0, "order", 1, 2) == 0x844F713773CDA650


def test_keys_differ_by_each_coordinate_and_its_type() -> None:
    keys = {
        random_key(*c) for c in [(0,), (1,), ("0",), (0, 0), (0, 1), (1, 0), (10,), ("a", "b"), ("ab",), ("a\x1fb",)]
    }
    assert len(keys) == 10


def test_bits_are_balanced() -> None:
    keys = np.array([random_key(0, "augment", i) for i in range(4000)], dtype=np.uint64)
    shares = [(keys >> np.uint64(bit) & np.uint64(1)).mean() for bit in range(64)]
    assert 0.46 < min(shares) <= max(shares) < 0.54


def test_generators_repeat() -> None:
    assert random_generator(1, "mix").random() == random_generator(1, "mix").random()
    assert random_generator(1, "mix").random() != random_generator(1, "order").random()
