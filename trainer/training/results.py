"""The inputs and results of a cross-validation as values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from trainer.batches.batch_loader import PixelSource
from trainer.common.arrays import Float32Array
from trainer.evaluation.ambiguity import Average
from trainer.evaluation.several_labels import has_several
from trainer.evaluation.targets import ImageWeights, Targets
from trainer.recipe.recipe import Recipe, Scalar

if TYPE_CHECKING:
    import torch

Labels = npt.NDArray[np.int64]
"""Class of each image: int64, shape (n,)."""
TrainingTargets = Labels | Float32Array
"""What a batch trains toward: classes, int64 ``(b,)``, or shares of all classes, float32 ``(b, C)``, rows of sum 1."""
ALWAYS_TRAINED = -1
"""Fold number of an image that is in every training part and never held out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """Labelled images with their split, and test images."""

    pixels: PixelSource
    y: Labels
    """Class of each training image: int64, shape (n,), 0 .. num_classes - 1; or (n, num_classes), 0 and 1 for each of
    several labels (`trainer.evaluation.several_labels`)."""
    folds: Labels
    """Fold in which each training image is held out: int64, shape (n,), 0 .. K - 1, or `ALWAYS_TRAINED`. If every image
    is `ALWAYS_TRAINED`, one model trains on all images and none is held out."""
    num_classes: int
    cropped: PixelSource | None = None
    """The training images again at a larger size, so that random crops keep their detail. None: recipes crop from
    `pixels`."""
    image_weights: ImageWeights | None = None
    """How much each training image counts in every score: float64, shape (n,), finite, above 0. None: all count the
    same. The weights change no training, only its scores."""

    features: Path | None = None
    """Folder in which linear probes share the features of frozen backbones; None: they are not kept."""
    fingerprint: str | None = None
    """Of the image set, by which the features can be found; None: they cannot."""
    soft_targets: Float32Array | None = None
    """Shares of all classes that the training of an image aims at, instead of its class alone: float32, shape
    (n, num_classes), or (K, n, num_classes) if each fold has its own; 0 .. 1, rows of sum 1 unless there are several
    labels. Scores, sampling and class weights go by ``y``. Fine-tuning only. None: the class."""
    suspects: tuple[Labels, ...] | None = None
    """For each fold, the rows of its training part whose labels are suspicious: int64, ascending. None: not judged."""
    suspect_weight: float = 1.0
    """How much these rows count in the training of their fold, 0 .. 1; 0: they are in no training part."""
    left_out: tuple[Labels, ...] | None = None
    """For each fold, further rows that its training part lacks, although the fold does not hold them out: int64,
    ascending. They are pseudo-labelled rows of other folds (`trainer.training.teaching.pseudo_rows`), or images of
    classes that are not learned (`only_classes`). None: none."""

    def __post_init__(self) -> None:
        """Check that the fields fit each other.

        Raises:
            ValueError: lengths differ; a label, fold number or image weight is out of range; or a fold holds out no
                image or trains on fewer than 2.
        """
        n = len(self.pixels.train)
        if self.cropped is not None and len(self.cropped.train) != n:
            raise ValueError(f"{n} images, but {len(self.cropped.train)} to crop from")
        if self.y.shape not in ((n,), (n, self.num_classes)) or self.folds.shape != (n,):
            raise ValueError(f"{n} images, but labels of shape {self.y.shape} and folds of shape {self.folds.shape}")
        if self.image_weights is not None and not (
            self.image_weights.shape == (n,) and np.all(np.isfinite(self.image_weights) & (self.image_weights > 0))
        ):
            raise ValueError(
                f"{n} images have {n} finite weights above 0, not those of shape {self.image_weights.shape}"
            )
        classes = 2 if self.several_labels else self.num_classes
        if n and not 0 <= int(self.y.min()) <= int(self.y.max()) < classes:
            raise ValueError(f"labels {self.y.min()} .. {self.y.max()} do not fit {self.num_classes} classes")
        if n and int(self.folds.min()) < ALWAYS_TRAINED:
            raise ValueError(f"fold {self.folds.min()} does not exist")
        soft = self.soft_targets
        if soft is not None and not (
            soft.shape in ((n, self.num_classes), (self.num_folds, n, self.num_classes))
            and bool(((soft >= 0.0) & (soft <= 1.001)).all())  # not of NaN
            and (self.several_labels or np.allclose(soft.sum(axis=-1), 1.0, atol=1e-4))
        ):
            raise ValueError(
                f"soft targets of shape {soft.shape} are no shares of {self.num_classes} classes of {n} images"
            )
        if self.suspects is not None and len(self.suspects) != self.num_folds:
            raise ValueError(f"suspicious rows of {len(self.suspects)} folds, but there are {self.num_folds}")
        if self.left_out is not None and len(self.left_out) != self.num_folds:
            raise ValueError(f"rows are left out of {len(self.left_out)} folds, but there are {self.num_folds}")
        for fold in range(self.num_folds):
            n_held_out, n_trained = len(self.held_out(fold)), len(self.training_part(fold))
            if n_trained < 2 or (n_held_out == 0 and np.any(self.folds != ALWAYS_TRAINED)):
                raise ValueError(f"fold {fold} trains on {n_trained} images and holds out {n_held_out}")

    def training_source(self, recipe: Recipe) -> PixelSource:
        """The images from which a recipe's training batches are read; predictions always read `pixels`."""
        return self.cropped if self.cropped is not None and recipe.augment.strengths["crop"] > 0.0 else self.pixels

    @property
    def several_labels(self) -> bool:
        """Whether an image may have several labels, or none."""
        return has_several(self.y)

    @property
    def targets(self) -> Targets:
        """Classes and weights of the training images, against which every score is computed."""
        return Targets(self.y, self.image_weights)

    @property
    def num_folds(self) -> int:
        """Number of models that are trained: K, or 1 if no image is held out."""
        return max(1, int(self.folds.max(initial=ALWAYS_TRAINED)) + 1)

    @property
    def judged_labels(self) -> dict[str, Scalar]:
        """For `CVResult.machine`: the mean numbers of suspicious and of pseudo-labelled rows of a training part, and of
        images that it lacks; empty if there were none.
        """
        found: dict[str, Scalar] = {}
        if self.suspects is not None:
            found["suspicious_labels"] = sum(map(len, self.suspects)) / len(self.suspects)
        if self.left_out is not None:
            rows, lacking = int((self.folds == ALWAYS_TRAINED).sum()), sum(map(len, self.left_out)) / len(self.left_out)
            found |= {"pseudo_labels": rows - lacking} if rows else {"left_out": lacking}
        return found

    def only_classes(self, classes: Collection[int]) -> TrainingData:
        """The same data with the images of ``classes`` alone in the training parts. All images are still held out.

        Raises:
            ValueError: images may have several labels, rows are left out already, or a fold has fewer than 2 images of
                these classes.
        """
        if self.several_labels or self.left_out is not None:
            raise ValueError("classes are left out of training parts of one label an image, where no row is left out")
        others = ~np.isin(self.y, list(classes))
        parts = range(self.num_folds)
        left_out = tuple(np.flatnonzero(others & (self.folds != fold)).astype(np.int64) for fold in parts)
        return replace(self, left_out=left_out)

    def held_out(self, fold: int) -> Labels:
        """Rows that ``fold`` never trains on, ascending: int64."""
        return np.flatnonzero(self.folds == fold).astype(np.int64)

    def targets_of(self, rows: npt.NDArray[np.integer[Any]], fold: int) -> TrainingTargets:
        """What a batch of these training images trains toward in the training part of ``fold``."""
        soft = self.soft_targets
        chosen: TrainingTargets = self.y[rows] if soft is None else soft[rows] if soft.ndim == 2 else soft[fold][rows]
        return chosen

    def training_part(self, fold: int) -> Labels:
        """Rows that ``fold`` trains on, ascending: int64."""
        trained = self.folds != fold
        if self.suspects is not None and self.suspect_weight == 0.0:
            trained[self.suspects[fold]] = False
        if self.left_out is not None:
            trained[self.left_out[fold]] = False
        return np.flatnonzero(trained).astype(np.int64)

    def row_weights(self, fold: int) -> Float32Array | None:
        """How much each row counts in the training of ``fold``: float32, shape (n,); None: all count the same."""
        weighted = self.suspects is not None and self.suspect_weight != 1.0
        if not weighted and self.left_out is None:
            return None
        weights = np.ones(len(self.y), np.float32)
        if self.suspects is not None:
            weights[self.suspects[fold]] = self.suspect_weight
        if self.left_out is not None:
            weights[self.left_out[fold]] = 0.0
        return weights


