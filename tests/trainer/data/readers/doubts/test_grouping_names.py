"""File names that say which images are of one patient, video or slide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, save
from trainer.data.read import DataOptions, read_images
from trainer.data.readers.doubts.groups.file_name_groups import beginnings_that_group
from trainer.formats.delimited import write_table

FRAMES = "video{g:02}_frame{i:04}.png"
SIDES = ("front", "left", "right")


def folders(root: Path, form: str) -> tuple[list[str], list[str]]:
    """Two class folders with five videos each: the paths, and the video of each."""
    paths, groups = [], []
    for number, name in enumerate(("ng", "ok")):
        for g in range(5):
            for i in range(3):
                path = f"{name}/{form.format(g=10 * number + g, i=i, side=SIDES[i])}"
                save(root / path, 100 * number + 10 * g + i, 8)
                paths.append(path)
                groups.append(f"{10 * number + g:02}")
    return paths, groups


@pytest.mark.parametrize(
    "form", [FRAMES, "P{g:03}_{i}.png", "slide{g}_x{i}_y3.png", "person{g}_bacteria_{i}.jpeg", "{g:03}_{side}.jpeg"]
)
def test_beginnings_of_names_are_named_and_the_advice_works(tmp_path: Path, form: str) -> None:
    paths, groups = folders(tmp_path, form)
    (warning,) = read_images(tmp_path, verify=False).warnings
    begins = form.format(g=0, i=0, side=SIDES[0]).split("_")[0]
    assert f"the names of 30 images have 10 beginnings, such as {begins!r} for 3 images" in warning
    assert f"one row for each image: {paths[0]},ng,{begins}; --group-column group" in warning
    rows = [(path, path.split("/")[0], group) for path, group in zip(paths, groups, strict=True)]
    write_table(tmp_path / "labels.csv", [("image", "label", "group"), *rows])  # as it says
    found = read_images(tmp_path, DataOptions(group_column="group"), verify=False)
    assert (labels_of(found), found.groups, found.warnings) == ([row[1] for row in rows], tuple(groups), ())


def test_a_table_gets_a_column(tmp_path: Path) -> None:
    paths, groups = folders(tmp_path / "images", FRAMES)
    rows = [(path, path.split("/")[0]) for path in paths]
    write_table(tmp_path / "labels.csv", [("image", "label"), *rows])
    (warning,) = read_images(tmp_path, verify=False).warnings
    assert "add a column group to the table, such as video00 for images/ng/video00_frame0000.png" in warning
    joined = [(*row, group) for row, group in zip(rows, groups, strict=True)]
    write_table(tmp_path / "labels.csv", [("image", "label", "group"), *joined])
    assert read_images(tmp_path, DataOptions(group_column="group"), verify=False).warnings == ()


def test_versions_beside_names_that_begin_alike(tmp_path: Path) -> None:
    """One version with a known name does not end the search for the others."""
    forms = ("scan{g}_a1.png", "scan{g}_b2.png", "scan{g}_c3.png")
    for form in forms:
        folders(tmp_path, form)
    for g in range(5):
        save(tmp_path / "ng" / f"scan{g}_a1_flip.png", 900 + g, 8)
    (warning,) = read_images(tmp_path, verify=False).warnings
    assert "the names of 30 images have 10 beginnings, such as 'scan0' for 3 images" in warning


def _names(form: str, classes: Sequence[str]) -> tuple[list[str], list[str]]:
    names = [form.format(c=c, n=n, i=i, g=i // 4) for n, c in enumerate(classes) for i in range(40)]
    return names, [c for c in classes for _ in range(40)]


@pytest.mark.parametrize(
    "form",
    [
        "{c}/{c}_{i:03}.jpg",  # a counter of each class
        "{c}/image_{i:04}.jpg",  # Caltech 101
        "{c}/IMG_{i:04}.jpg",
        "{c}/n0144076{n}_{i}.JPEG",  # ImageNet
        "{c}/{c}_{i:04}_7{i}1.jpg",  # CUB
        "{c}/00000_{i:05}.png",
        "{c}/IMG_202101{g:02}_{i:06}.jpg",
        "{c}/IMG-2021010{g}-WA{i:04}.jpg",
        "{c}/{i}.png",
        "{c}/1000{i}35{n}_a{i}c_b.jpg",  # Flickr
        "{c}/{i:02}ab4c-12{n}4-9a.jpg",
        "{c}/{n}_{i}.png",
        "{c}/batch{g}_{i}.png",  # shared by all classes
        "{c}/ISIC_{n}0{i:05}.jpg",
    ],
)
def test_usual_names_are_not(form: str) -> None:
    assert beginnings_that_group(*_names(form, ("cat", "dog", "emu"))) == []
