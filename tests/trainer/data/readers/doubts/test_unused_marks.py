"""Columns that may say which images to leave out, and names of images that contradict their labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, save
from trainer.data.read import read_images
from trainer.formats.delimited import write_table


def warnings_of(root: Path, *rows: tuple[str, ...]) -> str:
    write_table(root / "labels.csv", rows)
    for number, (image, *_) in enumerate(rows[1:]):
        save(root / "images" / image, number, 8)
    return "\n".join(read_images(root, verify=False).warnings)


@pytest.mark.parametrize(
    ("name", "yes", "no"), [("exclude", "1", "0"), ("is_bad", "True", "False"), ("Use", "yes", ""), ("keep", "y", "n")]
)
def test_a_column_that_may_exclude_images_is_reported(tmp_path: Path, name: str, yes: str, no: str) -> None:
    rows = [(f"{i}.png", "ab"[i % 2], yes if i > 5 else no) for i in range(8)]
    assert f"the column {name!r}" in warnings_of(tmp_path, ("image", "label", name), *rows)
    followed = warnings_of(tmp_path, ("image", "label", name), *rows[:6])
    assert "is not used" not in followed, "the advice"


def test_a_column_that_says_the_same_everywhere_excludes_nothing(tmp_path: Path) -> None:
    rows = [(f"{i}.png", "ab"[i % 2], "0") for i in range(8)]
    assert "exclude" not in warnings_of(tmp_path, ("image", "label", "exclude"), *rows)


@pytest.mark.parametrize(("cat", "dog"), [("cat", "dog"), ("Persian cat", "Persian dog"), ("cat", "cat shark")])
def test_images_that_are_called_after_another_label_are_reported(tmp_path: Path, cat: str, dog: str) -> None:
    def name(label: str, i: int) -> str:
        return f"{label.lower().replace(' ', '_')}-{i}.png"

    right = [(name(label, i), label) for label in (cat, dog) for i in range(6)]
    wrong = (name(dog, 9), cat)
    assert "otherwise" not in warnings_of(tmp_path, ("image", "label"), *right)
    assert (
        f"labels.csv labels 1 of 13 images otherwise than their names say, such as images/{wrong[0]} as {cat!r}"
        in warnings_of(tmp_path, ("image", "label"), *right, wrong)
    )


@pytest.mark.parametrize("labels", [("cat1", "cat2"), ("1", "2"), ("ill", "healthy")])
def test_names_that_say_no_label_contradict_none(tmp_path: Path, labels: tuple[str, str]) -> None:
    """The name may say something else, as the animal whose health is the label."""
    rows = [(f"cat_{i}.png", labels[i % 2]) for i in range(12)]
    assert "otherwise" not in warnings_of(tmp_path, ("image", "label"), *rows)
    assert labels_of(read_images(tmp_path, verify=False)).count(labels[0]) == 6
