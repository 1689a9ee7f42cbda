"""Labels that may mean the same are named with their images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.data.readers.doubts.doubtful_labels import doubtful_labels


def table_of(root: Path, labels: list[str]) -> Path:
    """Two images of each label."""
    rows = [f"{number}.png,{label}" for number, label in enumerate(labels * 2)]
    for number in range(len(rows)):
        save(root / "images" / f"{number}.png", number, 8)
    (root / "labels.csv").write_text("\n".join(("image,label", *rows)), encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", "cats"),
        ("box", "boxes"),
        ("berry", "Berries"),
        ("pos", "positive"),
        ("m", "male"),
        ("TRUE", "WAHR"),
        ("negativ", "negative"),
        ("\u967d\u6027", "positive"),
        ("benign", "ben"),
    ],
)
def test_two_words_of_one_meaning_are_a_warning(tmp_path: Path, one: str, other: str) -> None:
    found = read_images(table_of(tmp_path, [one, other, "emu"]), verify=False)
    assert set(found.class_names) == {one, other, "emu"}
    (warning,) = found.warnings
    assert f"{one!r} (2 images)" in warning and f"{other!r} (2 images)" in warning
    assert "are read as 2 classes; if they mean the same, write them alike" in warning
    table = tmp_path / "labels.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(f",{other}", f",{one}"), encoding="utf-8")
    assert read_images(tmp_path, verify=False).warnings == ()


def test_many_plurals_are_one_warning() -> None:
    (warning,) = doubtful_labels("t.csv", ["cat", "cats", "dog", "dogs", "fox", "foxes"])
    assert "'cat' (1 image) and 'cats' (1 image) are read as 2 classes, and so are 2 further pairs" in warning


def test_one_plural_among_class_folders_is_a_warning(tmp_path: Path) -> None:
    for seed, name in enumerate(("cat", "cats", "dog")):
        save(tmp_path / name / "1.png", seed, 8)
    assert "'cat' (1 image) and 'cats' (1 image) are read as 2 classes" in "".join(
        read_images(tmp_path, verify=False).warnings
    )


@pytest.mark.parametrize("labels", [["0", "1", "2", "cat", "dog", "fox"], ["1", "2", "bad", "good"]])
def test_numbers_beside_as_many_words_are_a_warning(tmp_path: Path, labels: list[str]) -> None:
    found = read_images(table_of(tmp_path, labels), verify=False)
    (warning,) = found.warnings
    half = len(labels) // 2
    assert f"{labels[0]!r}, {labels[1]!r}" in warning and f"({2 * half} images) are numbers" in warning
    assert f"they are read as {2 * half} classes; if each number stands for a word, write the words" in warning


@pytest.mark.parametrize(
    "labels",
    [
        ["m", "f"],
        ["pos", "neg"],
        ["0", "1", "a", "b"],
        ["0", "1", "2", "cat", "dog"],
        ["3", "7", "cat", "dog"],
        ["as", "a", "is", "i"],
        ["bus", "glas"],
        ["left", "right"],
    ],
)
def test_other_labels_are_no_warning(labels: list[str]) -> None:
    assert doubtful_labels("labels.csv", labels) == []


def test_marks_at_the_end_of_a_label_are_a_question_with_two_answers(tmp_path: Path) -> None:
    table_of(tmp_path, ["dog", "dog", "dog (unsure)", "cat"])
    message = problems_of(tmp_path)
    assert "differ only in spelling: 'dog' (4 images) and 'dog (unsure)' (2 images)" in message
    merged = read_images(tmp_path, DataOptions(similar_labels="merge"), verify=False)
    assert labels_of(merged) == ["dog", "dog", "dog", "cat"] * 2
    kept = read_images(tmp_path, DataOptions(similar_labels="keep", several_labels="no"), verify=False)
    assert kept.class_names == ("cat", "dog", "dog (unsure)")
