"""Competitions that hide their test images, and tables above the folder of the data: the advice works."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("tables", [("sample_submission.csv",), ("sample_submission.csv", "test.csv"), ("test.csv",)])
def test_tables_of_hidden_test_images_are_to_be_moved_away(tmp_path: Path, count: int, tables: tuple[str, ...]) -> None:
    given = ["ab"[i % 2] for i in range(12)]
    for i in range(12):
        save(tmp_path / "train_images" / f"x{i}.png", i, 8)
    write_table(tmp_path / "train.csv", [("id", "label"), *((f"x{i}", label) for i, label in enumerate(given))])
    for name in tables:
        header, value = (("id", "label"), "a") if name.startswith("sample") else (("id", "hospital"), "h")
        write_table(tmp_path / name, [header, *((f"hidden{i}", value) for i in range(count))])
    message = problems_of(tmp_path)
    quoted = ", ".join(map(repr, tables))
    assert f"If the test images are hidden, move {quoted} out of the data folder" in message
    for name in tables:
        (tmp_path / name).unlink()
    assert labels_of(read_images(tmp_path, verify=False)) == given


@pytest.mark.parametrize("image", ["{:03}.png", "sign_{:03}_1.png"])
def test_a_table_above_the_folder_of_the_data_leads_there(tmp_path: Path, image: str) -> None:
    """As a data set of traffic signs is published: the table lists the names of the classes."""
    inner = tmp_path / "traffic_Data"
    for i in range(24):
        save(inner / "DATA" / str(i % 12) / image.format(i), i, 8)
    for i in range(12):
        save(inner / "TEST" / f"t{i:03}.png", 50 + i, 8)
    write_table(tmp_path / "labels.csv", [("ClassId", "Name"), *((str(i), f"Sign {i}") for i in range(12))])
    assert "If the folders in traffic_Data are the classes, add --layout folders" in problems_of(tmp_path)
    for found in (
        read_images(tmp_path, DataOptions(layout="folders"), verify=False),
        read_images(inner, verify=False),
    ):
        assert (len(found.train_ids), len(found.class_names), len(found.test_ids)) == (24, 12, 12)


@pytest.mark.parametrize("name", ["labels.txt", "labels.csv", "classes.txt"])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    "text", ["rust\nscab\nhealthy\n", "Speed limit\nNo entry\nStop\n", "name\nrust\nscab\nhealthy\n"]
)
def test_a_list_of_names_for_numbered_folders_is_no_table_of_labels(
    tmp_path: Path, name: str, first: int, text: str
) -> None:
    for i in range(12):
        save(tmp_path / str(first + i % 3) / f"{i}.png", i, 8)
    (tmp_path / name).write_text(text)
    found = read_images(tmp_path, verify=False)
    assert sorted(labels_of(found)) == [str(first + i // 4) for i in range(12)]


@pytest.mark.parametrize("text", ["rust\nscab\n", "rust\nrust\nscab\n", "rust\nscab\nhealthy\nwilt\n"])
def test_a_list_of_another_number_of_names_is_a_question(tmp_path: Path, text: str) -> None:
    for i in range(12):
        save(tmp_path / str(i % 3) / f"{i}.png", i, 8)
    (tmp_path / "labels.txt").write_text(text)
    assert "labels.txt names no image" in problems_of(tmp_path)
    shutil.move(tmp_path / "labels.txt", tmp_path.parent / f"{tmp_path.name}.txt")
    assert len(read_images(tmp_path, verify=False).class_names) == 3
