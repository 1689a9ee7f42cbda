"""Labels of patients and the like in a second table, which are no labels of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

KINDS = ("cat", "dog")
Tables = tuple[str, str]


def groups_of(root: Path, tables: Tables, columns: Tables, names: Sequence[str], header: Sequence[str]) -> Path:
    """Two images of each group, a table of images and groups, and one of groups and labels."""
    for i in range(12):
        save(root / "images" / f"{i:03d}.png", i, 8)
    write_table(root / tables[0], [("image", columns[0]), *((f"{i:03d}.png", names[i // 2]) for i in range(12))])
    cells = {"sex": lambda group: "mf"[group % 3 % 2], "cat": lambda group: str(1 - group % 2)}
    rows = [[cells.get(name, lambda group: KINDS[group % 2])(group) for name in header] for group in range(6)]
    write_table(root / tables[1], [(columns[1], *header), *((names[group], *rows[group]) for group in range(6))])
    return root


PATIENTS = [f"P{group}" for group in range(6)]


@pytest.mark.parametrize(
    ("tables", "columns", "names", "header"),
    [
        (("images.csv", "train.csv"), ("patient_id", "patient_id"), PATIENTS, ("label",)),
        (("train_images.csv", "train_labels.csv"), ("patient_id", "patient_id"), PATIENTS, ("label",)),
        (("images.csv", "patients.csv"), ("patient_id", "patient_id"), PATIENTS, ("sex", "diagnosis")),
        (("images.csv", "patients.csv"), ("patient_id", "patient_id"), PATIENTS, ("sex", "outcome")),
        (("train.csv", "patients.csv"), ("patient_id", "patient_id"), PATIENTS, ("diagnosis",)),
        (("images.csv", "labels.csv"), ("patient", "subject"), PATIENTS, ("label",)),
        (("images.csv", "labels.csv"), ("patient_id", "id"), [str(100 + i) for i in range(6)], ("label",)),
        (("images.csv", "labels.csv"), ("subject", "subject"), [str(i) for i in range(6)], ("label",)),
        (("images.csv", "cases.csv"), ("case", "case"), PATIENTS, ("label",)),
        (("images.csv", "plots.csv"), ("plot", "plot"), [str(10 + i) for i in range(6)], ("crop",)),
        (("images.csv", "trees.csv"), ("tree_id", "tree_id"), PATIENTS, ("species",)),
        (("images.csv", "owners.csv"), ("owner", "owner"), ("ann", "bob", "cid", "dan", "eve", "fay"), ("diagnosis",)),
    ],
)
def test_labels_of_groups_are_refused(
    tmp_path: Path, tables: Tables, columns: Tables, names: Sequence[str], header: Sequence[str]
) -> None:
    root = groups_of(tmp_path, tables, columns, names, header)
    message = problems_of(root)
    assert f"{tables[0]} gives the {columns[0]!r} of each image, such as {names[0]!r} for 2 images" in message
    assert f"{tables[1]} has one row for each of them, which may hold the labels" in message
    assert f"{header[-1]!r}" in message and f"--group-column {columns[0]}" in message
    assert problems_of(root, DataOptions(table=tables[1])).startswith(tables[0])
    found = read_images(root, DataOptions(table=tables[0], label_column=columns[0]), verify=False)
    assert labels_of(found) == [names[i // 2] for i in range(12)]


def test_the_table_that_the_message_asks_for_is_read(tmp_path: Path) -> None:
    root = groups_of(tmp_path, ("images.csv", "train.csv"), ("patient_id", "patient_id"), PATIENTS, ("label",))
    rows = [(f"{i:03d}.png", PATIENTS[i // 2], KINDS[i // 2 % 2]) for i in range(12)]
    write_table(root / "mine.csv", [("image", "patient_id", "label"), *rows])
    options = DataOptions(table="mine.csv", label_column="label", group_column="patient_id")
    found = read_images(root, options, verify=False)
    assert labels_of(found) == [row[2] for row in rows] and found.groups == tuple(row[1] for row in rows)


def test_several_images_of_an_id_are_a_group(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / "images" / f"{i}.png", i, 8)
    views = [(str(i // 2), f"images/{i}.png", "LR"[i % 2]) for i in range(12)]
    write_table(tmp_path / "images.csv", [("id", "path", "view"), *views])
    write_table(tmp_path / "train.csv", [("id", "label"), *((str(i), KINDS[i % 2]) for i in range(6))])
    assert "images.csv gives the 'id' of each image, such as '0' for 2 images" in problems_of(tmp_path)


@pytest.mark.parametrize("header", [("sex",), ("diagnosis",)])
def test_labels_of_the_images_go_before_those_of_patients(tmp_path: Path, header: Sequence[str]) -> None:
    columns = ("patient_id", "patient_id")
    root = groups_of(tmp_path, ("images.csv", "patients.csv"), columns, PATIENTS, header)
    rows = [(f"{i:03d}", KINDS[i % 2]) for i in range(12)]
    write_table(root / "train.csv", [("image", "label"), *rows])
    found = read_images(root, verify=False)
    assert labels_of(found) == [row[1] for row in rows]
    assert "not read: images.csv, which is about groups of images" in found.notes


def test_a_table_that_describes_patients_is_no_table_of_labels(tmp_path: Path) -> None:
    root = groups_of(tmp_path, ("data.csv", "patients.csv"), ("patient_id", "patient_id"), PATIENTS, ("sex",))
    rows = [(f"{i:03d}.png", KINDS[i % 2], PATIENTS[i // 2]) for i in range(12)]
    write_table(root / "data.csv", [("image", "label", "patient_id"), *rows])
    assert labels_of(read_images(root, verify=False)) == [row[1] for row in rows]


@pytest.mark.parametrize(
    ("column", "table", "rows"),
    [
        ("code", "codes.csv", [("code", "label"), ("0", "cat"), ("1", "dog")]),
        ("category_id", "categories.csv", [("id", "name", "group"), ("0", "cat", "pet"), ("1", "dog", "pet")]),
    ],
)
def test_a_list_of_classes_is_none(tmp_path: Path, column: str, table: str, rows: Sequence[Sequence[str]]) -> None:
    for i in range(12):
        save(tmp_path / "images" / f"{i:03d}.png", i, 8)
    write_table(tmp_path / "images.csv", [("image", column), *((f"{i:03d}.png", str(i % 2)) for i in range(12))])
    write_table(tmp_path / table, rows)
    assert labels_of(read_images(tmp_path, verify=False)) == [str(i % 2) for i in range(12)]
