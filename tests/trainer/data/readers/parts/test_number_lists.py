"""Lists of row numbers beside a table: they divide nothing, which a warning says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.data.readers.parts.test_divide_table import ids, table, write
from trainer.data.read import read_images

NUMBERS = {"train": range(8), "test": range(8, 12)}


@pytest.mark.parametrize(
    ("name", "header"), [("meta/{}_indexes.csv", ["indexes"]), ("lists/{}_idx.txt", []), ("splits/{}-rows.lst", [])]
)
def test_numbers_of_rows_divide_nothing_and_are_named(tmp_path: Path, name: str, header: list[str]) -> None:
    table(tmp_path)
    for part, numbers in NUMBERS.items():
        write(tmp_path / name.format(part), [*header, *map(str, numbers)])
    found = read_images(tmp_path, verify=False)
    assert found.train_ids == tuple(ids(12))
    said = [text for text in (*found.warnings, *found.notes) if name.format("test") in text]
    assert len(said) == 1 and "numbers in place of images" in said[0] and name.format("train") in said[0]


@pytest.mark.parametrize("lines", [ids(8, 12), ["image", *ids(8, 12)]])
def test_a_list_with_such_a_name_may_name_images(tmp_path: Path, lines: list[str]) -> None:
    write(table(tmp_path) / "test_index.txt", lines)
    found = read_images(tmp_path, verify=False)
    assert (found.train_ids, found.test_ids) == (tuple(ids(8)), tuple(ids(8, 12)))
    assert "numbers" not in " ".join(found.warnings)


def test_numbers_that_are_names_of_images_divide_them(tmp_path: Path) -> None:
    table(tmp_path)
    for i in range(12):
        (tmp_path / "images" / f"a{i}.png").rename(tmp_path / "images" / f"{i}.png")
    write(tmp_path / "labels.csv", ["id,label", *(f"{i},{'xy'[i % 2]}" for i in range(12))])
    write(tmp_path / "test_indices.txt", map(str, range(8, 12)))
    found = read_images(tmp_path, verify=False)
    assert found.train_ids == tuple(map(str, range(8))) and "numbers" not in " ".join(found.warnings)
