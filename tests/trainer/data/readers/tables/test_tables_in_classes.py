"""A table inside a folder that may be a class: labels of the images there, or a description of one class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table


def folders(root: Path, *names: str, inner: str = "") -> None:
    """Folders of nine images each, whose numbers continue."""
    for place, name in enumerate(names):
        for i in range(9 * place, 9 * place + 9):
            save(root / name / inner / f"IMG_{i:04d}.png", i, 8)


def table(path: Path, *header: str, labels: Sequence[str] = "abc", count: int = 9) -> None:
    write_table(path, [header, *((f"IMG_{i:04d}.png", labels[i % len(labels)]) for i in range(count))])


@pytest.mark.parametrize(
    ("own", "others"),
    [
        ("labelled", ["pool"]),
        ("labeled", ["unlabeled"]),
        ("labelled", ["figures"]),
        ("train", ["2021"]),
        ("train", ["more", "camera2"]),
        ("Bilder", ["raw"]),
        ("batch1", ["extra", "results"]),
    ],
)
@pytest.mark.parametrize("name", ["labels.csv", "list.csv", "labels.txt"])
def test_a_table_is_read_if_the_folders_are_no_classes(tmp_path: Path, own: str, others: list[str], name: str) -> None:
    folders(tmp_path, own, *others)
    table(tmp_path / own / name, "filename", "class")
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == list("abcabcabc")
    assert all(path.startswith(f"{own}/") for path in found.train_images.paths)
    assert f"not read: {9 * len(others)} images in other folders" in str(found.warnings)


def test_one_hot_columns_are_labels(tmp_path: Path) -> None:
    folders(tmp_path, "train", "more")
    rows = [(f"IMG_{i:04d}.png", *(str(int(i % 3 == k)) for k in range(3))) for i in range(9)]
    write_table(tmp_path / "train" / "_classes.csv", [("filename", "a", "b", "c"), *rows])
    assert labels_of(read_images(tmp_path, verify=False)) == list("abcabcabc")


@pytest.mark.parametrize("inner", ["", "images"])
@pytest.mark.parametrize("names", [("May", "June", "July"), ("Bilder", "2022"), ("batch1", "all")])
def test_a_table_in_one_of_several_folders_is_a_question(tmp_path: Path, names: tuple[str, ...], inner: str) -> None:
    folders(tmp_path, *names, inner=inner)
    place = f"{names[0]}/list.csv"
    table(tmp_path / place, "filename", "class")
    message = problems_of(tmp_path)
    assert f"{place!r} may give the labels of the images beside it, such as 'a', 'b', 'c'" in message
    assert f"--table {place}" in message and "--layout folders" in message
    assert labels_of(read_images(tmp_path, DataOptions(table=place), verify=False)) == list("abcabcabc")
    assert set(read_images(tmp_path, DataOptions(layout="folders"), verify=False).class_names) == set(names)


def test_tables_with_common_labels_in_several_folders_are_a_question(tmp_path: Path) -> None:
    folders(tmp_path, "north")
    folders(tmp_path, "south")
    for name in ("north", "south"):
        table(tmp_path / name / "list.csv", "file", "label")
    assert "write one table labels.csv in the data folder, with paths such as north/1.jpg" in problems_of(tmp_path)
    table(tmp_path / "south" / "list.csv", "file", "label", labels="xyz")  # breeds of another animal, say
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("north", "south") and "not read: north/list.csv" in str(found.warnings)


@pytest.mark.parametrize(
    ("header", "labels", "warned"),
    [
        (("file", "light"), "ab", True),
        (("file", "camera"), "ab", False),
        (("file", "label"), "a", False),
        (("file", "label"), ["cat"], False),
        (("file", "label"), ["cat", "unsure"], False),
    ],
)
def test_a_table_about_one_class_leaves_the_folders_their_labels(
    tmp_path: Path, header: tuple[str, str], labels: Sequence[str], warned: bool
) -> None:
    folders(tmp_path, "cat", "dog", "raw")
    table(tmp_path / "cat" / "info.csv", *header, labels=labels)
    found = read_images(tmp_path, verify=False)
    assert found.class_names == ("cat", "dog", "raw")
    assert ("not read: cat/info.csv, which says 'a', 'b' of the images beside it" in str(found.warnings)) is warned


@pytest.mark.parametrize("name", ["labels.xlsx", "metadata.jsonl", "_annotations.coco.json"])
def test_labels_of_another_kind_inside_a_single_folder_are_a_question(tmp_path: Path, name: str) -> None:
    folders(tmp_path, "labelled", "more")
    (tmp_path / "labelled" / name).write_bytes(b"x")
    message = problems_of(tmp_path)
    assert f"labelled/{name} is not read, though it may hold the labels" in message and "--layout folders" in message
    (tmp_path / "more" / name).write_bytes(b"x")
    assert read_images(tmp_path, verify=False).class_names == ("labelled", "more")