class Verdict(StrEnum):
    """What a training does next after an epoch."""

    CONTINUE = "continue"
    """Train the next epoch."""
    PRUNE = "prune"
    """End the training: the recipe is not promising."""
    FINISH = "finish"
    """Train no further epoch, and predict as after the last one."""
    STOP = "stop"
    """Write a checkpoint and return, so that the same call continues later. A failed write is logged as a warning."""
    PAUSE = "pause"
    """The same with the scores so far: the training may never continue."""


@dataclass(frozen=True, kw_only=True)
class EpochOutcome:
    """The outcome of one epoch of one fold."""

    losses: Float32Array
    """Mean loss of each batch: float32, shape (batches,); not finite if the training diverged."""
    micro_batch: int
    """Images per forward pass at the end of the epoch: the number requested, or a smaller one that fits into memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochReport:
    """The scores of all folds after the same number of epochs; NaN where no image was held out."""

    epoch: int
    """Number of this epoch, 1-based."""
    epochs: int
    """Number of epochs of the whole training."""
    true_class: Float32Array
    """Probability of each image's true class by the model that has not seen the image: float32, shape (n,), NaN for
    images that are never held out."""
    metric: float
    """The metric on all held-out images together, weighted by ``image_weights``; higher is better."""
    mean_true_probability: float
    """Mean of ``true_class`` over the held-out images, weighted by ``image_weights``: 0 .. 1. It predicts the metric
    after the last epoch better than the present metric does. The database calls it "soft"."""
    fold_metrics: tuple[float, ...]
    """The metric on each fold's held-out images alone."""
    train_loss: float
    """Mean loss over the epoch's batches, of all folds."""
    seconds: float
    prediction_seconds: float = 0.0
    """Those of ``seconds`` in which held-out images were predicted; 0: unknown."""


