"""A study opened for training: what a worker keeps between the trials of one study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
from numpy.typing import NDArray

from search.runtime.home import Home
from search.study_state.study import Study
from search.study_state.study_targets import read_folds, read_weights
from search.tuning.pruners import Pruner
from search.worker.lease import LEASE
from search.worker.task import Task
from storage.artifacts import ArtifactFolder
from storage.stores import Stores
from storage.values import TrialOutcome
from studies.spec import StudySpec
from trainer.batches.pixel_cache import Pixels, open_pixels, side_to_crop_from
from trainer.data.read import ImageSet
from trainer.evaluation.targets import ImageWeights, Targets
from trainer.recipe.recipe import Recipe
from trainer.training.results import ALWAYS_TRAINED, TrainingData

if TYPE_CHECKING:
    import torch

    from trainer.batches.batch_loader import BatchLoader


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """One study, opened for training. Nothing here changes from trial to trial: a trial depends on its recipe alone."""

    worker: str
    stores: Stores
    study: Study
    optuna_study: optuna.Study
    pruner: Pruner
    images: ImageSet
    home: Home
    device: torch.device
    loader: BatchLoader
    train: Callable[[StudyContext, Task], TrialOutcome | None]
    """How an item becomes an outcome: `search.worker.train_item.train`; benchmarks replace it."""
    weights_dir: Path | None = None
    lease: float = LEASE
    """Seconds; see `search.worker.lease`."""

    @property
    def spec(self) -> StudySpec:
        """The study's specification."""
        return self.study.spec

    @property
    def artifacts(self) -> ArtifactFolder:
        """Where checkpoints and refitted weights lie."""
        return ArtifactFolder(self.home.artifacts)

    def training_data(self, recipe: Recipe, split: int | None) -> TrainingData:
        """Pixels at the recipe's size, labels and the frozen folds of a split; without a split, nothing is held out."""
        folds = (
            np.full(len(self.images.y), ALWAYS_TRAINED) if split is None else read_folds(self.stores, self.study, split)
        )
        return training_data(self.images, recipe, folds, self.home.pixels, self.image_weights)

    @cached_property
    def image_weights(self) -> ImageWeights | None:
        """How much each training image counts in the study's scores, ``(n,)``; None: all the same."""
        return read_weights(self.stores, self.study)

    @property
    def targets(self) -> Targets:
        """Classes and weights of the training images, against which every score is computed."""
        return Targets(self.images.y, self.image_weights)


def training_data(
    images: ImageSet,
    recipe: Recipe,
    folds: NDArray[np.int64],
    folder: Path,
    image_weights: ImageWeights | None = None,
) -> TrainingData:
    """Pixels at the recipe's size, decoded into ``folder`` unless they are there, with labels and folds ``(n,)``, and
    how much each image counts in scores, ``(n,)`` (None: all the same).

    Where the recipe crops, the training images are there once more, larger, for crops that keep their detail.
    """
    from trainer.networks.backbones import preprocessing_of

    interpolation = preprocessing_of(recipe.backbone).interpolation

    def pixels(size: int, with_test: bool) -> Pixels:
        return open_pixels(
            images,
            size=size,
            resize=recipe.resize,
            interpolation=interpolation,
            folder=folder,
            with_test=with_test,
        )

    crops = recipe.augment.strengths["crop"] > 0.0
    return TrainingData(
        pixels=pixels(recipe.image_size, with_test=True),
        cropped=pixels(side_to_crop_from(recipe.image_size), with_test=False) if crops else None,
        y=images.y,
        folds=folds,
        num_classes=len(images.class_names),
        image_weights=image_weights,
    )
