"""Ids and class names that look like formulas are reported and kept."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from trainer.data.read import read_images
from trainer.data.readers.doubts.formulas import formula_warnings, is_formula


@pytest.mark.parametrize(
    "text", ["=1+1", "=cmd|' /C calc'!A0", "+x", "-x", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "-2+3+cmd"]
)
def test_formulas(text: str) -> None:
    assert is_formula(text)


@pytest.mark.parametrize("text", ["", "cat", "a=b", "-1", "+1", "-1.5e3", "p-1", "1+1", " "])
def test_no_formulas(text: str) -> None:
    assert not is_formula(text)


def test_the_sentence_counts_and_shows_one() -> None:
    assert formula_warnings(["a", "-1"], ["cat"]) == []
    ids, classes = formula_warnings(["=a", "=a", "=" + "b" * 100], ["@dog"])
    assert ids.startswith("2 image ids look like formulas, such as '=a'") and "'@dog'" in classes


def test_a_data_set_is_read_with_a_warning_and_unchanged_ids(tmp_path: Path) -> None:
    with (tmp_path / "train.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "label"])
        for place in range(6):
            name = f"=p{place}.png"
            Image.new("RGB", (8, 8), (place * 40, 0, 0)).save(tmp_path / name)
            table.writerow([name, "+yes" if place % 2 else "no"])
    images = read_images(tmp_path)
    assert set(images.train_ids) == {f"=p{place}.png" for place in range(6)} and "+yes" in images.class_names
    assert [warning.split(" look")[0] for warning in images.warnings] == ["6 image ids", "1 class names"]
