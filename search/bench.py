"""A worker's bench: what it keeps between the trials of one study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna

from search.home import Home
from search.lease import LEASE
from search.ledger import Ledger
from search.training import Task, train
from storage.artifacts import ArtifactFolder
from storage.stored_studies import StoredStudy
from storage.values import TrialOutcome
from studies.spec import StudySpec
from trainer.data import ImageSet
from trainer.outcome import ALWAYS_TRAINED, TrainingData
from trainer.pixels import open_pixels
from trainer.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from trainer.loader import BatchLoader


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One study, opened for training. Nothing here changes from trial to trial: a trial depends on its recipe alone."""

    worker: str
    ledger: Ledger
    study: StoredStudy
    spec: StudySpec
    optuna_study: optuna.Study
    images: ImageSet
    home: Home
    device: torch.device
    loader: BatchLoader
    weights_dir: Path | None = None
    lease: float = LEASE
    """Seconds; see `search.lease`."""
    train: Callable[[Bench, Task], TrialOutcome | None] = train
    """How an item becomes an outcome; benchmarks replace it."""

    @property
    def artifacts(self) -> ArtifactFolder:
        """Where checkpoints and refitted weights lie."""
        return ArtifactFolder(self.home.artifacts)

    def training_data(self, recipe: Recipe, split: int | None) -> TrainingData:
        """Pixels at the recipe's size, labels and the frozen folds of a split; without a split, nothing is held out."""
        from trainer.backbones import preprocessing_of

        pixels = open_pixels(
            self.images,
            size=recipe.image_size,
            resize=recipe.resize,
            interpolation=preprocessing_of(recipe.backbone).interpolation,
            folder=self.home.pixels,
        )
        folds = np.full(len(self.images.y), ALWAYS_TRAINED) if split is None else self.ledger.folds(self.study, split)
        return TrainingData(pixels=pixels, y=self.images.y, folds=folds, num_classes=len(self.images.class_names))