Status = Literal["finished", "pruned", "paused", "stopped", "diverged"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CVResult:
    """How a cross-validation ended, with ``n`` training images, ``m`` test images and ``C`` classes."""

    status: Status
    reason: str
    """Message that says why the training did not finish; empty if it did."""
    reports: tuple[EpochReport, ...]
    """One for every complete epoch, including those before the training was resumed."""
    oof: Float32Array
    """Out-of-fold probabilities after the last complete epoch, averaged over the views of ``recipe.tta``: float32,
    shape (n, C). NaN in rows that are never held out, and in all rows before the first epoch is complete."""
    test: Float32Array | None = None
    """Mean of the fold models' probabilities for the test images, over the same views: float32, shape (m, C). None
    unless the training finished and the test predictions were requested."""
    oof_views: dict[str, Float32Array] = field(default_factory=dict)
    """Out-of-fold probabilities for each single view. Empty unless the training finished and views besides
    ``"identity"`` were requested."""
    test_views: dict[str, Float32Array] = field(default_factory=dict)
    """The same for the test images, for the views that help."""
    average: Average | None = None
    """Expected score of the average of the fold models. None unless the training finished and held out images."""
    machine: dict[str, Scalar] = field(default_factory=dict)
    """Everything about the machine that can affect the result or its cost:

    - "device", "precision", "micro_batch" (images per forward pass), "threads" (of torch), "seconds" (of training);
    - "tf32": False on a GPU, where float32 is not rounded to it;
    - "torch", "timm", "albumentations": their versions;
    - "folds_abreast": how many folds trained in parallel;
    - "cpu": model and vector instructions, on a CPU;
    - "memory_peak": the most that this process's tensors took at once, in MiB, since this training began or resumed,
      and "memory_planned", the peak that `trainer.training.folds.memory.gpu_memory` predicted, on a GPU;
    - "parked": True if idle folds were offloaded to host memory;
    - "init_sha256" and "init_about": digest and origin of a custom checkpoint (`trainer.networks.custom_weights`);
    - "suspicious_labels": mean number of suspicious rows in a training part, if they are dropped or count less;
    - "pseudo_labels": mean number of pseudo-labelled rows in a training part, if there are some;
    - "left_out": mean number of images that a training part lacks, if it learns some classes alone.
    """
    models: tuple[dict[str, torch.Tensor], ...] = ()
    """State dict of each fold's evaluated network, on the CPU. Empty unless the training finished and the models were
    requested."""

    @property
    def epochs_done(self) -> int:
        """Complete epochs."""
        return len(self.reports)
