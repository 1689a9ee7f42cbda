"""Labels that may be none, and probabilities in place of labels."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.data.readers.doubts.doubtful_labels import doubtful_labels

HEADER = "id,label"


def table_of(root: Path, header: str, cells: list[str]) -> Path:
    for i in range(2 * len(cells)):
        save(root / "train" / f"{i}.png", i, 8)
    rows = [f"{i}.png,{cells[i % len(cells)]}" for i in range(2 * len(cells))]
    (root / "train.csv").write_text("\n".join([header, *rows]))
    return root


@pytest.mark.parametrize(
    ("label", "others"),
    [
        ("-1", ["0", "1"]),
        ("-1", ["0", "1", "2"]),
        ("-1", ["1", "2", "3"]),
        ("-1", ["0"]),
        ("-9999", ["0", "1"]),
        ("-1", ["cat", "dog"]),
        ("999", ["0", "1", "2"]),
        ("255", ["0", "1"]),
        ("99", ["cat", "dog"]),
        ("?", ["cat", "dog"]),
        ("???", ["0", "1"]),
        ("NA", ["cat", "dog"]),
        ("N/A", ["cat", "dog"]),
        ("None", ["0", "1"]),
        ("Unlabeled", ["cat", "dog"]),
        ("not labelled", ["cat", "dog"]),
        ("no_label", ["0", "1"]),
        ("-", ["cat", "dog"]),
    ],
)
def test_a_label_that_may_be_none_is_a_warning(tmp_path: Path, label: str, others: list[str]) -> None:
    found = read_images(table_of(tmp_path, HEADER, [*others, label]), verify=False)
    assert label in found.class_names
    (warning,) = [text for text in found.warnings if "class of its own" in text]
    assert warning.startswith(f"train.csv: the label {label!r} (2 images) is read as a class of its own; if it marks")


@pytest.mark.parametrize(
    "labels",
    [
        ["-1", "1"],
        ["0", "1", "2"],
        ["97", "98", "99"],
        ["-2", "-1", "0", "1"],
        ["0", "255"],
        ["0.5", "-1", "1.5"],
        ["cat", "dog"],
        ["0", "1", "9"],
        ["3", "255", "40"],
    ],
)
def test_usual_labels_are_no_warning(labels: list[str]) -> None:
    assert doubtful_labels("train.csv", labels) == []


def test_soft_labels_are_reduced_with_a_warning(tmp_path: Path) -> None:
    found = read_images(table_of(tmp_path, "id,cat,dog", ["0.3,0.7", "1,0", "0.6,0.4"]), verify=False)
    assert labels_of(found) == ["dog", "cat", "cat"] * 2
    assert (
        "train.csv: 4 of 6 rows hold probabilities, such as 0.3, 0.7 in row 2: each is reduced to its most probable "
        "class, and the rest is not used" in found.warnings
    )


def test_one_hot_labels_are_no_soft_ones(tmp_path: Path) -> None:
    found = read_images(table_of(tmp_path, "id,cat,dog", ["0,1", "1.0,0.0"]), verify=False)
    assert not [text for text in found.warnings if "probabilities" in text]


def test_a_folder_of_unlabelled_images_is_a_warning(tmp_path: Path) -> None:
    for seed, name in enumerate(("cat", "dog", "unlabeled")):
        save(tmp_path / name / "1.png", seed, 8)
    (warning,) = read_images(tmp_path, verify=False).warnings
    assert warning.startswith("the class folders: the label 'unlabeled' (1 image) is read as a class of its own")


def test_numbers_for_none_among_arrays_are_a_warning(tmp_path: Path) -> None:
    np.savez(tmp_path / "a-train-imgs.npz", np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), np.uint8))
    np.savez(tmp_path / "a-train-labels.npz", np.array([0, 1, -1, 0, 1, -1]))
    (warning,) = read_images(tmp_path, verify=False).warnings
    assert warning.startswith("a-train-labels.npz: the label '-1' (2 images) is read as a class of its own")


def test_labels_that_look_alike() -> None:
    (warning,) = doubtful_labels("t.csv", ["cat", "c\u0430t", "dog"])
    assert "'cat' (1 image) and 'c\\u0430t' (1 image) look alike" in warning
    assert doubtful_labels("t.csv", ["\u043a\u043e\u0442", "\u043f\u0451\u0441", "cat", "Cat"]) == []


def test_labels_that_a_spreadsheet_took_for_dates() -> None:
    (warning,) = doubtful_labels("t.csv", ["5-Mar", "3-4 mm", "Jan-98"])
    assert "the labels '5-Mar', 'Jan-98' may be what a spreadsheet made of another label" in warning
    assert doubtful_labels("t.csv", ["march", "mar-velous", "50-March", "may"]) == []


def test_labels_that_are_json() -> None:
    (warning,) = doubtful_labels("t.csv", ['{"class":"cat"}', '{"class":"dog"}'])
    assert "2 of 2 labels are JSON" in warning


def test_labels_that_seem_to_be_measured() -> None:
    (warning,) = doubtful_labels("t.csv", ["0.25", "0.5", "1.0", "3.75", "4.5"])
    assert "the labels are numbers with fractions, such as 0.25: each of the 5 values" in warning
    assert doubtful_labels("t.csv", ["0", "1", "2.0"]) == doubtful_labels("t.csv", ["0.5", "high"]) == []


@pytest.mark.parametrize(
    "labels",
    [
        ["Cardiomegaly", "Emphysema", "Cardiomegaly|Emphysema", "Cardiomegaly|Effusion", "Effusion"],
        ["scab", "rust", "complex", "scab rust", "scab rust complex", "healthy"],
        ["clear primary", "clear primary road", "haze primary", "haze road", "haze primary road", "clear road"],
        ["1;2", "2", "1", "3;1", "3"],
    ],
)
def test_lists_of_labels_are_a_warning(labels: list[str]) -> None:
    (warning,) = doubtful_labels("train.csv", labels)
    assert "several labels" in warning and "--several-labels yes" in warning


@pytest.mark.parametrize(
    "labels",
    [
        ["test tubes", "steam train", "freight train"],
        ["red apple", "green apple", "red pear", "green pear", "red plum", "green plum"],
        ["Smith, Ann", "Smith, Bob", "Miller, Ann"],
        ["leopard", "snow leopard", "house cat"],
        ["0 - none", "1 - mild", "2 - severe"],
        ["apple scab", "apple rust", "apple", "pear rust"],
    ],
)
def test_names_of_several_words_are_no_lists(labels: list[str]) -> None:
    assert doubtful_labels("train.csv", labels) == []


def test_names_of_images_are_labels_only_where_the_user_says_so(tmp_path: Path) -> None:
    """As in a column of originals."""
    folder = table_of(tmp_path, "image,source_image", ["a.jpg", "b.jpg"])
    message = problems_of(folder)
    assert "every label is the name of an image file, such as 'a.jpg'" in message and "--label-column NAME" in message
    found = read_images(folder, DataOptions(label_column="source_image"), verify=False)
    assert found.class_names == ("a.jpg", "b.jpg")


@pytest.mark.parametrize(
    "classes",
    [
        [*string.ascii_uppercase, "del", "nothing", "space"],
        list(string.ascii_lowercase),
        ["art_painting", "cartoon", "photo", "sketch"],
        ["cardboard", "glass", "metal", "paper", "plastic", "trash"],
    ],
)
def test_classes_of_public_sets_are_no_doubt(tmp_path: Path, classes: list[str]) -> None:
    """Letters of signs, PACS and TrashNet."""
    for seed, name in enumerate(classes):
        for i in range(2):
            save(tmp_path / name / f"{i}.png", 2 * seed + i, 8)
    assert read_images(tmp_path, verify=False).warnings == ()


def test_few_letters_may_be_abbreviations() -> None:
    assert doubtful_labels("t.csv", ["F", "W", "N", "T"]) != []
