"""Sample submissions whose first column is that of the predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.images import labels_of, save
from trainer.data.image_set import DataOptions
from trainer.data.read import read_images
from trainer.formats.delimited import write_table
from trainer.formats.submission import check_submission, write_submission


def competition(root: Path, header: tuple[str, str], predictions: list[str], labels: str = "ab") -> list[str]:
    """A table of 12 images, and a sample that holds the predictions in its first column; the training labels."""
    names = [f"{i}.png" for i in range(12)]
    tests = [f"{50 + i}.png" for i, _ in enumerate(predictions)]
    for seed, name in enumerate([*(f"train/{name}" for name in names), *(f"test/{name}" for name in tests)]):
        save(root / name, seed, 8)
    given = [labels[i % 2] for i in range(12)]
    write_table(root / "train.csv", [("ID", "Class"), *zip(names, given, strict=True)])
    write_table(root / "sample_submission.csv", [header, *zip(predictions, tests, strict=True)])
    return given


@pytest.mark.parametrize("header", [("Class", "ID"), ("prediction", "ID"), ("Class", "image"), ("answer", "file")])
@pytest.mark.parametrize("predictions", [["a"] * 4, ["a", "b", "b", "a"]])
@pytest.mark.parametrize("option", [None, "Class"])
def test_the_ids_are_in_the_column_that_names_test_images(
    tmp_path: Path, header: tuple[str, str], predictions: list[str], option: str | None
) -> None:
    given = competition(tmp_path, header, predictions)
    found = read_images(tmp_path, DataOptions(label_column=option), verify=False)
    assert found.train_ids == tuple(f"{i}.png" for i in range(12)) and labels_of(found) == given
    assert found.test_ids == ("50.png", "51.png", "52.png", "53.png")


def test_a_submission_keeps_the_order_of_the_columns(tmp_path: Path) -> None:
    competition(tmp_path, ("Class", "ID"), ["a"] * 3)
    found = read_images(tmp_path, verify=False)
    form, target = found.submission, tmp_path / "out.csv"
    assert form is not None
    proba = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    write_submission(target, form, found.class_names, found.test_ids, proba, "label")
    assert target.read_text() == "Class,ID\na,50.png\nb,51.png\na,52.png\n"
    check_submission(target, form, found.class_names, "label")


def test_ids_of_a_test_table_tell_the_column_of_ids(tmp_path: Path) -> None:
    given = competition(tmp_path, ("Class", "ID"), ["0"] * 4, labels="01")
    write_table(tmp_path / "test.csv", [("ID",), *((f"{50 + i}.png",) for i in range(4))])
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == given and len(found.test_ids) == 4


def test_ids_come_first_if_only_the_predictions_name_images(tmp_path: Path) -> None:
    for seed, name in enumerate(["train/a0", "train/a1", "train/a2", "train/a3", "test/1", "test/2", "test/3"]):
        save(tmp_path / f"{name}.png", seed, 8)
    write_table(tmp_path / "train.csv", [("id", "grade"), *((f"a{i}", str(1 + i % 2)) for i in range(4))])
    write_table(tmp_path / "test.csv", [("id", "file"), *((f"t{i}", f"{i}.png") for i in (1, 2, 3))])
    write_table(tmp_path / "sample_submission.csv", [("id", "grade"), ("t1", "1"), ("t2", "2"), ("t3", "1")])
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == ["1", "2", "1", "2"] and found.test_ids == ("t1", "t2", "t3")
