"""What goes into a cross-validation and what comes out of it, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from trainer.batches.batch_loader import PixelSource
from trainer.evaluation.ambiguity import Average
from trainer.evaluation.targets import ImageWeights, Targets
from trainer.recipe.recipe import Recipe, Scalar

if TYPE_CHECKING:
    import torch

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
ALWAYS_TRAINED = -1
"""Fold number of an image that is in every training part and never held out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """Labelled images with their split, and test images."""

    pixels: PixelSource
    y: Labels
    """Class of each training image: int64, shape (n,), 0 .. num_classes - 1."""
    folds: Labels
    """Fold in which each training image is held out: int64, shape (n,), 0 .. K - 1, or `ALWAYS_TRAINED`. All
    `ALWAYS_TRAINED` is a training on everything: one model, nothing held out."""
    num_classes: int
    cropped: PixelSource | None = None
    """The training images again, larger, for recipes that crop: a crop keeps its detail. None: of `pixels`."""
    weights: ImageWeights | None = None
    """How much each training image counts in every score: float64, shape (n,), finite, above 0; None: all the same. The
    training itself does not depend on it."""

    def __post_init__(self) -> None:
        """Check that the parts belong together.

        Raises:
            ValueError: different lengths, labels out of range, weights that are none, a fold that holds out nothing or
                trains on fewer than 2.
        """
        n = len(self.pixels.train)
        if self.cropped is not None and len(self.cropped.train) != n:
            raise ValueError(f"{n} images, but {len(self.cropped.train)} to crop from")
        if self.y.shape != (n,) or self.folds.shape != (n,):
            raise ValueError(f"{n} images, but labels of shape {self.y.shape} and folds of shape {self.folds.shape}")
        if self.weights is not None and not (
            self.weights.shape == (n,) and np.all(np.isfinite(self.weights) & (self.weights > 0))
        ):
            raise ValueError(f"{n} images have {n} finite weights above 0, not those of shape {self.weights.shape}")
        if n and not 0 <= int(self.y.min()) <= int(self.y.max()) < self.num_classes:
            raise ValueError(f"labels {self.y.min()} .. {self.y.max()} do not fit {self.num_classes} classes")
        if n and int(self.folds.min()) < ALWAYS_TRAINED:
            raise ValueError(f"fold {self.folds.min()} does not exist")
        for fold in range(self.num_folds):
            held_out, trained = len(self.held_out(fold)), len(self.training_part(fold))
            if trained < 2 or (held_out == 0 and np.any(self.folds != ALWAYS_TRAINED)):
                raise ValueError(f"fold {fold} trains on {trained} images and holds out {held_out}")

    def training_source(self, recipe: Recipe) -> PixelSource:
        """What a recipe's training batches are read from; all else is read from `pixels`."""
        return self.cropped if self.cropped is not None and recipe.augment.strengths["crop"] > 0.0 else self.pixels

    @property
    def targets(self) -> Targets:
        """Classes and weights of the training images, against which every score is computed."""
        return Targets(self.y, self.weights)

    @property
    def num_folds(self) -> int:
        """How many models are trained: K, or 1 where nothing is held out."""
        return max(1, int(self.folds.max(initial=ALWAYS_TRAINED)) + 1)

    def held_out(self, fold: int) -> Labels:
        """Rows that ``fold`` never trains on, ascending: int64."""
        return np.flatnonzero(self.folds == fold).astype(np.int64)

    def training_part(self, fold: int) -> Labels:
        """Rows that ``fold`` trains on, ascending: int64."""
        return np.flatnonzero(self.folds != fold).astype(np.int64)


class Verdict(StrEnum):
    """What is to happen after an epoch."""

    CONTINUE = "continue"
    PRUNE = "prune"
    """Give this recipe up."""
    STOP = "stop"
    """Write a checkpoint and return; the same call continues later. A checkpoint that cannot be written is logged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochReport:
    """All folds after the same number of epochs. NaN stands for what nothing was held out to compute from."""

    epoch: int
    """1-based."""
    epochs: int
    true_class: Floats
    """Probability that the model which has not seen an image gives its class: float32, shape (n,), NaN where the image
    is never held out."""
    metric: float
    """The metric on all held-out images together, by their weights; higher is better."""
    soft: float
    """Mean of ``true_class`` over the held-out images, by their weights: 0 .. 1. Foretells the final metric better than
    its value."""
    fold_metrics: tuple[float, ...]
    train_loss: float
    """Mean loss over the epoch's batches, of all folds."""
    seconds: float


Status = Literal["finished", "pruned", "stopped", "diverged"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CVResult:
    """How a cross-validation ended. ``n`` training images, ``m`` test images, ``C`` classes."""

    status: Status
    reason: str
    """Why it did not finish, for people; empty when finished."""
    reports: tuple[EpochReport, ...]
    """Every complete epoch of this training, those before a resume included."""
    oof: Floats
    """Out-of-fold probabilities after the last complete epoch, averaged over the views of ``recipe.tta``: float32,
    shape (n, C); rows that are never held out, and all rows before the first epoch is complete, are NaN."""
    test: Floats | None = None
    """Mean of the fold models' probabilities for the test images, over the same views: float32, shape (m, C). None
    unless finished and asked for."""
    oof_views: dict[str, Floats] = field(default_factory=dict)
    """Out-of-fold probabilities by single view, where a finished training was asked for more than ``"identity"``."""
    test_views: dict[str, Floats] = field(default_factory=dict)
    """Those of the test images by single view, likewise."""
    average: Average | None = None
    """What the mean of the fold models may be expected to be; None unless finished and something was held out."""
    machine: dict[str, Scalar] = field(default_factory=dict)
    """What the machine had a say in: device, micro_batch, precision, versions, CPU threads, seconds; on a CPU also cpu,
    its model; on a GPU also memory_peak, the most that this process's tensors took at once, in MiB, since this training
    began or was continued, and memory_planned, what `trainer.training.gpu_memory` foretold; parked, where folds waited
    on the host.
    """
    models: tuple[dict[str, torch.Tensor], ...] = ()
    """State dict of each fold's evaluated weights, on the CPU; only of a finished training that was asked to keep them.
    """

    @property
    def epochs_done(self) -> int:
        """Complete epochs."""
        return len(self.reports)
