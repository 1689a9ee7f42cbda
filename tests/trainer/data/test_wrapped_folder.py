"""A folder that holds nothing but another one, as archives make it: the tables of that one keep their meaning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

CLASSES = ("AnnualCrop", "Forest", "River")
PARTS = {"train": range(1, 7), "validation": range(7, 9), "test": range(9, 11)}


def satellites(root: Path, *, parts: tuple[str, ...] = tuple(PARTS), mapped: bool = True) -> Path:
    """EuroSAT: class folders, and tables with a row number, the path, the number and the name of the class."""
    for seed, name in enumerate(CLASSES):
        for i in range(1, 11):
            save(root / name / f"{name}_{i}.png", 20 * seed + i, 8)
    for part in parts:
        paths = [(f"{name}/{name}_{i}.png", CLASSES.index(name), name) for i in PARTS[part] for name in CLASSES]
        rows = [(str(row), path, str(number), name) for row, (path, number, name) in enumerate(paths)]
        write_table(root / f"{part}.csv", [("", "Filename", "Label", "ClassName"), *rows])
    if mapped:
        (root / "label_map.json").write_text(json.dumps({name: i for i, name in enumerate(CLASSES)}))
    return root


def expected(numbers: range) -> set[str]:
    return {f"{name}/{name}_{i}.png" for name in CLASSES for i in numbers}


@pytest.mark.parametrize("place", [".", "EuroSAT", "archive/EuroSAT"])
@pytest.mark.parametrize("beside", ["", "README.md", "LICENSE", "EuroSAT.zip", "docs/a.txt", "notes.xyz"])
@pytest.mark.parametrize("parts", [("train", "validation", "test"), ("train", "test")])
def test_tables_beside_class_folders(tmp_path: Path, place: str, beside: str, parts: tuple[str, ...]) -> None:
    satellites(tmp_path / place, parts=parts)
    if beside:
        (tmp_path / beside).parent.mkdir(exist_ok=True)
        (tmp_path / beside).write_bytes(b"x")
    found = read_images(tmp_path, verify=False)

    prefix = f"{(tmp_path / place).relative_to(found.root).as_posix()}/".removeprefix("./")
    labels = dict(zip(found.train_images.paths, labels_of(found), strict=True))
    assert labels == {prefix + path: path.partition("/")[0] for path in expected(PARTS["train"])}
    assert set(found.test_images.paths) == {prefix + path for path in expected(PARTS["test"])}


@pytest.mark.parametrize("place", [".", "EuroSAT"])
@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("beside", ["", "docs/a.txt"])
def test_a_table_of_test_images_alone_takes_them_out(tmp_path: Path, place: str, mapped: bool, beside: str) -> None:
    satellites(tmp_path / place, parts=("test",), mapped=mapped)
    if beside:
        (tmp_path / beside).parent.mkdir()
        (tmp_path / beside).write_bytes(b"x")
    found = read_images(tmp_path, verify=False)

    prefix = f"{(tmp_path / place).relative_to(found.root).as_posix()}/".removeprefix("./")
    assert set(found.train_images.paths) == {prefix + path for path in expected(range(1, 9))}
    assert set(found.test_images.paths) == {prefix + path for path in expected(PARTS["test"])}


def test_the_number_of_a_row_is_no_image(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / CLASSES[i % 3] / f"{i}.png", i, 8)
    paths = [f"{CLASSES[i % 3]}/{i}.png" for i in range(12)]
    write_table(tmp_path / "test.csv", [("", "Filename"), *((str(row), path) for row, path in enumerate(paths[8:]))])

    assert set(read_images(tmp_path, verify=False).test_images.paths) == set(paths[8:])


def test_two_folders_with_classes_are_a_question_that_names_one(tmp_path: Path) -> None:
    satellites(tmp_path / "EuroSAT")
    satellites(tmp_path / "EuroSATallBands")

    assert "such as EuroSAT inside of this one" in problems_of(tmp_path)
    assert len(read_images(tmp_path / "EuroSAT", verify=False).y) == 18


def test_the_user_names_a_table_from_either_folder(tmp_path: Path) -> None:
    satellites(tmp_path / "EuroSAT")
    for name in ("train.csv", "EuroSAT/train.csv"):
        assert len(read_images(tmp_path, DataOptions(table=name), verify=False).y) == 18


def test_classes_further_down_are_named(tmp_path: Path) -> None:
    """As in ImageNet's challenge without its table of training labels."""
    place = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    for seed, name in enumerate(("n01440764", "n01443537")):
        for i in range(3):
            save(place / "train" / name / f"{i}.png", 10 * seed + i, 8)
    for seed, part in enumerate(("val", "test")):
        save(place / part / "a.png", 90 + seed, 8)
    write_table(tmp_path / "LOC_sample_submission.csv", [("ImageId", "PredictionString"), ("a", "n01440764 1 2 3 4")])

    assert "give ILSVRC/Data/CLS-LOC inside of this folder" in problems_of(tmp_path)
    assert len(read_images(place, verify=False).y) == 6


@pytest.mark.parametrize("paths", [True, False], ids=["paths", "names"])
def test_parts_of_class_folders_in_a_wrapper_are_a_question_whose_answers_work(tmp_path: Path, *, paths: bool) -> None:
    rows = []
    for number in range(24):
        image = save(tmp_path / "data" / "train" / CLASSES[number % 3] / f"{number}.png", number, 8)
        cell = image.relative_to(tmp_path).as_posix() if paths else image.name
        rows.append((cell, ("train", "train", "train", "test")[number % 4]))
        save(tmp_path / "data" / "val" / CLASSES[number % 3] / f"{number + 100}.png", number + 100, 8)
    write_table(tmp_path / "split.csv", [("image", "split"), *rows])
    message = problems_of(tmp_path)
    assert "split.csv divides the images into parts" in message and "move split.csv into data" in message
    assert "add --layout folders" in message
    assert len(read_images(tmp_path, DataOptions(layout="folders"), verify=False).y) == 24
    (tmp_path / "split.csv").rename(tmp_path / "data" / "split.csv")
    found = read_images(tmp_path, verify=False)
    assert (len(found.y), len(found.test_ids)) == (18, 6)


@pytest.mark.parametrize("beside", ["weather.csv", "attributes.txt", "CUB_200_2011.csv"])
def test_a_folder_beside_a_table_of_something_else_is_read_with_its_own_tables(tmp_path: Path, beside: str) -> None:
    """CUB-200-2011, whose archive holds ``attributes.txt`` beside the folder."""
    root, images = tmp_path / "CUB_200_2011", []
    for seed, name in enumerate(CLASSES):
        for i in range(4):
            images.append((f"00{seed + 1}.{name}/{name}_{i}.png", seed + 1))
            save(root / "images" / images[-1][0], 20 * seed + i, 8)
    lines = {
        "images.txt": [path for path, _ in images],
        "image_class_labels.txt": [str(number) for _, number in images],
        "train_test_split.txt": [str(int(row % 4 > 0)) for row in range(len(images))],
        "classes.txt": [f"00{number}.{name}" for number, name in enumerate(CLASSES, 1)],
    }
    for name, values in lines.items():
        (root / name).write_text("".join(f"{row} {value}\n" for row, value in enumerate(values, 1)))
    (tmp_path / beside).write_text("day,sky,mood\n1,sun,good\n2,rain,bad\n3,sun,good\n")
    found = read_images(tmp_path, verify=False)
    assert (len(found.y), len(found.test_ids)) == (9, 3)
    assert all(path.endswith("_0.png") for path in found.test_images.paths)
    everything = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    assert len(everything.y) == 12
