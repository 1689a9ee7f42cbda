"""A small table beside class folders whose labels are those of the folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.trainer.images import problems_of, save
from trainer.data.read import DataError, DataOptions, read_images

CLASSES = ("cat", "dog", "fox")


def animals(root: Path, *, table: str, where: str = ".", listed: int = 2, labels: tuple[str, ...] = CLASSES) -> Path:
    """Ten images of each class, and a table that labels the first ones of each."""
    lines = ["image,label"]
    for index, name in enumerate(CLASSES):
        for i in range(10):
            save(root / where / name / f"{name[0]}{i}.png", 10 * index + i, 8)
        lines += [f"{name[0]}{i}.png,{labels[index]}" for i in range(listed)]
    (root / table).write_text("\n".join(lines))
    return root


@pytest.mark.parametrize("where", [".", "images", "train"])
@pytest.mark.parametrize("table", ["unseen.csv", "check.csv", "query.csv", "data.tsv"])
@pytest.mark.parametrize("labels", [CLASSES, ("0", "1", "2")])
def test_it_is_a_question_whose_answers_work(tmp_path: Path, where: str, table: str, labels: tuple[str, ...]) -> None:
    root = animals(tmp_path / "data", table=table, where=where, labels=labels)
    if table.endswith(".tsv"):
        (root / table).write_text((root / table).read_text().replace(",", "\t"))

    with pytest.raises(DataError) as caught:
        read_images(root, verify=False)

    message = str(caught.value)
    assert f"{table} labels 6 of 30 images" in message
    assert f"--table {table}" in message
    assert "--layout folders" in message
    assert len(read_images(root, DataOptions(table=table), verify=False).y) == 6
    assert len(read_images(root, DataOptions(layout="folders"), verify=False).y) == 30
    test = f"test{Path(table).suffix}"
    assert f"call the table {test}" in message
    shutil.copytree(root, tmp_path / "renamed")
    (tmp_path / "renamed" / table).rename(tmp_path / "renamed" / test)
    found = read_images(tmp_path / "renamed", verify=False)
    assert (len(found.y), len(found.test_ids)) == (24, 6)


@pytest.mark.parametrize("table", ["labels.csv", "train_small.csv"])
def test_a_table_with_the_name_of_training_labels_is_read(tmp_path: Path, table: str) -> None:
    found = read_images(animals(tmp_path, table=table), verify=False)

    assert len(found.y) == 6
    assert any("not read: 24 images" in warning for warning in found.warnings)


def test_a_table_of_most_images_is_read(tmp_path: Path) -> None:
    assert len(read_images(animals(tmp_path, table="selected.csv", listed=5), verify=False).y) == 15


def test_labels_that_are_not_the_folders_are_the_question_of_another_rule(tmp_path: Path) -> None:
    animals(tmp_path, table="selected.csv", labels=("cat", "cat", "fox"))
    assert "contradict the folders" in problems_of(tmp_path)
