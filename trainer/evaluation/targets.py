"""What predictions are scored against: the true classes of images, and how much each image counts.

Images may count differently, as those do that are more like the test images than others. Weights are relative: an image
of weight 2 counts as two of weight 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.evaluation.several_labels import as_pairs, has_several

Labels = npt.NDArray[np.int64]
"""Class of each image: int64, shape (n,), 0 .. C - 1; or (n, C), 0 and 1 for each of several labels."""
ImageWeights = npt.NDArray[np.float64]
"""How much each image counts, relative to the others: float64, shape (n,), finite, not negative."""


@dataclass(frozen=True, eq=False)
class Targets:
    """The true classes of ``n`` images and their weights."""

    y: Labels
    """True classes, ``(n,)``; of images with several labels ``(n, C)`` (`trainer.evaluation.several_labels`)."""
    image_weights: ImageWeights | None = None
    """``(n,)``; None: all images count the same."""

    def __post_init__(self) -> None:
        """Check that the weights belong to the labels.

        Raises:
            ValueError: another shape than that of the labels, or weights that are negative or not finite.
        """
        if self.image_weights is None:
            return
        if self.image_weights.shape != self.y.shape[:1]:
            raise ValueError(f"{len(self.y)} labels but weights of shape {self.image_weights.shape}")
        if not (np.isfinite(self.image_weights) & (self.image_weights >= 0.0)).all():
            raise ValueError("weights are finite and not negative")

    def __len__(self) -> int:
        """The number of images."""
        return len(self.y)

    def select(self, rows: Any) -> Targets:
        """The targets of some images, by an index of NumPy: a mask, row numbers or a slice."""
        return Targets(self.y[rows], None if self.image_weights is None else self.image_weights[rows])

    @property
    def several_labels(self) -> bool:
        """Whether an image may have several labels, or none."""
        return has_several(self.y)

    def pairs(self, proba: npt.NDArray[np.floating[Any]]) -> tuple[Targets, npt.NDArray[np.float64]]:
        """Every pair of an image and a label as an image of its own, which has the label (class 1) or not (class 0).

        Args:
            proba: of the labels, ``(n, C)``.

        Returns:
            Targets of n C images and their probabilities ``(n C, 2)``.
        """
        weights = None if self.image_weights is None else np.repeat(self.image_weights, self.y.shape[1])
        return Targets(self.y.reshape(-1), weights), as_pairs(proba)

    @property
    def effective_images(self) -> float:
        """The number of equally weighted images that give a mean with the same standard error, 1 .. n."""
        return float(len(self)) if self.image_weights is None else effective_images(self.image_weights)

    def mean(self, values: npt.NDArray[np.floating[Any] | np.bool_]) -> float:
        """Weighted mean of one value per image, ``(n,)``; n is at least 1."""
        return mean_over(values, self.image_weights)

    def mean_error(self, values: npt.NDArray[np.floating[Any]]) -> float:
        """Standard error of `mean`; NaN for fewer than two images."""
        return mean_error(values, self.image_weights)

    @property
    def mean_one_weights(self) -> ImageWeights | None:
        """The weights scaled to a mean of 1, so that their sum is the number of images; None: all the same."""
        return None if self.image_weights is None else self.image_weights / self.image_weights.mean()


def mean_over(values: npt.NDArray[np.floating[Any] | np.bool_], weights: ImageWeights | None = None) -> float:
    """Mean of ``values`` ``(n,)``, n at least 1, by ``weights`` ``(n,)``."""
    if weights is None:
        return float(values.mean(dtype=np.float64))
    return float((weights * values).sum() / weights.sum())


def mean_error(values: npt.NDArray[np.floating[Any]], weights: ImageWeights | None = None) -> float:
    """Standard error of `mean_over`; NaN for fewer than two values.

    Of a weighted mean it is ``sqrt(sum w^2 (v - mean)^2) / sum w``, times ``sqrt(N / (N - 1))`` with the effective
    number ``N`` of images. Equal weights therefore give the unweighted standard error.
    """
    if len(values) < 2:
        return float("nan")
    if weights is None:
        return float(np.std(values, ddof=1) / np.sqrt(len(values)))
    size = effective_images(weights)
    if size <= 1.0:
        return float("nan")
    residuals = weights * (values - mean_over(values, weights))
    return float(np.sqrt((residuals**2).sum() * size / (size - 1.0)) / weights.sum())


def effective_images(weights: ImageWeights) -> float:
    """The number of equally weighted images that give a mean with about the same standard error (Kish 1965):
    ``(sum w)^2 / sum w^2``, between 1 and n.
    """
    return float(weights.sum() ** 2 / (weights**2).sum())
