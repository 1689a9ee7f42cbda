"""Columns of measured numbers are no classes, and no side column becomes the label in their place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import read_images
from trainer.formats.delimited import write_table

COUNT = 24
NUMBERS = [str(round(20.3 + i * 7 % 31 * 0.61, 3)) for i in range(COUNT)]
WHOLE = [str(12 + i * 7 % 31) for i in range(COUNT)]


def table(root: Path, **columns: Sequence[str]) -> None:
    """A table ``data.csv`` of 24 images with these further columns."""
    for i in range(COUNT):
        save(root / "train" / f"{i}.png", i, 8)
    cells = zip(*columns.values(), strict=True)
    write_table(root / "data.csv", [("image", *columns), *((f"{i}.png", *row) for i, row in enumerate(cells))])


def two(first: str, second: str) -> list[str]:
    """The two labels in turn."""
    return [(first, second)[i % 2] for i in range(COUNT)]


def read(root: Path, label: str | None = None) -> ImageSet:
    """The data."""
    return read_images(root, DataOptions(label_column=label), verify=False)


@pytest.mark.parametrize(
    ("side", "number", "cells"),
    [
        ("gender", "bmi", NUMBERS),
        ("male", "boneage", WHOLE),
        ("sex", "weight", WHOLE),
        ("sex", "age", NUMBERS),
        ("variety", "yield_kg", NUMBERS),
        ("weather", "count", WHOLE),
        ("Geschlecht", "Alter in Monaten", WHOLE),
    ],
)
def test_a_side_column_beside_measured_numbers_is_a_question(
    tmp_path: Path, side: str, number: str, cells: list[str]
) -> None:
    table(tmp_path, **{number: cells, side: two("a", "b")})
    message = problems_of(tmp_path)
    assert f"only {side!r} holds classes, but {number!r} holds another number" in message
    assert labels_of(read(tmp_path, side)) == two("a", "b")


def test_ranges_of_measured_numbers_in_a_column_named_label_are_read(tmp_path: Path) -> None:
    ranges = ["high" if float(number) > 29 else "low" for number in NUMBERS]
    table(tmp_path, bmi=NUMBERS, gender=two("f", "m"), label=ranges)
    assert labels_of(read(tmp_path)) == ranges


def test_two_columns_of_sexes_beside_measured_numbers_are_a_question(tmp_path: Path) -> None:
    table(tmp_path, male=two("0", "1"), female=two("1", "0"), boneage=WHOLE)
    assert "If 'male', 'female' are the labels, remove 'boneage' from the table" in problems_of(tmp_path)
    table(tmp_path, male=two("0", "1"), female=two("1", "0"))
    assert labels_of(read(tmp_path)) == two("female", "male")


@pytest.mark.parametrize("side", ["gender", "variety", "weather", "male"])
def test_a_side_column_alone_or_beside_counters_holds_the_labels(tmp_path: Path, side: str) -> None:
    counter = [str(i + 100) for i in range(COUNT)]
    table(tmp_path, **{side: two("a", "b"), "serial_no": WHOLE, "observation": counter, "latitude": NUMBERS})
    found = read(tmp_path)
    assert labels_of(found) == two("a", "b") and not found.warnings


@pytest.mark.parametrize(
    ("number", "warned"), [("area_px", True), ("longitude", False), ("weight", False), ("lead_time", False)]
)
def test_another_column_beside_measured_numbers_is_read_with_a_warning(
    tmp_path: Path, number: str, warned: bool
) -> None:
    table(tmp_path, animal=two("cat", "dog"), **{number: NUMBERS})
    found = read(tmp_path)
    assert labels_of(found) == two("cat", "dog")
    assert any("regression is not supported" in warning for warning in found.warnings) == warned


@pytest.mark.parametrize("cells", [NUMBERS, WHOLE])
def test_labels_that_are_another_number_for_each_image_are_refused(tmp_path: Path, cells: list[str]) -> None:
    table(tmp_path, image_count=cells, level=two("low", "high"))
    for i in range(3):
        save(tmp_path / "test" / f"t{i}.png", 50 + i, 8)
    write_table(tmp_path / "sample_submission.csv", [("image", "image_count"), *((f"t{i}.png", "0") for i in range(3))])
    assert "'image_count' holds another number for each of 24 images" in problems_of(tmp_path)
    assert labels_of(read(tmp_path, "level")) == two("low", "high")


def test_whole_numbers_that_most_images_have_alone_are_warned_of(tmp_path: Path) -> None:
    table(tmp_path, label=[*WHOLE[:20], *WHOLE[:4]])
    assert any("most of them of a single image" in warning for warning in read(tmp_path).warnings)
