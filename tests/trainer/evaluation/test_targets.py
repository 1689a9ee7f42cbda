"""Targets: selecting images keeps class and weight together, and means are weighted."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.targets import ImageWeights, Targets, effective_images, mean_error, mean_over

Y = np.array([0, 2, 1, 1])
WEIGHTS = np.array([1.0, 3.0, 0.5, 1.5])


@pytest.mark.parametrize("rows", [np.array([True, False, True, True]), np.array([0, 0, 3]), slice(1, 3)])
def test_selected_images_keep_class_and_weight(rows: np.ndarray | slice) -> None:
    part = Targets(Y, WEIGHTS).select(rows)
    assert part.image_weights is not None
    assert (part.y.tolist(), part.image_weights.tolist()) == (Y[rows].tolist(), WEIGHTS[rows].tolist())
    assert len(part) == len(Y[rows])
    unweighted = Targets(Y).select(rows)
    assert unweighted.image_weights is None and unweighted.y.tolist() == Y[rows].tolist()


def test_means_use_the_weights() -> None:
    values = np.array([0.1, 0.9, 0.4, 0.3])
    assert (
        Targets(Y, WEIGHTS).mean(values)
        == mean_over(values, WEIGHTS)
        == pytest.approx(np.average(values, weights=WEIGHTS))
    )
    assert Targets(Y, WEIGHTS).mean_error(values) == mean_error(values, WEIGHTS)
    assert Targets(Y).mean(values) == values.mean() and Targets(Y).mean_error(values) == mean_error(values)


def test_weights_of_mean_one_and_the_effective_number_of_images() -> None:
    scaled = Targets(Y, WEIGHTS).mean_one_weights
    assert scaled is not None and scaled.sum() == pytest.approx(4.0) and scaled[1] == pytest.approx(2 * scaled[3])
    assert Targets(Y, WEIGHTS).effective_images == effective_images(WEIGHTS) == pytest.approx(36.0 / 12.5)
    assert Targets(Y).mean_one_weights is None and Targets(Y).effective_images == 4.0


@pytest.mark.parametrize(
    "weights", [np.ones(3), np.ones((4, 1)), np.array([1.0, -1.0, 1.0, 1.0]), np.array([1.0, np.inf, 1.0, 1.0])]
)
def test_weights_that_do_not_belong_to_the_labels_are_refused(weights: ImageWeights) -> None:
    with pytest.raises(ValueError, match="weights"):
        Targets(Y, weights)
