"""The values and names of columns that divide the rows into parts."""

from __future__ import annotations

import pytest

from trainer.formats.parts import part_of


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("training", "train"),
        ("train_extra", "train"),
        ("train1", "train"),
        ("privatetest", "test"),
        ("public test", "test"),
        ("検証", "val"),
        ("hold-out", "test"),
        ("not_train", None),
        ("tr", None),  # Turkish
        ("train_test", None),
        ("unused", None),
        ("0", None),
        ("", None),
    ],
)
def test_values(value: str, part: str | None) -> None:
    assert part_of(value) == part
