"""Lists that correct labels elsewhere are refused, with an advice that works; tables of labels are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images

LABELS = ["cat", "dog", "fox"] * 4
FIXES = {
    "fixes.csv": "image,old,new\n10.png,dog,fox\n11.png,fox,cat\n",
    "notes.csv": "image,old_label,new_label\n10.png,dog,fox\n11.png,fox,cat\n",
    "mislabeled.csv": "image,should_be\n10.png,fox\n11.png,cat\n",
    "label_errors.txt": "10.png\n11.png\n",
    "Relabelled images.csv": "image;comment\n10.png;a fox\n11.png;a cat\n",
    "wrong_labels.csv": "image\n10.png\n11.png\n",
    "corrections.csv": "image,label\n10.png,fox\n11.png,cat\n",
}


def table_of(root: Path) -> Path:
    for number in range(len(LABELS)):
        save(root / "images" / f"{number}.png", number, 8)
    write(root / "labels.csv", LABELS)
    return root


def folders_of(root: Path) -> Path:
    for number, label in enumerate(LABELS):
        save(root / label / f"{number}.png", number, 8)
    return root


def write(path: Path, labels: list[str]) -> None:
    path.write_text("\n".join(["image,label", *(f"{number}.png,{label}" for number, label in enumerate(labels))]))


@pytest.mark.parametrize("name", FIXES)
def test_corrections_of_a_table_are_refused(tmp_path: Path, name: str) -> None:
    (table_of(tmp_path) / name).write_text(FIXES[name])
    message = problems_of(tmp_path)
    assert f"{name} seems to correct the labels of 2 images, such as images/10.png, and is not read" in message
    assert f"Write the right labels into labels.csv, and move {name} out of the data folder" in message
    assert "To train on its labels as they are, add --table labels.csv (data.table)" in message
    assert labels_of(read_images(tmp_path, DataOptions(table="labels.csv"), verify=False)) == LABELS
    (tmp_path / name).unlink()
    write(tmp_path / "labels.csv", [*LABELS[:10], "fox", "cat"])
    assert labels_of(read_images(tmp_path, verify=False))[10:] == ["fox", "cat"]


@pytest.mark.parametrize("name", FIXES)
def test_corrections_of_class_folders_are_refused(tmp_path: Path, name: str) -> None:
    (folders_of(tmp_path) / name).write_text(FIXES[name])
    message = problems_of(tmp_path)
    assert f"{name} seems to correct the labels of 2 images, such as dog/10.png, and is not read" in message
    assert "Move the images into the right class folders, and move" in message
    assert "If the folders are right as they are, add --layout folders (data.layout)" in message
    assert sorted(labels_of(read_images(tmp_path, DataOptions(layout="folders"), verify=False))) == sorted(LABELS)
    (tmp_path / name).unlink()
    assert len(read_images(tmp_path, verify=False).train_ids) == 12


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("renamed.csv", "old,new\n1.png,10.png\n2.png,11.png\n"),
        ("frames.csv", "image,from,to\n10.png,3,5\n11.png,7,9\n"),
        ("fixes.csv", "version,text\n1.0,new camera\n1.1,new lens\n"),
        ("prefix.csv", "image,prefix\n10.png,a\n11.png,b\n"),
        ("color_corrected.txt", "10.png\n11.png\n"),
        ("correctness.csv", "image,score\n10.png,0.5\n11.png,0.75\n"),
    ],
)
def test_other_tables_are_not_refused(tmp_path: Path, name: str, text: str) -> None:
    (table_of(tmp_path) / name).write_text(text)
    assert labels_of(read_images(tmp_path, verify=False)) == LABELS


@pytest.mark.parametrize("name", ["relabeled.csv", "corrected_labels.csv"])
def test_the_only_table_may_have_such_a_name(tmp_path: Path, name: str) -> None:
    (table_of(tmp_path) / "labels.csv").rename(tmp_path / name)
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == LABELS and found.warnings == ()


def test_a_whole_table_of_corrected_labels_is_a_question_of_two_tables(tmp_path: Path) -> None:
    write(table_of(tmp_path) / "labels_corrected.csv", [*LABELS[:10], "fox", "cat"])
    assert "label 2 of 12 images differently" in problems_of(tmp_path)
    corrected = read_images(tmp_path, DataOptions(table="labels_corrected.csv"), verify=False)
    assert labels_of(corrected)[10:] == ["fox", "cat"]
    write(tmp_path / "labels_corrected.csv", LABELS)
    assert labels_of(read_images(tmp_path, verify=False)) == LABELS


def test_corrections_that_the_labels_follow_are_quiet(tmp_path: Path) -> None:
    (table_of(tmp_path / "table") / "corrections.csv").write_text("image,label\n10.png,dog\n11.png,fox\n")
    assert labels_of(read_images(tmp_path / "table", verify=False)) == LABELS
    (folders_of(tmp_path / "folders") / "corrections.csv").write_text(
        "image,label\n9.png,cat\n10.png,dog\n11.png,fox\n"
    )
    assert len(read_images(tmp_path / "folders", verify=False).train_ids) == 12


@pytest.mark.parametrize("place", ["data/train", "data", "Part A/train"])
@pytest.mark.parametrize("name", FIXES)
def test_corrections_of_class_folders_below_a_wrapper_are_refused(tmp_path: Path, name: str, place: str) -> None:
    for number, label in enumerate(LABELS * 2):
        save(tmp_path / place / label / f"{number}.png", number, 8)
        if place != "data":
            save(tmp_path / place / ".." / "val" / label / f"{number + 100}.png", number + 100, 8)
    (tmp_path / name).write_text(FIXES[name])
    message = problems_of(tmp_path)
    assert f"{name} seems to correct the labels of 2 images, such as {place}/dog/10.png, and is not read" in message
    assert "If the folders are right as they are, add --layout folders (data.layout)" in message
    found = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    assert sorted(labels_of(found)) == sorted(LABELS * 2)
