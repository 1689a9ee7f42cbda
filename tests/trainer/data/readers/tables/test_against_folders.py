"""Tables and lists whose labels mean the class folders of their images, by name or by number."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

NAMES = ("cat", "dog", "eel")


def listed_classes(root: Path, *, line: str, wrong: int = 0, suffix: str = ".txt", place: str = "") -> Path:
    """Ten images of each class; train lists the first seven of each with the number of its class."""
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for number, name in enumerate(NAMES):
        for i in range(10):
            save(root / place / name / f"{name}{i}.png", 10 * number + i, 8)
            given = (number + 1) % 3 if i < wrong else number
            lines["train" if i < 7 else "test"].append(line.format(name=name, i=i, number=given))
    for part, text in lines.items():
        (root / f"{part}{suffix}").write_text("\n".join(text))
    return root


LINES = ["{name}/{name}{i}.png {number}", "{name}{i}.png\t{number}", "/home/me/{name}/{name}{i}.png,{number}"]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("suffix", [".txt", ".csv"])
@pytest.mark.parametrize("place", ["", "images"])
def test_numbers_of_folders_get_their_names(tmp_path: Path, line: str, suffix: str, place: str) -> None:
    root = listed_classes(tmp_path, line=line, suffix=suffix, place=place)
    found = read_images(root, verify=False)

    prefix = f"{place}/" if place else ""
    train = {f"{prefix}{name}/{name}{i}.png": name for name in NAMES for i in range(7)}
    assert dict(zip(found.train_images.paths, labels_of(found), strict=True)) == train
    assert set(found.test_images.paths) == {f"{prefix}{name}/{name}{i}.png" for name in NAMES for i in range(7, 10)}
    assert read_images(root, DataOptions(layout="table"), verify=False).class_names == ("0", "1", "2")


@pytest.mark.parametrize("line", LINES)
def test_a_number_that_contradicts_the_folder_is_an_error(tmp_path: Path, line: str) -> None:
    root = listed_classes(tmp_path, line=line, wrong=1)

    message = problems_of(root)
    assert "3 of 21 labels contradict the folders" in message
    assert "--layout table" in message and "--layout folders" in message
    assert len(read_images(root, DataOptions(layout="table"), verify=False).y) == 21
    assert len(read_images(root, DataOptions(layout="folders"), verify=False).y) == 30


def test_labels_that_do_not_mean_the_folders_stay(tmp_path: Path) -> None:
    """Folders of cameras, which each class uses about as often."""
    for i in range(24):
        save(tmp_path / ("left", "right", "top")[i % 3] / f"p{i}.png", i, 8)
    rows = [(f"p{i}.png", str((i // 3) % 3)) for i in range(24)]
    write_table(tmp_path / "train.csv", [("image", "label"), *rows])

    assert labels_of(read_images(tmp_path, verify=False)) == [label for _, label in rows]
