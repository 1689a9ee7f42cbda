"""Usual layouts of data sets, each as a function of the names of three classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.trainer.data.changed.data_set import DataSet, Table

TRAIN = range(24)
TESTS = range(24, 33)
Classes = tuple[str, str, str]
KIND = (0, 1, 2, 0, 0, 1, 2, 1, 0, 2, 0, 1)
"""Class of an image by its number, in no simple order."""


def kind(number: int) -> int:
    return KIND[number % len(KIND)]


def _of(classes: Classes, numbers: range) -> dict[int, str]:
    return {number: classes[kind(number)] for number in numbers}


def _table(classes: Classes, numbers: range, *columns: str, **options: Any) -> Table:
    return Table(images=tuple(numbers), columns=columns, cells=tuple((classes[kind(n)],) for n in numbers), **options)


def name(number: int) -> str:
    """A file name whose order is not that of the numbers."""
    return f"IMG_{(number * 37) % 101 + 200}.png"


def class_folders(classes: Classes) -> DataSet:
    labels = _of(classes, TRAIN)
    return DataSet(labels=labels, tests=frozenset(), images={n: f"{labels[n]}/{name(n)}" for n in TRAIN})


def class_folders_of_parts(classes: Classes) -> DataSet:
    both = _of(classes, range(33))
    images = {n: f"{'test' if n in TESTS else 'train'}/{both[n]}/{name(n)}" for n in both}
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(TESTS), images=images)


def class_folders_and_unlabelled_tests(classes: Classes) -> DataSet:
    labels = _of(classes, TRAIN)
    images = {n: f"train/{labels[n]}/{name(n)}" for n in TRAIN} | {n: f"test/{name(n)}" for n in TESTS}
    return DataSet(labels=labels, tests=frozenset(TESTS), images=images)


def class_folders_beside_tests(classes: Classes) -> DataSet:
    labels = _of(classes, TRAIN)
    images = {n: f"{labels[n]}/{name(n)}" for n in TRAIN} | {n: f"test_images/{name(n)}" for n in TESTS}
    return DataSet(labels=labels, tests=frozenset(TESTS), images=images)


def competition(classes: Classes) -> DataSet:
    images = {n: f"train/{name(n)}" for n in TRAIN} | {n: f"test/{name(n)}" for n in TESTS}
    tables = {
        "train.csv": _table(classes, TRAIN, "id", "label", spelling="stem"),
        "sample_submission.csv": Table(
            images=tuple(TESTS), columns=("id", "label"), cells=tuple((classes[0],) for _ in TESTS), spelling="stem"
        ),
    }
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(TESTS), images=images, tables=tables)


def table_of_names(classes: Classes) -> DataSet:
    images = {n: f"images/{name(n)}" for n in TRAIN}
    table = _table(classes, TRAIN, "filename", "label", spelling="name")
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(), images=images, tables={"labels.csv": table})


def table_of_paths(classes: Classes) -> DataSet:
    images = {n: f"images/{n % 2}/{name(n)}" for n in TRAIN}
    table = _table(classes, TRAIN, "path", "category")
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(), images=images, tables={"data.csv": table})


def table_of_parts(classes: Classes) -> DataSet:
    numbers = range(33)
    cells = tuple((classes[kind(n)], "test" if n in TESTS else "train") for n in numbers)
    table = Table(images=tuple(numbers), columns=("image", "label", "split"), cells=cells, spelling="name")
    images = {n: f"images/{name(n)}" for n in numbers}
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(TESTS), images=images, tables={"metadata.csv": table})


def one_hot(classes: Classes) -> DataSet:
    cells = tuple(tuple("1" if kind(n) == k else "0" for k in range(3)) for n in TRAIN)
    table = Table(images=tuple(TRAIN), columns=("image", *classes), cells=cells, spelling="stem")
    images = {n: f"images/{name(n)}" for n in TRAIN}
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(), images=images, tables={"GroundTruth.csv": table})


def lists_of_parts(classes: Classes) -> DataSet:
    images = {n: f"images/{name(n)}" for n in range(33)}
    tables = {
        "train.txt": _table(classes, TRAIN, delimiter=" "),
        "test.txt": _table(classes, TESTS, delimiter=" "),
    }
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(TESTS), images=images, tables=tables)


def numbers_and_class_list(classes: Classes) -> DataSet:
    images = {n: f"images/{name(n)}" for n in TRAIN}
    tables = {"labels.csv": _table(("0", "1", "2"), TRAIN, "file", "class_id", spelling="name")}
    texts = {"classes.txt": "".join(f"{each}\n" for each in classes)}
    return DataSet(labels=_of(("0", "1", "2"), TRAIN), tests=frozenset(), images=images, tables=tables, texts=texts)


def numbers_and_class_json(classes: Classes) -> DataSet:
    data = numbers_and_class_list(classes)
    texts = {"label_map.json": json.dumps({each: n for n, each in enumerate(classes)}, ensure_ascii=False)}
    return DataSet(labels=data.labels, tests=data.tests, images=data.images, tables=data.tables, texts=texts)


def json_records(classes: Classes) -> DataSet:
    images = {n: f"images/{name(n)}" for n in TRAIN}
    table = _table(classes, TRAIN, "file", "label", spelling="name", form="records")
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(), images=images, tables={"labels.json": table})


def json_lines(classes: Classes) -> DataSet:
    images = {n: f"{'test' if n in TESTS else 'train'}/{name(n)}" for n in range(33)}
    tables = {
        "train/metadata.jsonl": _table(classes, TRAIN, "file_name", "label", spelling="name", form="lines"),
        "test/metadata.jsonl": _table(classes, TESTS, "file_name", "label", spelling="name", form="lines"),
    }
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(TESTS), images=images, tables=tables)


def tables_of_parts(classes: Classes) -> DataSet:
    images = {n: f"images/{name(n)}" for n in range(33)}
    tables = {
        "train.csv": _table(classes, TRAIN, "image", "label", spelling="name"),
        "test.csv": _table(classes, TESTS, "image", "label", spelling="name"),
    }
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(TESTS), images=images, tables=tables)


def class_folders_and_tables_of_parts(classes: Classes) -> DataSet:
    both = _of(classes, range(33))
    images = {n: f"{both[n]}/{name(n)}" for n in both}
    tables = {
        "train.csv": _table(classes, TRAIN, "Filename", "ClassName"),
        "test.csv": _table(classes, TESTS, "Filename", "ClassName"),
    }
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(TESTS), images=images, tables=tables)


def class_folders_and_lists_of_parts(classes: Classes) -> DataSet:
    both = _of(classes, range(33))
    images = {n: f"images/{both[n]}/{name(n)}" for n in both}
    tables = {
        f"meta/{part}.txt": Table(images=tuple(numbers), cells=tuple(() for _ in numbers))
        for part, numbers in (("train", TRAIN), ("test", TESTS))
    }
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(TESTS), images=images, tables=tables)


def parts_in_a_second_table(classes: Classes) -> DataSet:
    numbers = range(33)
    images = {n: f"images/{name(n)}" for n in numbers}
    cells = tuple((str(640 + n % 2), "FM"[n % 2], "test" if n in TESTS else "train") for n in numbers)
    parts = Table(images=tuple(numbers), columns=("image", "width", "sex", "split"), cells=cells, spelling="name")
    tables = {"labels.csv": _table(classes, numbers, "image", "label", spelling="name"), "metadata.csv": parts}
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(TESTS), images=images, tables=tables)


def flags_in_a_second_table(classes: Classes) -> DataSet:
    data = parts_in_a_second_table(classes)
    cells = tuple((str(n in TESTS),) for n in range(33))
    flags = Table(images=tuple(range(33)), columns=("image", "is_test"), cells=cells, spelling="name")
    return replace(data, tables={"labels.csv": data.tables["labels.csv"], "flags.csv": flags})


def class_folders_and_parts_in_a_table(classes: Classes) -> DataSet:
    data = parts_in_a_second_table(classes)
    images = {n: f"{classes[kind(n)]}/{name(n)}" for n in range(33)}
    cells = tuple((str(640 + n), "test" if n in TESTS else "train") for n in range(33))
    parts = Table(images=tuple(range(33)), columns=("image", "size", "split"), cells=cells, spelling="name")
    return replace(data, images=images, tables={"metadata.csv": parts})


def two_image_folders(classes: Classes) -> DataSet:
    images = {n: f"HAM_images_part_{1 + n // 14}/{name(n)}" for n in TRAIN}
    cells = tuple((f"HAM_{n // 2:07}", classes[kind(n)], str(30 + n)) for n in TRAIN)
    table = Table(images=tuple(TRAIN), columns=("image_id", "lesion_id", "dx", "age"), cells=cells, spelling="stem")
    return DataSet(labels=_of(classes, TRAIN), tests=frozenset(), images=images, tables={"HAM_metadata.csv": table})


def numbered_lists(classes: Classes) -> DataSet:
    numbers = range(33)
    images = {n: f"images/{kind(n) + 1:03}.{classes[kind(n)]}/{name(n)}" for n in numbers}

    def lines(cell: Callable[[int], str]) -> str:
        return "".join(f"{n + 1} {cell(n)}\n" for n in numbers)

    texts = {
        "images.txt": lines(lambda n: images[n].removeprefix("images/")),
        "image_class_labels.txt": lines(lambda n: str(kind(n) + 1)),
        "train_test_split.txt": lines(lambda n: "0" if n in TESTS else "1"),
        "classes.txt": "".join(f"{k + 1} {k + 1:03}.{each}\n" for k, each in enumerate(classes)),
    }
    labels = {n: f"{kind(n) + 1:03}.{classes[kind(n)]}" for n in TRAIN}
    return DataSet(labels=labels, tests=frozenset(TESTS), images=images, texts=texts)


LAYOUTS: dict[str, Callable[[Classes], DataSet]] = {
    each.__name__: each
    for each in (
        class_folders,
        class_folders_of_parts,
        class_folders_and_unlabelled_tests,
        class_folders_beside_tests,
        competition,
        table_of_names,
        table_of_paths,
        table_of_parts,
        one_hot,
        lists_of_parts,
        numbers_and_class_list,
        numbers_and_class_json,
        json_records,
        json_lines,
        tables_of_parts,
        class_folders_and_tables_of_parts,
        class_folders_and_lists_of_parts,
        two_image_folders,
        numbered_lists,
        parts_in_a_second_table,
        flags_in_a_second_table,
        class_folders_and_parts_in_a_table,
    )
}
