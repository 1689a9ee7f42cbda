"""Refusals name the step that works: following it reads the right labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.image_set import ImageSet
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

CLASSES = ("cat", "dog", "fox")


def classes(root: Path, first: int = 0) -> Path:
    """Two images in a folder for each class."""
    for k, name in enumerate(CLASSES):
        for i in range(2):
            save(root / name / f"{name}{first + i}.png", 10 * k + first + i, 8)
    return root


def is_right(found: ImageSet) -> bool:
    """Whether the images of all three classes are read, each with the label that its name begins with."""
    names = [Path(name).name for name in found.train_ids]
    pairs = zip(names, labels_of(found), strict=True)
    return found.class_names == CLASSES and all(name.startswith(label) for name, label in pairs)


@pytest.mark.parametrize("inner", ["{name}", "{name}/train"])
@pytest.mark.parametrize("names", [("casting_512x512", "casting_data"), ("color", "gray")])
def test_folders_that_each_hold_one_of_their_name_are_data_sets(
    tmp_path: Path, names: tuple[str, str], inner: str
) -> None:
    for k, name in enumerate(names):
        classes(tmp_path / name / inner.format(name=name), 4 * k)
    assert f"give one as the data folder, such as {tmp_path / names[0]}" in problems_of(tmp_path)
    assert all(is_right(read_images(tmp_path / name)) for name in names)


def test_one_of_several_renderings_may_be_given(tmp_path: Path) -> None:
    for name in ("color", "gray", "segmented"):
        classes(tmp_path / name)
    assert f"give one part as the data folder, such as {tmp_path / 'color'}" in problems_of(tmp_path)
    assert is_right(read_images(tmp_path / "color"))


def test_the_folder_of_classes_beside_parts_is_named(tmp_path: Path) -> None:
    """TensorFlow's rock, paper, scissors: the training images lie in a folder without the name of a part."""
    classes(tmp_path / "rps")
    classes(tmp_path / "rps-test-set", 4)
    for i in range(3):
        save(tmp_path / "rps-validation" / f"cat{i}.png", 50 + i, 8)
    assert f"give {tmp_path / 'rps'} as the data folder" in problems_of(tmp_path)
    assert is_right(read_images(tmp_path / "rps"))


def test_a_list_of_row_numbers_is_no_training_table(tmp_path: Path) -> None:
    """Derm7pt: meta/train_indexes.csv numbers the rows of meta/meta.csv."""
    rows = [(f"A{i % 2}/{i}.png", CLASSES[i % 3], "mf"[i % 2]) for i in range(12)]
    for seed, (name, *_) in enumerate(rows):
        save(tmp_path / "images" / name, seed, 8)
    (tmp_path / "meta").mkdir()
    write_table(tmp_path / "meta" / "meta.csv", [("derm", "diagnosis", "sex"), *rows])
    for part, numbers in (("train", range(8)), ("test", range(8, 12))):
        write_table(tmp_path / "meta" / f"{part}_indexes.csv", [("indexes",), *((str(i),) for i in numbers)])
    found = read_images(tmp_path)
    assert dict(zip(found.train_ids, labels_of(found), strict=True)) == {name: label for name, label, _ in rows[:8]}
    assert found.test_ids == tuple(name for name, *_ in rows[8:])


def test_a_table_in_a_folder_without_images_may_hold_the_labels(tmp_path: Path) -> None:
    """ISIC 2018: each table of labels lies in a folder of its own, beside those of the images."""
    rows = [(f"{CLASSES[i % 3]}{i}", CLASSES[i % 3]) for i in range(12)]
    parts = {"Training": rows, "Validation": [(f"{name}v", label) for name, label in rows[:6]]}
    for part, listed in parts.items():
        for seed, (name, _) in enumerate(listed):
            save(tmp_path / f"Task3_{part}_Input" / f"{name}.png", seed + 20 * len(part), 8)
        (tmp_path / f"Task3_{part}_GroundTruth").mkdir()
        table = tmp_path / f"Task3_{part}_GroundTruth" / f"Task3_{part}_GroundTruth.csv"
        write_table(
            table, [("image", *CLASSES), *((n, *(str(float(c == label)) for c in CLASSES)) for n, label in listed)]
        )
    groups = [(name, f"lesion{i // 2}", "histopathology") for i, (name, _) in enumerate(rows)]
    write_table(tmp_path / "Task3_Training_LesionGroupings.csv", [("image", "lesion_id", "confirm_type"), *groups])
    table_name = "Task3_Training_GroundTruth/Task3_Training_GroundTruth.csv"
    assert f"add --table {table_name} (data.table)" in problems_of(tmp_path)
    found = read_images(tmp_path, DataOptions(table=table_name))
    assert is_right(found) and len(found.train_ids) == 12


def test_a_table_with_one_label_gives_way_to_class_folders_on_demand(tmp_path: Path) -> None:
    classes(tmp_path)
    names = [f"{name}{i}.png" for name in CLASSES for i in range(2)]
    write_table(tmp_path / "boxes.csv", [("filename", "class", "xmin"), *((name, "animal", "1") for name in names)])
    message = problems_of(tmp_path)
    assert "labelled 'animal'" in message and "add --layout folders" in message
    assert is_right(read_images(tmp_path, DataOptions(layout="folders")))


def test_an_own_list_of_training_images_for_testing_says_where_they_lie(tmp_path: Path) -> None:
    classes(tmp_path / "train")
    classes(tmp_path / "train", 2)
    save(tmp_path / "test" / "t.png", 99, 8)
    rows = [(f"{name}{i}.png", name) for name in CLASSES for i in range(4)]
    write_table(tmp_path / "my_test.csv", [("image", "label"), *rows[::4]])
    write_table(tmp_path / "my_train.csv", [("image", "label"), *(row for i, row in enumerate(rows) if i % 4)])
    message = problems_of(tmp_path)
    assert "lists 3 test images, and each of them lies among the training images" in message
    assert "train/cat/cat0.png" in message
    for name in CLASSES:
        shutil.move(tmp_path / "train" / name / f"{name}0.png", tmp_path / "test" / f"{name}0.png")
    found = read_images(tmp_path)
    assert is_right(found) and len(found.train_ids) == 9 and {f"{name}0.png" for name in CLASSES} <= set(found.test_ids)
