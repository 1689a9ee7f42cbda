"""The summary of a data set that `search check` prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.images import save
from trainer.data.description import describe
from trainer.data.duplicates import find_duplicates
from trainer.data.read import DataOptions, read_images


def test_the_summary_has_every_fact(kaggle: Callable[..., Path]) -> None:
    folder = kaggle([("a", "cat"), ("b", "cat"), ("c", "cat"), ("d", "dog"), ("e", "dog"), ("f", "dog"), ("g", "emu")])
    save(folder / "train_images" / "c.png", 1)  # the same image as b
    save(folder / "test_images" / "t1.png", 3)  # the same image as d
    save(folder / "train_images" / "f.png", 9, side=30)
    image_set = read_images(folder)
    text = "\n".join(describe(image_set, find_duplicates(image_set), 3))
    for expected in (
        "format: table",
        "id column 'id', label column 'label'",
        "training images: 7 in 3 classes",
        "  cat: 3 (42.9%)",
        "sizes: 24 to 30 pixels wide, 24 to 30 high; most often 24 x 24 (90%)",
        "test images: 3",
        "submission: as in sample_submission.csv; header id,label; one label per image",
        "near-duplicates: 2 pairs; 2 groups of up to 2 images",
        "in both train and test: 1 pair\n",
        "d (dog) and t1",
        "warning: the class 'cat' has 3 images in 2 groups that stay together, fewer than the 3 folds",
        "warning: the class 'emu' has 1 image, fewer than the 3 folds",
    ):
        assert expected in text
    assert "class 'dog'" not in text and "two labels" not in text


@pytest.mark.parametrize(
    ("classes", "rest"),
    [("abcdefghijk", "1 more class with 1 image"), ("abcdefghijkl", "2 more classes with 1 image each")],
)
def test_one_image_is_not_called_images(kaggle: Callable[..., Path], classes: str, rest: str) -> None:
    image_set = read_images(kaggle([(name, name) for name in classes]), verify=False)
    assert f"  and {rest}" in describe(image_set, find_duplicates(image_set), 2)


def test_images_that_were_left_out_are_listed(kaggle: Callable[..., Path]) -> None:
    folder = kaggle()
    (folder / "train_images" / "a3.png").write_bytes(b"")
    image_set = read_images(folder, DataOptions(skip_bad=True))
    text = "\n".join(describe(image_set, find_duplicates(image_set), 2))
    assert "left out: 1 training image\n" in text
    assert "warning: left out: train_images/a3.png (train.csv row 5): the file is empty" in text


def test_two_rows_of_one_image_are_no_near_duplicates_of_each_other(tmp_path: Path) -> None:
    rows = ["id,label", "a0,x", "a0,y", "a1,x", "a2,y"]
    for i in range(3):
        save(tmp_path / "train" / f"a{i}.png", i)
    (tmp_path / "train.csv").write_text("\n".join(rows))
    images = read_images(tmp_path)
    found = find_duplicates(images)
    lines = describe(images, found, 2)
    assert found.groups[0] == found.groups[1], "the rows stay in one fold"
    assert "near-duplicates: none but the images in several rows" in lines
    assert sum("'a0'" in line for line in lines) == 1
