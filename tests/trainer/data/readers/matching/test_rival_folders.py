from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.lookup_errors import ImageAmbiguousError
from trainer.data.readers.matching.match_images import ColumnMatch, ImageMatcher

NUMBERS = range(1, 13)
IDS = tuple(map(str, NUMBERS))


def match(cells: Sequence[str], *paths: str) -> ColumnMatch:
    return ImageMatcher(ImageFiles(Path("data"), paths), "train").match(cells)


def padded(folder: str) -> list[str]:
    return [f"{folder}/{number:04d}.png" for number in NUMBERS]


@pytest.mark.parametrize("folder", ["train", "images", "train_images", "photos", "a/b"])
@pytest.mark.parametrize("chance", [["extra/1.png"], ["1.png"], ["extra/1.png", "docs/2.jpg"], ["misc/old/1.png"]])
def test_ids_that_all_fit_one_folder_with_zeros_beat_an_exact_name_elsewhere(folder: str, chance: list[str]) -> None:
    found = match(IDS, *padded(folder), *chance)

    assert found.paths == dict(zip(IDS, padded(folder), strict=True))
    assert not found.errors
    assert any(chance[0] in note for note in found.notes)


@pytest.mark.parametrize(
    ("file", "identifier"),
    [
        ("train/img_{:04d}.png", "img_{}"),
        ("train/{:04d}.png", "{}.png"),
        ("train/IMG_{}.png", "img_{}"),
        ("train/a{}.png", "a{}.jpg"),
    ],
)
def test_other_spellings_beat_a_chance_hit_as_well(file: str, identifier: str) -> None:
    cells = [identifier.format(number) for number in NUMBERS]
    suffix = "" if "." in cells[0] else ".png"

    found = match(cells, *map(file.format, NUMBERS), f"extra/{cells[0]}{suffix}")

    assert found.paths == {cell: file.format(number) for cell, number in zip(cells, NUMBERS, strict=True)}


@pytest.mark.parametrize("folder", ["train", "images"])
def test_two_complete_folders_are_an_error_that_lists_both(folder: str) -> None:
    found = match(IDS, *padded(folder), *(f"extra/{number}.png" for number in NUMBERS))

    assert not found.paths
    for number in NUMBERS:
        error = found.errors[str(number)]
        assert isinstance(error, ImageAmbiguousError)
        assert set(error.paths) == {f"{folder}/{number:04d}.png", f"extra/{number}.png"}


def test_copies_in_another_case_do_not_make_exact_names_doubtful() -> None:
    own = [f"originals/IMG_{number}.JPG" for number in NUMBERS]
    ids = [f"IMG_{number}" for number in NUMBERS]

    assert match(ids, *own, *(f"resized/img_{number}.jpg" for number in NUMBERS)).paths == dict(
        zip(ids, own, strict=True)
    )


def test_a_complete_training_folder_beside_exact_names_in_images_is_an_error() -> None:
    assert not match(IDS, *padded("train"), *(f"images/{number}.png" for number in NUMBERS)).paths


@pytest.mark.parametrize(
    "others", [padded("extra"), padded("train/thumbs"), ["extra/0001.png"], ["0001.png"], ["thumbs/1.jpg"]]
)
def test_exact_names_in_the_training_folder_stay(others: list[str]) -> None:
    own = [f"train/{number}.png" for number in NUMBERS]

    assert match(IDS, *own, *others).paths == dict(zip(IDS, own, strict=True))


def test_an_exact_name_elsewhere_is_no_substitute_for_a_missing_image() -> None:
    found = match(IDS, *(path for path in padded("train") if "0005" not in path), "extra/5.png")

    assert found.paths.keys() == set(IDS) - {"5"}
    assert "extra/5.png" in str(found.errors["5"]) and "train/" in str(found.errors["5"])


def test_a_path_in_the_id_decides() -> None:
    cells = ("extra/1", *IDS[1:])

    assert match(cells, *padded("train"), "extra/1.png").paths["extra/1"] == "extra/1.png"


@given(data=st.data(), shuffled=st.permutations(IDS))
def test_the_order_of_the_ids_changes_nothing(data: st.DataObject, shuffled: list[str]) -> None:
    chance: Callable[[str], str] = "extra/{}.png".format
    files = [*padded("train"), *map(chance, data.draw(st.sets(st.sampled_from(IDS))))]

    one, other = match(IDS, *files), match(shuffled, *files)

    assert one.paths == other.paths
    assert one.errors.keys() == other.errors.keys()
    assert all(path.startswith("train/") for path in one.paths.values())
