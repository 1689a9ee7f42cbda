"""The cache of resized images: one file, created once and mapped by every process."""

from __future__ import annotations

import errno
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.images import NO_ARRAYS, fill_disk, sample_image, save
from trainer.batches.pixel_cache import Pixels, open_pixels
from trainer.data.read import DataError, ImageSet, read_images
from trainer.inference.images import resize_image


@pytest.fixture
def image_set(tmp_path: Path) -> ImageSet:
    data = tmp_path / "data"
    for seed in range(4):
        save(data / "train" / ("cat" if seed % 2 else "dog") / f"{seed}.png", seed, side=20 + seed)
    for seed in range(3):
        save(data / "test" / f"{seed}.png", 100 + seed)
    return read_images(data, verify=False)


def opened(image_set: ImageSet, tmp_path: Path, size: int = 16, resize: str = "squash") -> Pixels:
    return open_pixels(image_set, size=size, resize=resize, interpolation="bilinear", folder=tmp_path / "pixels")


def test_pixels_are_the_resized_images_in_order(image_set: ImageSet, tmp_path: Path) -> None:
    pixels = opened(image_set, tmp_path)
    assert (pixels.train.shape, pixels.test.shape) == ((4, 16, 16, 3), (3, 16, 16, 3))
    assert pixels.train.dtype == np.uint8
    for index, seed in enumerate([1, 3, 0, 2]):  # cat, then dog
        expected = resize_image(sample_image(seed, 20 + seed), 16, "squash", "bilinear")
        np.testing.assert_array_equal(pixels.train[index], expected)
    np.testing.assert_array_equal(pixels.test[2], resize_image(sample_image(102), 16, "squash", "bilinear"))
    with pytest.raises(ValueError, match="read-only"):
        pixels.train[0] = 0


def test_the_file_is_made_once_and_travels_as_a_path(image_set: ImageSet, tmp_path: Path) -> None:
    pixels = opened(image_set, tmp_path)
    made = pixels.path.stat().st_ino
    os.utime(pixels.path, (0, 0))
    assert pixels.train.sum() > 0
    sent = pickle.dumps(pixels)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).test, pixels.test)
    assert opened(image_set, tmp_path).path.stat().st_ino == made
    assert pixels.path.stat().st_mtime > 0, "the time of its last use"
    assert opened(image_set, tmp_path, size=8).path != pixels.path
    assert opened(image_set, tmp_path, resize="crop").path != pixels.path


def test_the_test_images_may_be_left_out(image_set: ImageSet, tmp_path: Path) -> None:
    both = opened(image_set, tmp_path)
    train = open_pixels(
        image_set, size=16, resize="squash", interpolation="bilinear", folder=tmp_path / "pixels", with_test=False
    )
    assert train.path != both.path
    assert (train.train.shape, train.test.shape) == ((4, 16, 16, 3), (0, 16, 16, 3))
    np.testing.assert_array_equal(train.train, both.train)


@pytest.mark.parametrize("damage", ["cut", "foreign", "empty", *NO_ARRAYS])
def test_a_damaged_file_is_made_again(image_set: ImageSet, tmp_path: Path, damage: str) -> None:
    first = opened(image_set, tmp_path)
    whole = first.path.read_bytes()
    if damage == "foreign":
        np.save(first.path, np.zeros((2, 2)))
    elif damage in NO_ARRAYS:
        first.path.write_bytes(NO_ARRAYS[damage])
    else:
        first.path.write_bytes(whole[:-100] if damage == "cut" else b"")
    again = opened(image_set, tmp_path)
    assert again.path.read_bytes() == whole


def test_many_may_ask_at_the_same_time(image_set: ImageSet, tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: opened(image_set, tmp_path).train.sum(), range(6)))
    assert len(set(found)) == 1
    assert sorted(path.suffix for path in (tmp_path / "pixels").iterdir()) in ([".lock", ".npy"], [".npy"])


def test_unreadable_images_leave_no_file(image_set: ImageSet, tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/2.png"):
        (image_set.root / "train" / name).write_bytes(b"broken")
    with pytest.raises(DataError) as caught:
        opened(image_set, tmp_path)
    assert len(caught.value.problems) == 2
    assert not list((tmp_path / "pixels").glob("*.npy")) and not list((tmp_path / "pixels").glob(".*.tmp"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("room", [0, 2000])  # bytes, of 5504
def test_a_full_disk_leaves_no_file(image_set: ImageSet, tmp_path: Path, code: int, room: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fill_disk(patch, code, room)
        with pytest.raises(DataError, match="the disk is full") as caught:
            opened(image_set, tmp_path)
    folder = tmp_path / "pixels"
    assert str(folder) in str(caught.value)
    assert os.strerror(code) in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == code
    assert [path.name for path in folder.iterdir() if path.suffix != ".lock"] == []
    assert opened(image_set, tmp_path).train.shape == (4, 16, 16, 3)  # once there is room


def test_a_full_disk_spares_the_files_that_are_there(
    image_set: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(image_set, tmp_path)
    whole = first.path.read_bytes()
    fill_disk(monkeypatch, errno.ENOSPC, 2000)
    with pytest.raises(DataError, match="the disk is full"):
        opened(image_set, tmp_path, size=32)
    assert opened(image_set, tmp_path).path.read_bytes() == whole


def test_another_error_of_the_disk_is_not_reported_as_full(
    image_set: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch, errno.EIO, 2000)
    with pytest.raises(DataError, match=r"cannot be written to .*Input/output error"):
        opened(image_set, tmp_path)
