"""A study opened for training: images, sampler, pruner and device, kept between the trials of the study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
from numpy.typing import NDArray

from search.runtime.home import Home
from search.runtime.kept_networks import artifacts_of
from search.study_state.study import Study
from search.study_state.study_targets import read_class_groups, read_folds, read_pseudo_labels, read_weights
from search.tracking.tracker import TrackedStudy
from search.tracking.trackers import Trackers
from search.tuning.probing.backbones import ProbeResults
from search.tuning.promotion import Promotion
from search.tuning.pruners import Pruner, make_promotion
from search.worker.lease import LEASE
from search.worker.task import Paused, Task
from storage.artifacts import ArtifactFolder
from storage.stores import Stores
from storage.values import TrialOutcome
from studies.spec import StudySpec
from trainer.batches.pixel_cache import Pixels, open_pixels, side_to_crop_from
from trainer.data.image_set import ImageSet
from trainer.evaluation.confusion.confusable_groups import classes_of
from trainer.evaluation.targets import ImageWeights, Targets
from trainer.inference.resources import give_back_memory
from trainer.recipe.recipe import Recipe
from trainer.training.results import ALWAYS_TRAINED, TrainingData

if TYPE_CHECKING:
    import torch

    from trainer.batches.batch_loader import BatchLoader


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """One study, opened for training. Trials do not change it, so that a trial depends on its recipe alone."""

    worker: str
    """Name of the worker, see `search.runtime.process_names`."""
    stores: Stores
    study: Study
    optuna_study: optuna.Study
    pruner: Pruner
    probes: ProbeResults
    images: ImageSet
    home: Home
    device: torch.device
    loader: BatchLoader
    train: Callable[[StudyContext, Task], TrialOutcome | Paused | None]
    """Trains a work item: `search.worker.training.train_item.train`. Tests and benchmarks give another function."""
    trackers: Trackers = field(default_factory=Trackers)
    """What else records the trainings."""
    cores: int = 1
    """CPU cores of the worker."""
    weights_dir: Path | None = None
    """Folder of pre-trained weights, see `trainer.networks.build.create_backbone`."""
    lease: float = LEASE
    """Seconds, see `search.worker.lease.LEASE`."""

    @property
    def spec(self) -> StudySpec:
        """The study's specification."""
        return self.study.spec

    @cached_property
    def tracked(self) -> TrackedStudy:
        """The study as trackers know it."""
        return self.study.tracked(self.stores.database.identity)

    @cached_property
    def promotion(self) -> Promotion | None:
        """The rule by which paused trials continue; None: the study prunes its trials."""
        return make_promotion(self.spec.search_settings)

    @property
    def artifacts(self) -> ArtifactFolder:
        """The folder of checkpoints and model weights."""
        return artifacts_of(self.stores, self.home)

    def release_memory(self) -> None:
        """Give back the memory that is kept of ended trainings, so that other programs can use it."""
        if self.device.type == "cuda":
            from trainer.training.folds.memory.device_memory import release_memory

            release_memory(self.device)
        give_back_memory()

    def training_data(self, recipe: Recipe, split: int | None) -> TrainingData:
        """Training data of a recipe with the stored folds of a split. ``split=None``: no image is held out.

        A pre-training holds out the first fold alone. A study with pseudo-labels has further rows after the training
        images, which are never held out. A second stage trains on the classes of its groups alone.

        Raises:
            StorageError: the study has no pseudo-labels for this split, or its groups do not fit the images.
        """
        folds = (
            np.full(len(self.images.y), ALWAYS_TRAINED) if split is None else read_folds(self.stores, self.study, split)
        )
        if self.study.is_pretraining:
            folds = np.where(folds == 0, 0, ALWAYS_TRAINED)
        pseudo_labels = read_pseudo_labels(self.stores, self.study, split)
        data = training_data(
            self.images, recipe, folds, self.home.pixels, self.image_weights, self.home.features, pseudo_labels
        )
        groups = read_class_groups(self.stores, self.study)
        return data.only_classes(classes_of(groups)) if groups else data

    @cached_property
    def image_weights(self) -> ImageWeights | None:
        """Weight of each training image in the study's scores, ``(n,)``; None: equal weights."""
        return read_weights(self.stores, self.study)

    @property
    def targets(self) -> Targets:
        """Classes and weights of the training images, as every score uses them."""
        return Targets(self.images.y, self.image_weights)


def training_data(
    images: ImageSet,
    recipe: Recipe,
    folds: NDArray[np.int64],
    folder: Path,
    image_weights: ImageWeights | None = None,
    features: Path | None = None,
    pseudo_labels: NDArray[np.int64] | None = None,
) -> TrainingData:
    """Pixels, labels, folds and image weights for the training of a recipe.

    A recipe with crops gets a second, larger copy of the training images, so that crops keep their detail.

    Args:
        folds: fold of each training image, int64 ``(n,)``; `ALWAYS_TRAINED`: never held out.
        folder: cache of decoded images. This call adds the missing ones.
        image_weights: weight of each image in scores, ``(n,)``; None: equal weights.
        features: cache of the features of frozen backbones; None: they are not kept.
        pseudo_labels: by fold, the class of each test image or -1, ``(K, m)``; None: none.
    """
    from trainer.networks.backbones import preprocessing_of
    from trainer.training.teaching.pseudo_rows import with_pseudo_rows

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
    with_test = pseudo_labels is not None  # which are trained on, too
    own = pixels(recipe.image_size, with_test=True)
    cropped = pixels(side_to_crop_from(recipe.image_size), with_test=with_test) if crops else None
    data = TrainingData(
        pixels=own,
        cropped=cropped,
        y=images.y,
        folds=folds,
        num_classes=len(images.class_names),
        image_weights=image_weights,
        features=features,
        fingerprint=images.fingerprint,
    )
    return data if pseudo_labels is None else with_pseudo_rows(data, pseudo_labels, own, cropped, folder)
