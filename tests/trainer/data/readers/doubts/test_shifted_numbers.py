"""Row numbers that are taken for image numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.images import problems_of, save
from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions
from trainer.data.read import read_images
from trainer.data.readers.doubts.shifted_numbers import shifted_numbers
from trainer.formats.delimited import write_table


@pytest.mark.parametrize(("first_id", "first_image"), [(0, 1), (1, 0), (0, 2)])
def test_a_shifted_numbering_is_refused_even_where_missing_images_may_be_left_out(
    first_id: int, first_image: int, tmp_path: Path
) -> None:
    for number in range(12):
        save(tmp_path / "train" / f"{first_image + number}.png", number, 8)
    write_table(tmp_path / "train.csv", [("", "label"), *((str(first_id + n), "ab"[n % 2]) for n in range(12))])
    with pytest.raises(DataError, match="the label of another one"):
        read_images(tmp_path, DataOptions(skip_bad=True))


def test_an_image_that_is_lost_is_left_out(tmp_path: Path) -> None:
    for number in range(1, 12):
        save(tmp_path / "train" / f"{number}.png", number, 8)
    write_table(tmp_path / "train.csv", [("id", "label"), *((str(n), "ab"[n % 2]) for n in range(12))])
    assert len(read_images(tmp_path, DataOptions(skip_bad=True)).train_ids) == 11


@given(low=st.integers(0, 50), count=st.integers(4, 40), shift=st.integers(-3, 3), padded=st.booleans())
def test_only_a_shift_is_refused(low: int, count: int, shift: int, padded: bool) -> None:
    ids = [str(number) for number in range(low, low + count)]
    images = [number + shift for number in range(low, low + count) if number + shift >= 0]
    unfound = [cell for cell in ids if int(cell) not in images]
    paths = [f"train/img_{number:06d}.png" if padded else f"train/{number}.png" for number in images]
    if not unfound:
        return
    refused = shifted_numbers(ids, unfound, paths, [*paths, "test/9999.png"])
    assert bool(refused) == (shift != 0 and len(images) == count)
    assert not shifted_numbers([*ids, "cat"], unfound, paths, paths), "names do not count"
    assert not shifted_numbers(ids, unfound, paths, [*paths, "train/9999.png"]), "other images are not the next ones"


def plants_folder(root: Path, column: str, images: int, padded: bool = False) -> Path:
    """Images 1 to ``images``, and a table of the numbers 1 to 8."""
    for number in range(1, images + 1):
        save(root / "photos" / (f"{number:03}.png" if padded else f"{number}.png"), number, 8)
    write_table(root / "labels.csv", [(column, "label"), *((str(n), "ab"[n % 2]) for n in range(1, 9))])
    return root


@pytest.mark.parametrize("column", ["plant", "patient_id", "specimen_no", "Nr", "tree", "Sample ID", ""])
@pytest.mark.parametrize("padded", [False, True])
def test_numbers_of_plants_are_no_numbers_of_their_many_images(column: str, padded: bool, tmp_path: Path) -> None:
    folder = plants_folder(tmp_path, column, 24, padded)
    name = column or "Unnamed: 0"
    assert f"{name!r} counts from 1 to 8, and the file names of the images from 1 to 24" in problems_of(folder)
    image_set = read_images(folder, DataOptions(id_column=name))
    assert len(image_set.train_ids) == 8
    assert not any("counts from" in warning for warning in image_set.warnings)


@pytest.mark.parametrize("column", ["id", "image", "photo_no", "Bildnummer", "写真番号", "frame", "Dateiname"])
def test_numbers_of_images_may_leave_some_out(column: str, tmp_path: Path) -> None:
    image_set = read_images(plants_folder(tmp_path, column, 24))
    assert len(image_set.train_ids) == 8
    assert any("counts from 1 to 8" in warning for warning in image_set.warnings)


@pytest.mark.parametrize("listing", ["sample_submission.csv", "test.csv"])
def test_test_images_explain_the_further_numbers(listing: str, tmp_path: Path) -> None:
    folder = plants_folder(tmp_path, "patient", 24)
    write_table(folder / listing, [("patient", "label"), *((str(n), "a") for n in range(9, 25))])
    image_set = read_images(folder)
    assert (len(image_set.train_ids), len(image_set.test_ids)) == (8, 16)
    assert not any("counts from" in warning for warning in image_set.warnings)


@pytest.mark.parametrize("images", [8, 9])
def test_a_number_for_nearly_each_image_is_no_question(images: int, tmp_path: Path) -> None:
    image_set = read_images(plants_folder(tmp_path, "plant", images))
    assert len(image_set.train_ids) == 8
    assert not any("counts from" in warning for warning in image_set.warnings)


def test_a_test_folder_explains_the_further_numbers(tmp_path: Path) -> None:
    folder = plants_folder(tmp_path, "patient", 8)
    for number in range(9, 25):
        save(folder / "test" / f"{number}.png", number, 8)
    image_set = read_images(folder)
    assert len(image_set.train_ids) == 8
    assert not any("counts from" in warning for warning in image_set.warnings)
