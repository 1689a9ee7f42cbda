"""The digits that come with scikit-learn, as a competition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from trainer.data.read import DataError, ImageSet, read_images
from trainer.data.sample_data import N_TRAIN, write_digits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("samples") / "deep" / "digits")


@pytest.fixture(scope="module")
def digits(folder: Path) -> ImageSet:
    return read_images(folder, verify=False)


def test_it_is_a_competition_with_real_digits(folder: Path, digits: ImageSet) -> None:
    assert len(digits.train_ids) == N_TRAIN and len(digits.test_ids) == 1797 - N_TRAIN
    assert digits.class_names == tuple("0123456789")
    counts = digits.class_counts()
    assert counts.max() - counts.min() <= 8
    assert digits.submission is not None and digits.submission.kind == "integer"
    data = load_digits()
    for position in (0, 500, N_TRAIN - 1):
        number = int(digits.train_ids[position].removeprefix("digit_"))
        assert digits.y[position] == data.target[number]
        pixels = np.asarray(Image.open(folder / "train_images" / f"{digits.train_ids[position]}.png"))
        np.testing.assert_array_equal(np.rint(pixels / 255 * 16), data.images[number])


def test_no_test_label_is_given_away(folder: Path, digits: ImageSet) -> None:
    assert not set(digits.train_ids) & set(digits.test_ids)
    assert sorted(path.name for path in folder.iterdir()) == [
        "sample_submission.csv",
        "test_images",
        "train.csv",
        "train_images",
    ]
    assert {line.split(",")[1] for line in (folder / "sample_submission.csv").read_text().splitlines()[1:]} == {"0"}


def test_written_once_and_never_over_something_else(folder: Path, tmp_path: Path) -> None:
    before = (folder / "train.csv").stat().st_mtime_ns
    assert write_digits(folder) == folder
    assert (folder / "train.csv").stat().st_mtime_ns == before
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        write_digits(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
