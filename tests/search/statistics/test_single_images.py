"""A gain that hangs on a single image is no evidence."""

from __future__ import annotations

import numpy as np
import pytest

from search.statistics.paired_gain import Gain, exceeds_one_image, paired_gain
from trainer.evaluation.targets import Targets


def predictions(n: int, right: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Probabilities of two classes, the first ``right`` images right, for images of class 0."""
    return np.where(np.arange(n)[:, None] < right, [0.9, 0.1], [0.1, 0.9])


@pytest.mark.parametrize("n", [20, 100, 5000])
def test_one_image_gains_its_standard_error(n: int) -> None:
    targets = Targets(np.zeros(n, np.int64))
    old = predictions(n, 10)
    one, three = (paired_gain("accuracy", targets, predictions(n, 10 + more), old) for more in (1, 3))
    assert one.mean == pytest.approx(one.error), "rounding would decide whether it is real"
    assert not exceeds_one_image(one, "accuracy", n)
    assert three.real and exceeds_one_image(three, "accuracy", n), "two of three images are beyond their error"


def test_probabilities_change_on_all_images() -> None:
    gain = Gain(mean=0.011, error=0.01)
    assert exceeds_one_image(gain, "log_loss", 100) and not exceeds_one_image(gain, "accuracy", 100)
    assert not exceeds_one_image(Gain(mean=float("nan"), error=float("nan")), "log_loss", 100)
