from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, problems_of, save
from trainer.data.read import read_images
from trainer.formats.delimited import write_table

CLASSES = ("n01440764", "n01443537", "n01484850")


def localization(root: Path, *, last: str = "", flat: bool = False) -> Path:
    """ImageNet's challenge: boxes with their class, validation images, and a sample of test images."""
    place = root if flat else root / "ILSVRC" / "Data" / "CLS-LOC"
    rows = []
    for seed in range(12):
        name, wanted = f"{CLASSES[seed % 3]}_{seed}", CLASSES[seed % 3]
        save(place / "train" / ("" if flat else wanted) / f"{name}.png", seed, 8)
        rows.append((name, f"{wanted} {seed} 2 30.5 40 " * (1 + seed % 2)))
    rows[-1] = (rows[-1][0], last or rows[-1][1])
    write_table(root / "LOC_train_solution.csv", [("ImageId", "PredictionString"), *rows])
    for part in ("val", "test"):
        for seed in range(4):
            save(place / part / f"{part}_{seed}.png", 50 + seed, 8)
        listing = [(f"{part}_{seed}", f"{CLASSES[0]} 1 2 3 4") for seed in range(4)]
        name = "LOC_val_solution" if part == "val" else "LOC_sample_submission"
        write_table(root / f"{name}.csv", [("ImageId", "PredictionString"), *listing])
    return root


@pytest.mark.parametrize("flat", [True, False])
def test_the_class_before_a_box_is_the_label(tmp_path: Path, flat: bool) -> None:
    found = read_images(localization(tmp_path, flat=flat), verify=False)

    assert found.class_names == CLASSES
    assert labels_of(found) == [CLASSES[seed % 3] for seed in range(12)]
    assert found.test_ids == tuple(f"test_{seed}" for seed in range(4))
    assert any("lists boxes" in note for note in found.notes)


def test_boxes_of_two_classes_are_an_error(tmp_path: Path) -> None:
    message = problems_of(localization(tmp_path, last=f"{CLASSES[2]} 1 2 3 4 {CLASSES[0]} 5 6 7 8"))

    assert "LOC_train_solution.csv row 13" in message
    assert CLASSES[0] in message and CLASSES[2] in message


@pytest.mark.parametrize("cell", ["1.0 5 6 7 8", "cat 5 6 7", "cat 5 6 7 8 9", "cat"])
def test_other_cells_are_no_boxes(tmp_path: Path, cell: str) -> None:
    for i in range(6):
        save(tmp_path / "train" / f"{i}.png", i, 8)
    rows = [(str(i), cell if i % 2 else f"{cell} other") for i in range(6)]
    write_table(tmp_path / "train.csv", [("id", "label"), *rows])

    assert labels_of(read_images(tmp_path, verify=False)) == [label for _, label in rows]


def test_labels_of_one_word_and_numbers_stay(tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / "train" / f"{i}.png", i, 8)
    rows = [(str(i), "mix 1 2 3 4" if i % 2 else "mix 4 3 2 1") for i in range(6)]
    write_table(tmp_path / "train.csv", [("id", "label"), *rows])

    assert labels_of(read_images(tmp_path, verify=False)) == [label for _, label in rows]
