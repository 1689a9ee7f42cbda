"""Folders that may be several parts of the same classes are named in a warning, together and with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.images import labels_of, save
from trainer.data.read import read_images

CALTECH = (
    *("Faces", "Faces_easy", "Leopards", "car_side", "cougar_body", "cougar_face", "crab", "crayfish", "crocodile"),
    *("crocodile_head", "flamingo", "flamingo_head", "sea_horse", "starfish", "water_lilly", "wild_cat", "yin_yang"),
)


def warnings_of(root: Path, names: tuple[str, ...]) -> str:
    for number, name in enumerate(names):
        for image in range(2):
            save(root / name / f"{number}_{image}.png", 10 * number + image, 8)
    found = read_images(root, verify=False)
    assert set(found.class_names) == set(names)
    return "\n".join(found.warnings)


@pytest.mark.parametrize("form", ["{}_v2", "{}_google", "{}-20240101T000000Z-001", "{}_new", "old_{}", "{}Kaggle"])
def test_an_addition_to_several_names(tmp_path: Path, form: str) -> None:
    further = [form.format(name) for name in ("cats", "dogs")]
    warnings = warnings_of(tmp_path, ("cats", "dogs", "foxes", *further))
    shown = ", ".join(map(repr, sorted(further)))
    assert f"the folders {shown} are called as 'cats', 'dogs' but for the same addition" in warnings
    assert warnings.count("\n") == 0 and f"move those of {further[0]!r} into 'cats'" in warnings
    for name, other in zip(("cats", "dogs"), further, strict=True):
        for image in (tmp_path / other).iterdir():
            image.rename(tmp_path / name / image.name)
        (tmp_path / other).rmdir()
    found = read_images(tmp_path, verify=False)
    assert labels_of(found) == ["cats"] * 4 + ["dogs"] * 4 + ["foxes"] * 2 and not found.warnings


def test_additions_that_differ_in_a_number(tmp_path: Path) -> None:
    names = ("cats", "dogs", "cats-20240101T000000Z-001", "dogs-20240102T000017Z-002")
    assert "are called as 'cats', 'dogs' but for the same addition" in warnings_of(tmp_path, names)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (("2023", "2024"), ("cats", "dogs")),
        (("defect", "normal"), ("camA", "camB")),
        (("cats", "dogs"), ("augmented", "original")),
        (("apple", "banana"), ("fresh", "rotten", "unripe")),
    ],
)
@pytest.mark.parametrize("beside", [(), ("other things",)])
def test_names_that_are_all_combinations_of_words(
    tmp_path: Path, rows: tuple[str, ...], columns: tuple[str, ...], beside: tuple[str, ...]
) -> None:
    names = (*(f"{row}_{column}" for row in rows for column in columns), *beside)
    warnings = warnings_of(tmp_path, names)
    first, second = (", ".join(map(repr, half)) for half in (rows, columns))
    assert f"combine {first} with {second}, and each is read as a class of its own" in warnings
    assert f"if only {first} or only {second} are the classes, put the images of each of these" in warnings
    assert warnings.count("\n") == 0
    for name in names[: len(names) - len(beside)]:
        (tmp_path / name.partition("_")[0]).mkdir(exist_ok=True)
        for image in (tmp_path / name).iterdir():
            image.rename(tmp_path / name.partition("_")[0] / image.name)
        (tmp_path / name).rmdir()
    found = read_images(tmp_path, verify=False)
    assert set(found.class_names) == {*rows, *beside}


def test_numbers_behind_all_names(tmp_path: Path) -> None:
    warnings = warnings_of(tmp_path, ("cat_1", "cat_2", "dog_1"))
    assert "'cat_1', 'cat_2' are read as classes of their own, and so are 'dog_1'" in warnings


@pytest.mark.parametrize(
    "names",
    [
        CALTECH,
        ("mask", "no_mask", "helmet", "no_helmet"),
        ("banana", "unripe_banana", "mango", "unripe_mango"),
        ("star", "starfish", "cat", "catfish"),
        ("Potato___Early_blight", "Potato___Late_blight", "Potato___healthy", "Tomato___healthy"),
        ("red fox", "grey fox", "red wolf"),
        ("A1", "A2", "B1"),
        ("1-1", "1-2", "2-1", "2-2"),
        ("type_1", "type_2", "other things"),
        ("apple", "apple tree", "pear"),
        ("left", "right", "upper left"),
    ],
)
def test_ordinary_names_are_not_doubted(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert warnings_of(tmp_path, names) == ""
