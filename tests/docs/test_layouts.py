"""Each tree of files in ``docs/data/layouts.md`` is read as the page says."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.images import save
from trainer.data.read import READERS, DataOptions, read_images

PAGE = Path(__file__).parents[2] / "docs" / "data" / "layouts.md"
IMAGES = (".jpg", ".jpeg", ".png")
BRANCH = re.compile(r"^((?:│   |    )*)[├└]── (\S+?)(/?)(?:  (.+))?$")


@dataclass(frozen=True, kw_only=True)
class Example:
    """One section: the paths of its tree with their remarks, the tables, the options, and the counts that it states."""

    title: str
    paths: dict[str, str]
    tables: dict[str, str]
    options: DataOptions
    counts: tuple[int, int, int]


def paths_of(tree: str) -> dict[str, str]:
    """The files of a drawn tree, each with the remark behind it."""
    first, *lines = tree.splitlines()
    assert first == "DATA"
    paths, folders = {}, list[str]()
    for line in lines:
        branch = BRANCH.match(line)
        assert branch is not None, line
        indent, name, slash, remark = branch.groups()
        folders = folders[: len(indent) // 4]
        if slash:
            folders.append(name)
        else:
            paths["/".join([*folders, name])] = remark or ""
    return paths


def options_of(text: str) -> DataOptions:
    """The options of the section's command, none without one."""
    commands = re.findall(r"^    search check DATA (.*)$", text, re.MULTILINE)
    words = shlex.split(commands[0]) if commands else []
    return DataOptions(
        **{n.removeprefix("--").replace("-", "_"): v for n, v in zip(words[::2], words[1::2], strict=True)}
    )


def example(section: str) -> Example:
    title, _, text = section.partition("\n")
    tree, *_ = re.findall(r"```text\n(DATA\n.*?)```", text, re.DOTALL)
    (counts,) = re.findall(r"Read as (\d+) training images in (\d+) classes, (\d+) test images?\.", text)
    return Example(
        title=title,
        paths=paths_of(tree),
        tables=dict(re.findall(r"^`([^`]+)`:\n\n```text\n(.*?)```", text, re.DOTALL | re.MULTILINE)),
        options=options_of(text),
        counts=(int(counts[0]), int(counts[1]), int(counts[2])),
    )


def examples() -> list[Example]:
    _, *sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [example(section) for section in sections]


def build(found: Example, root: Path) -> None:
    """Write the files of the tree: images, tables as the page shows them, arrays as their remarks describe them."""
    for seed, (path, remark) in enumerate(found.paths.items()):
        file = root / path
        if path in found.tables:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(found.tables[path], encoding="utf-8")
        elif file.suffix == ".npz":
            np.savez(file, **arrays(remark, seed))
        else:
            assert file.suffix.lower() in IMAGES, f"the page does not show {path}"
            save(file, seed)


def arrays(remark: str, seed: int) -> dict[str, Any]:
    """The arrays that a remark such as ``train_images: 2 x 16 x 16 x 3; train_labels: 2 labels, 0 to 1`` describes."""
    named = (part.split(": ") for part in remark.split("; "))
    return {key: array(shape, seed) for key, shape in named}


def array(remark: str, seed: int) -> np.ndarray:
    numbers = [int(number) for number in re.findall(r"\b\d+\b", remark)]
    if "labels" in remark:
        count, low, high = numbers
        return low + np.arange(count) % (high - low + 1)
    return np.random.default_rng(seed).integers(0, 256, numbers, np.uint8)


@pytest.mark.parametrize("found", examples(), ids=lambda found: found.title)
def test_a_tree_is_read_as_the_page_says(found: Example, tmp_path: Path) -> None:
    assert set(found.tables) <= set(found.paths), "a table that the tree lacks"
    build(found, tmp_path)
    images = read_images(tmp_path, found.options)
    assert (len(images.train_ids), len(images.class_names), len(images.test_ids)) == found.counts


def test_every_reader_has_a_tree(tmp_path: Path) -> None:
    readers = set()
    for number, found in enumerate(examples()):
        folder = tmp_path / str(number)
        folder.mkdir()
        build(found, folder)
        readers.add(read_images(folder, found.options, verify=False).reader)
    assert readers == set(READERS)
