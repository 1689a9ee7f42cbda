"""Row numbers that are taken for image numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.images import save
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
