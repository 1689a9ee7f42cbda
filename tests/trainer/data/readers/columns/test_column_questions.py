"""Questions about columns of labels name what was found, and their advice works."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import DataOptions, read_images

NAMES = ["cat", "dog", "fox"] * 8


def table_of(root: Path, header: str, rows: Sequence[str]) -> Path:
    for number in range(len(rows)):
        save(root / "images" / f"{100 + number}.png", number, 8)
    lines = [header, *(f"{100 + number}.png,{row}" for number, row in enumerate(rows))]
    (root / "labels.csv").write_text("\n".join(lines))
    return root


@pytest.mark.parametrize("columns", ["class,name", "label,label_name", "label,species", "class,description"])
def test_numbers_and_names_that_contradict_each_other_are_a_question(tmp_path: Path, columns: str) -> None:
    number, name = columns.split(",")
    rows = [f"{place % 3},{label}" for place, label in enumerate(NAMES)]
    rows[5] = rows[8] = "2,cat"
    message = problems_of(table_of(tmp_path, f"file,{columns}", rows))
    assert f"it could be '{number}', '{name}'. '{number}' and '{name}' contradict each other in 2 of 24 rows" in message
    assert "such as labels.csv row 7, with '2' and 'cat': correct these rows. Choose one with --label" in message
    chosen = read_images(tmp_path, DataOptions(label_column=name), verify=False)
    assert labels_of(chosen).count("cat") == 10
    rows[5] = rows[8] = "2,fox"
    found = read_images(table_of(tmp_path, f"file,{columns}", rows), verify=False)
    assert labels_of(found) == [str(place % 3) for place in range(24)] and found.warnings == ()


@pytest.mark.parametrize("other", [["wood", "lake"], ["a", "b", "c", "d", "e"]])
def test_numbers_beside_words_of_another_question_are_a_note(tmp_path: Path, other: list[str]) -> None:
    rows = [f"{place % 3},{other[place % len(other)]}" for place in range(24)]
    found = read_images(table_of(tmp_path, "file,class,place", rows), verify=False)
    assert found.class_names == ("0", "1", "2") and found.warnings == ()
    assert any("'place' could hold them, too" in note for note in found.notes)


def test_a_row_for_both_eyes_asks_for_a_row_of_each_image(tmp_path: Path) -> None:
    patients = [f"P{number:02d}" for number in range(6)]
    for seed, patient in enumerate(patients):
        for side in "LR":
            save(tmp_path / "images" / f"{patient}_{side}.png", 2 * seed + (side == "R"), 8)
    rows = [f"{patient},{place % 3},{(place + 1) % 3}" for place, patient in enumerate(patients)]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["patient,left_grade,right_grade", *rows]))
    message = problems_of(tmp_path)
    assert "'left_grade', 'right_grade' hold a label for each of two images, and no column names these" in message
    message = problems_of(tmp_path, DataOptions(label_column="left_grade"))
    assert (
        "several begin with one: 'images/P05_L.png', 'images/P05_R.png' with 'P05'. Write one row for each" in message
    )
    advised = [f"{row.split(',')[0]}_{side}.png,{row.split(',')[1 + (side == 'R')]}" for row in rows for side in "LR"]
    table.write_text("\n".join(["image,label", *advised]))
    assert len(read_images(tmp_path, verify=False).train_ids) == 12


def test_two_sides_of_one_image_are_the_usual_question(tmp_path: Path) -> None:
    rows = [f"{place % 3},{(place + 1) % 3}" for place in range(12)]
    message = problems_of(table_of(tmp_path, "image,left_grade,right_grade", rows))
    assert "it could be 'left_grade', 'right_grade'. Choose one with --label-column" in message
    found = read_images(tmp_path, DataOptions(label_column="right_grade"), verify=False)
    assert labels_of(found) == [str((place + 1) % 3) for place in range(12)]


def test_columns_that_look_like_classes_are_named_first(tmp_path: Path) -> None:
    """As in PAD-UFES-20, where many columns say yes, no or unknown, and some are empty for half of the patients."""
    marks = ["smoke", "drink", "pesticide", "itch", "grew", "hurt", "changed", "bleed", "elevation", "biopsed", "piped"]
    header = ",".join(("image", "lesion", "country", *marks, "diagnostic"))
    rows = []
    for place in range(24):
        cells = [("True", "False", "UNK" if mark == 5 else "True")[(place + mark) % 3] for mark in range(len(marks))]
        rows.append(",".join((str(place // 2), ("", "POLAND", "ITALY")[place % 3], *cells, NAMES[place])))
    message = problems_of(table_of(tmp_path, header, rows))
    assert "the label column is ambiguous; it could be 'diagnostic', 'lesion', 'country', 'smoke'" in message
    assert "is neither 0 nor 1" not in message
    found = read_images(tmp_path, DataOptions(label_column="diagnostic"), verify=False)
    assert labels_of(found) == NAMES


def test_ids_that_all_say_train_are_no_column_of_parts(tmp_path: Path) -> None:
    """As Shopee's: the number behind train is that of a posting."""
    for i in range(8):
        save(tmp_path / "train_images" / f"x{i}.png", i, 8)
    rows = [f"train_{97 * i % 31},x{i}.png,{'ab'[i % 2]}" for i in range(8)]
    (tmp_path / "train.csv").write_text("\n".join(["posting_id,image,label_group", *rows]))
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == list("abababab") and found.train_ids == tuple(f"x{i}.png" for i in range(8))
    assert not any("parts in" in note for note in found.notes)
