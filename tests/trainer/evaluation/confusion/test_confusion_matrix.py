"""The confusion matrix counts right and can be read for two classes and for a hundred."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.evaluation.confusion.confusion_matrix import confusion_matrix, confusion_matrix_png


def test_rows_are_true_classes_and_columns_predicted_ones() -> None:
    y, pred = np.array([0, 0, 0, 2, 2, 1]), np.array([0, 0, 1, 2, 0, 1])
    np.testing.assert_array_equal(confusion_matrix(y, pred, 4), [[2, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0] * 4])


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 30, 100])
def test_a_picture_of_sensible_size_is_drawn(tmp_path: Path, classes: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, 500)
    pred = np.where(rng.random(500) < 0.7, y, rng.integers(0, classes, 500))
    names = [f"class {i} $_{{}}$ with quite a long name, Vögel 鳥" for i in range(classes)]
    confusion_matrix_png(tmp_path / "confusion_matrix.png", y, pred, names)
    assert [path.name for path in tmp_path.iterdir()] == ["confusion_matrix.png"]
    with Image.open(tmp_path / "confusion_matrix.png") as image:
        image.load()
        assert image.format == "PNG"
        assert min(image.size) > 400
        assert max(image.size) < 3000


@pytest.mark.slow
def test_the_diagonal_of_perfect_predictions_is_dark_and_the_rest_light(tmp_path: Path) -> None:
    y = np.arange(40) % 40  # too many classes for numbers, so that cells are flat
    confusion_matrix_png(tmp_path / "right.png", y, y, [""] * 40)
    confusion_matrix_png(tmp_path / "wrong.png", y, np.zeros_like(y), [""] * 40)
    right, wrong = (np.asarray(Image.open(tmp_path / name).convert("L"), float) for name in ("right.png", "wrong.png"))
    # One cell in forty is as dark as it gets, in both, but only the right ones lie on a diagonal.
    dark = right < 80
    rows = np.nonzero(dark[:, : right.shape[1] // 2].any(axis=1))[0]
    assert len(rows) > right.shape[0] // 4
    assert np.abs(right - wrong).max() > 100
