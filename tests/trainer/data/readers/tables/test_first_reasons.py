"""Errors of rows begin with the reason, and name the table by its path in the data folder."""

from __future__ import annotations

from pathlib import Path

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images
from trainer.formats.delimited import write_table


def test_a_name_in_two_folders_is_the_reason_that_a_class_lacks_images(tmp_path: Path) -> None:
    for i in range(16):
        save(tmp_path / "a" / f"{i}.png", i, 8)
    for i in range(8):
        save(tmp_path / "b" / f"{i}.png", 50 + i, 8)
    write_table(tmp_path / "labels.csv", [("image", "label"), *((f"{i}.png", "uv"[i // 8]) for i in range(16))])
    message = problems_of(tmp_path)
    assert message.startswith("labels.csv row 2: '0.png' could be a/0.png or b/0.png")
    assert "Else the label 'u' has no image" in message and "add its images" not in message
    rows = [(f"{'b' if i < 8 else 'a'}/{i}.png", "uv"[i // 8]) for i in range(16)]
    write_table(tmp_path / "labels.csv", [("image", "label"), *rows])
    assert labels_of(read_images(tmp_path, verify=False)) == list("uuuuuuuuvvvvvvvv")


def test_a_class_of_which_no_image_is_left_is_never_skipped(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / "a" / f"{i}.png", i, 8)
    for i in range(4):
        save(tmp_path / "b" / f"{i}.png", 50 + i, 8)
    write_table(tmp_path / "labels.csv", [("image", "label"), *((f"{i}.png", "uvw"[i // 4]) for i in range(12))])
    message = problems_of(tmp_path, DataOptions(skip_bad=True))
    assert message.startswith("labels.csv row 2: '0.png' could be a/0.png or b/0.png")
    assert message.count("row 2:") == 1 and "Else the label 'u' has no image" in message


def test_tables_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for batch in (1, 2, 3):
        for i in range(8):
            save(tmp_path / f"batch{batch}" / f"{i}.png", 10 * batch + i, 8)
        rows = [(f"{i}.png", "ab"[i % 2]) for i in range(8)]
        write_table(tmp_path / f"batch{batch}" / "labels.csv", [("image", "label"), *rows])
    assert "'batch1/labels.csv', 'batch2/labels.csv': each of these could be the table" in problems_of(tmp_path)
    found = read_images(tmp_path, DataOptions(table="batch2/labels.csv"), verify=False)
    assert found.train_images.paths[:2] == ("batch2/0.png", "batch2/1.png")
