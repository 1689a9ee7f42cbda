"""Labels that a program has written as lists of one are read as these labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table


def table(root: Path, cells: list[str], **columns: list[str]) -> None:
    """A table with one row for each cell of labels."""
    for i, _ in enumerate(cells):
        save(root / "train" / f"{i}.png", i, 8)
    rows = zip(*({"label": cells} | columns).values(), strict=True)
    write_table(root / "train.csv", [("image", "label", *columns), *((f"{i}.png", *row) for i, row in enumerate(rows))])


@pytest.mark.parametrize("written", ["['{}']", '["{}"]', "('{}',)", "[ '{}' ]", " ['{}'] "])
@pytest.mark.parametrize("option", ["auto", "no"])
def test_lists_of_one_label_are_that_label(tmp_path: Path, written: str, option: str) -> None:
    labels = ["N", "D", "age-related, dry", "D"] * 3
    table(tmp_path, [written.format(label) for label in labels])
    options = DataOptions(several_labels="no" if option == "no" else "auto")
    found = read_images(tmp_path, options, verify=False)
    assert labels_of(found) == labels and not found.warnings
    assert any("each label is a list of one" in note for note in found.notes)


def test_lists_of_one_label_of_several_parts(tmp_path: Path) -> None:
    table(tmp_path, ["['N']", "['D']"] * 6, split=["train"] * 8 + ["val"] * 4)
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == ["N", "D"] * 4 and found.class_names == ("D", "N")


@pytest.mark.parametrize("odd", ["['N', 'D']", "[]", "[['N']]"])
def test_lists_of_several_labels_or_none_are_refused_still(tmp_path: Path, odd: str) -> None:
    table(tmp_path, [*(["['N']", "['D']"] * 5), odd])
    assert "lists in brackets" in problems_of(tmp_path)
