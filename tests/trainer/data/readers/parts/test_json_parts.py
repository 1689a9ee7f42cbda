"""JSON files that divide the images of class folders into parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images

NAMES = tuple(f"{name}/{name}{i}.png" for name in ("cat", "dog") for i in range(6))
TRAIN, VAL, TEST = NAMES[::2], NAMES[1::4], NAMES[3::4]


def animals(root: Path, content: Any = None, name: str = "split.json") -> Path:
    """Six images of two classes each, and a JSON file beside their folders."""
    for seed, path in enumerate(NAMES):
        save(root / "images" / path, seed, 8)
    if content is not None:
        (root / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return root


def labelled(paths: tuple[str, ...]) -> list[list[Any]]:
    """CoOp's entries: path, number and name of the class."""
    return [[path, int(path.startswith("dog")), path[:3]] for path in paths]


def by_class(paths: tuple[str, ...]) -> dict[str, list[str]]:
    return {name: [path[4:] for path in paths if path.startswith(name)] for name in ("cat", "dog")}


@pytest.mark.parametrize(
    "content",
    [
        {"train": TRAIN, "val": VAL, "test": TEST},
        {"Train": [f"images/{path}" for path in TRAIN], "Valid": VAL, "Test": [path[:-4] for path in TEST]},
        {"train": labelled(TRAIN), "val": labelled(VAL), "test": labelled(TEST)},
        {"train": by_class(TRAIN), "val": by_class(VAL), "test": by_class(TEST)},
        {"classes": ["cat", "dog"], "train": [{"file": path} for path in TRAIN], "val": VAL, "test": TEST},
        {path: "train" if path in TRAIN else "val" if path in VAL else "test" for path in NAMES},
        [{"image": path, "set": "train" if path in TRAIN else "val" if path in VAL else "test"} for path in NAMES],
    ],
)
def test_images_are_divided(tmp_path: Path, content: Any) -> None:
    found = read_images(animals(tmp_path, content), verify=False)
    assert found.train_ids == TRAIN and labels_of(found) == [path[:3] for path in TRAIN]
    assert found.test_ids == TEST
    assert not [warning for warning in found.warnings if "not read: save" in warning]


def test_a_file_for_each_part(tmp_path: Path) -> None:
    animals(tmp_path)
    (tmp_path / "meta").mkdir()
    for name, paths in (("train", TRAIN + VAL), ("test", TEST)):
        (tmp_path / "meta" / f"{name}.json").write_text(json.dumps(by_class(paths)))
    found = read_images(tmp_path, verify=False)
    assert set(found.train_ids) == {*TRAIN, *VAL} and found.test_ids == TEST


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"train": ["cat/cat0.png"', "split.json is no valid JSON"),
        ("[" * 100_000, "split.json is no valid JSON"),
        ({"train": [0, 2], "test": [1]}, "split.json seems to divide the images into parts, but names none"),
        ({"fold_1": TRAIN}, "split.json seems to divide the images into parts, but names none"),
        ({"train": [["cat/cat0.png", "dog"]], "test": TEST}, "labels images/cat/cat0.png as 'dog'"),
        ({"train": {"dog": ["cat/cat0.png"]}}, "labels images/cat/cat0.png as 'dog'"),
        ({"train": TRAIN, "test": [*TEST, TRAIN[0]]}, "which is a train image by another list"),
        ({"train": TRAIN, "test": ["a.png", "b.png", TEST[0]]}, "names 2 images that the folder lacks"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: Any, problem: str) -> None:
    message = problems_of(animals(tmp_path, content))
    assert problem in message and "--layout folders" in message
    found = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    assert (len(found.y), found.test_ids) == (12, ())


def test_a_json_file_of_something_else_divides_nothing(tmp_path: Path) -> None:
    found = read_images(animals(tmp_path, {"0": ["n01", "cat"], "1": ["n02", "dog"]}, "class_index.json"), verify=False)
    assert len(found.y) == 12


def test_a_union_of_two_lists_counts_once(tmp_path: Path) -> None:
    animals(tmp_path)
    for name, paths in (("train", TRAIN), ("val", VAL), ("trainval", (*TRAIN, *VAL)), ("test", TEST)):
        (tmp_path / f"{name}.txt").write_text("\n".join(paths))
    found = read_images(tmp_path, verify=False)
    assert found.train_ids == TRAIN and found.test_ids == TEST
