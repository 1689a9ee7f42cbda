"""A table beside folders whose ids name no image: labels of images under other names, or something else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table

PLACES = ("North", "South", "West")
KINDS = ("acne", "eczema", "psoriasis")


def places(root: Path) -> Path:
    """Eight images in each of three folders."""
    for number in range(24):
        save(root / PLACES[number // 8] / f"IMG_{number:04}.png", number, 8)
    return root


def rows_of(count: int, key: str) -> list[tuple[str, str, str]]:
    return [(key.format(number), KINDS[number * 5 % 3], str(40 + number)) for number in range(count)]


@pytest.mark.parametrize("rows", [8, 24])
@pytest.mark.parametrize("key", ["S{:03}", "IMG_{:04}_orig", "IMG_{:04}.dcm", "{}.svs", "{}"])
@pytest.mark.parametrize(
    ("table", "header"),
    [
        ("Befunde.csv", ("Bild", "Befund", "Alter")),
        ("clinical.csv", ("patient_id", "diagnosis", "age")),
        ("slides.csv", ("slide", "type", "age")),
        ("data.csv", ("image", "gt", "age")),
        ("data.csv", ("Datei", "Art", "Anzahl")),
        ("datos.csv", ("Paciente", "clase", "edad")),
        ("数据.csv", ("图片", "标签", "年龄")),
        ("data.csv", ("файл", "диагноз", "возраст")),
    ],
)
def test_labels_of_images_under_other_names_are_a_question(
    tmp_path: Path, table: str, header: Sequence[str], key: str, rows: int
) -> None:
    write_table(places(tmp_path) / table, [header, *rows_of(rows, key)])
    message = problems_of(tmp_path)
    assert f"{table} names no image" in message and "--layout folders" in message
    found = read_images(tmp_path, DataOptions(layout="folders"), verify=False)
    assert labels_of(found) == [place for place in PLACES for _ in range(8)]


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("history.csv", [("epoch", "type", "loss"), *((str(i), "ab"[i % 2], f"0.{i}") for i in range(9))]),
        ("class_counts.csv", [("class", "count"), *((name, "8") for name in PLACES)]),
        ("classes.csv", [("image", "class", "kind"), *((f"{name}.svg", name, "region") for name in PLACES)]),
        ("settings.csv", [("name", "type", "value"), ("lr1", "float", "1"), ("lr2", "float", "2"), ("n1", "int", "3")]),
        ("prices.csv", [("item", "type", "price"), *((f"A{i}", "xy"[i % 2], str(i)) for i in range(9))]),
        ("images.csv", [("image", "width", "height"), *((f"X{i}", "640", "480") for i in range(24))]),
        ("copy.csv", [("image", "diagnosis"), *((f"X{i}", PLACES[i % 3]) for i in range(9))]),
        ("larger_set.csv", [("image", "diagnosis"), *((f"X{i}", (*PLACES, "East")[i % 4]) for i in range(9))]),
        ("patients.csv", [("patient", "age", "sex"), *((f"P{i}", str(40 + i), "fm"[i % 2]) for i in range(9))]),
        ("reports.csv", [("patient", "finding"), *((f"P{i}", f"the finding number {i}") for i in range(9))]),
        ("points.csv", [("image", "x", "y"), *((f"P{i}", str(i % 3), str(i % 2)) for i in range(9))]),
    ],
)
def test_another_table_beside_class_folders(tmp_path: Path, table: str, rows: Sequence[Sequence[str]]) -> None:
    write_table(places(tmp_path) / table, rows)
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == [place for place in PLACES for _ in range(8)]
