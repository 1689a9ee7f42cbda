"""Sentences about lists, folders and tables that do not contradict each other, and name nothing that is not there."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.trainer.images import problems_of, save
from trainer.data.read import read_images

ROWS = [f"{number}.png,{('cat', 'dog')[number % 2]}" for number in range(12)]


def images_of(root: Path) -> Path:
    for number in range(12):
        save(root / "images" / f"{number}.png", number, 8)
    return root


def test_a_list_that_divides_a_table_is_not_called_unread(tmp_path: Path) -> None:
    (images_of(tmp_path) / "labels.csv").write_text("\n".join(["image,label", *ROWS]))
    (tmp_path / "holdout.csv").write_text("\n".join(["image", *(f"{number}.png" for number in range(8, 12))]))
    found = read_images(tmp_path, verify=False)
    assert (len(found.train_ids), len(found.test_ids)) == (8, 4) and found.warnings == ()
    assert found.notes[:2] == (
        "labels.csv: id column 'image', label column 'label'",
        "holdout.csv divides the rows of labels.csv: 8 train, 4 test",
    )
    assert not [note for note in found.notes if "not read" in note]


def test_a_table_of_test_images_is_not_called_unread(tmp_path: Path) -> None:
    (images_of(tmp_path) / "train.csv").write_text("\n".join(["image,label", *ROWS[:8]]))
    (tmp_path / "holdout.csv").write_text("\n".join(["image,label", *ROWS[8:]]))
    found = read_images(tmp_path, verify=False)
    assert (len(found.train_ids), len(found.test_ids)) == (8, 4) and found.warnings == ()
    (tmp_path / "holdout.csv").rename(tmp_path / "more.csv")
    (warning, *_) = read_images(tmp_path, verify=False).warnings
    assert warning.startswith("not read: more.csv, which labels 4 further images")


def test_a_column_of_parts_is_named(tmp_path: Path) -> None:
    rows = [f"{row},{'test' if place > 7 else 'train'}" for place, row in enumerate(ROWS)]
    (images_of(tmp_path) / "labels.csv").write_text("\n".join(["image,label,split", *rows]))
    assert read_images(tmp_path, verify=False).notes[0].endswith("label column 'label', parts in 'split'")


def test_folders_without_an_image_are_not_named_as_classes(tmp_path: Path) -> None:
    for seed, name in enumerate(("candle", "pcb1")):
        save(tmp_path / name / "Data" / "Normal" / "0.png", 2 * seed, 8)
        save(tmp_path / name / "Data" / "Anomaly" / "1.png", 2 * seed + 1, 8)
    (tmp_path / "split_csv").mkdir()
    rows = [
        f"{name},{part},{label},{name}/Data/{label.title()}/{number}.png"
        for name in ("candle", "pcb1")
        for number, (part, label) in enumerate((("train", "normal"), ("test", "anomaly")))
    ]
    (tmp_path / "split_csv" / "1cls.csv").write_text("\n".join(["object,split,label,image", *rows]))
    message = problems_of(tmp_path)
    assert "If the folders 'candle', 'pcb1' are the classes" in message and "split_csv'" not in message


def test_an_inner_folder_of_the_same_images_is_called_copies(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(6):
        save(root / ("yes", "no")[number % 2] / f"{number}.png", number, 8)
    shutil.copytree(root, root / "brain_tumor_dataset")
    message = problems_of(root)
    assert "brain_tumor_dataset holds copies of the images in the other folders: move it out of the data" in message
    assert len(read_images(root / "brain_tumor_dataset", verify=False).train_ids) == 6
    save(root / "brain_tumor_dataset" / "yes" / "0.png", 77, 8)
    assert "copies" not in problems_of(root) and "are the classes, give" in problems_of(root)
    shutil.move(root / "brain_tumor_dataset", tmp_path / "copies")
    assert len(read_images(root, verify=False).train_ids) == 6
