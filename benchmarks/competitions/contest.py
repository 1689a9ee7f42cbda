"""What every rival of a search is given alike: images, folds, recipes, the project's own training, and a clock.

The rivals train with the project's trainer and its loader, so that what differs is the search alone: how fast a
trial is trained is what `benchmarks.training.throughput` measures. ``by_hand`` gives them the DataLoader of a usual
script.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.training.jpeg_loader import JpegLoader
from search.study_setup.data_folder import inspect
from search.worker.study_context import training_data
from studies.spec import StudySpec
from trainer.batches.batch_loader import BatchLoader
from trainer.data.folds import fold_groups, make_folds
from trainer.data.image_set import ImageSet
from trainer.networks.backbones import preprocessing_of
from trainer.networks.build import create_backbone
from trainer.networks.view_averaging import predict_proba
from trainer.recipe.augmentation_table import AUGMENTATIONS
from trainer.recipe.recipe import Recipe, Scalar
from trainer.training.cross_validation import cross_validate
from trainer.training.results import ALWAYS_TRAINED, CVResult, EpochReport, TrainingData, Verdict

AT_ONCE = 2
"""Trials that a rival trains at the same time, a process with one thread of torch's each. On two cores that is faster
than one trial with two threads, which wait for each other."""
AUGMENTERS = 1
"""Processes that make the batches of each. A thread instead was not faster: it holds the training up."""
WARM_UP_BATCHES = 2


class OutOfTime(Exception):
    """The clock ran out while a trial was in training; it is lost."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contest:
    """One rival's task. Pickles small: images are files."""

    images: ImageSet
    folds: NDArray[np.int64]
    """Fold of each training image, ``(n,)``: those of Retable's own search."""
    spec: StudySpec
    seed: int
    """Of the sampler and of all trainings."""
    seconds: float
    """How long the search may take once everything is imported and decoded."""
    pixels: Path
    """Folder of decoded images, filled before the clock starts."""
    place: Path
    """Folder for what the rival keeps; nobody else's."""
    by_hand: bool = False
    default_first: bool = False
    """Whether its first trial is the study's default recipe, as Retable's is."""

    @property
    def num_folds(self) -> int:
        """How many."""
        return self.spec.protocol.folds

    def loader(self) -> BatchLoader:
        """What makes the batches of one process. Close it."""
        return JpegLoader(self.images) if self.by_hand else BatchLoader(AUGMENTERS)

    def data(self, recipe: Recipe, fold: int | None) -> TrainingData:
        """The images for one fold by itself, or for all of them in lockstep."""
        folds = self.folds if fold is None else np.where(self.folds == fold, 0, ALWAYS_TRAINED)
        return training_data(self.images, recipe, folds, self.pixels)


def open_contest(folder: Path, spec: StudySpec, *, seed: int, place: Path, by_hand: bool) -> Contest:
    """Read the images of a competition, divide them as Retable does, and decode them for every backbone.

    Its clock is set by `with_clock`.

    Raises:
        DataError: the images cannot be used.
    """
    inspected = inspect(folder, spec.data.options)
    images = inspected.images
    groups = fold_groups(images, inspected.duplicates.groups)
    contest = Contest(
        images=images,
        folds=make_folds(images.y, groups, spec.protocol.folds, spec.protocol.split_seed),
        spec=spec,
        seed=seed,
        seconds=0.0,
        pixels=place / "pixels",
        place=place,
        by_hand=by_hand,
    )
    flat = spec.default_recipe()
    for backbone in spec.values_of("backbone"):
        for crop in (0.0, AUGMENTATIONS["crop"].high):
            contest.data(Recipe.from_flat({**flat, "backbone": backbone, "augment.crop": crop}), None)
    return contest


def train(
    contest: Contest,
    recipe: Recipe,
    fold: int | None,
    loader: BatchLoader,
    out_of_time: Callable[[], bool],
    on_epoch: Callable[[EpochReport], Verdict] = lambda report: Verdict.CONTINUE,
) -> CVResult:
    """Train one fold, or with None all of them in lockstep; "finished" or "diverged", with the folds' models.

    Raises:
        OutOfTime: it is left in its middle.
    """
    if isinstance(loader, JpegLoader):
        loader.resize_as(recipe)
    result = cross_validate(
        recipe,
        contest.data(recipe, fold),
        metric=contest.spec.protocol.metric,
        # Each fold with draws of its own, as in lockstep.
        seed=contest.seed if fold is None else contest.seed * contest.num_folds + fold,
        device="cpu",
        on_epoch=on_epoch,
        checkpoint=None,
        keep_models=True,
        predict_test=False,
        loader=loader,
        abandon=out_of_time,
    )
    if result.status == "stopped":
        raise OutOfTime
    return result


def warm_up(contest: Contest, loader: BatchLoader) -> None:
    """Import, build and start everything that a training needs, and take a few steps."""
    torch.set_num_threads(1)
    asked = iter(range(WARM_UP_BATCHES))
    try:
        train(contest, Recipe.from_flat(contest.spec.default_recipe()), 0, loader, lambda: next(asked, None) is None)
    except OutOfTime:
        return


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptTrial:
    """A trial that ended in time, with its models: what others train again in the end is here for nothing."""

    value: float
    """Mean of its folds' scores after the last epoch, by which it is judged."""
    recipe: dict[str, Scalar]
    models: Sequence[dict[str, torch.Tensor]]
    """State dict of each fold's model."""


def keep(contest: Contest, name: str, trial: KeptTrial) -> None:
    """Write a trial into the rival's folder, whole or not at all."""
    target = contest.place / f"{name}.pt"
    scratch = target.with_suffix(".part")
    torch.save({"value": trial.value, "recipe": trial.recipe, "models": list(trial.models)}, scratch)
    scratch.replace(target)


def kept(contest: Contest) -> list[KeptTrial]:
    """All that were kept, in the order in which they ended."""
    files = sorted(contest.place.glob("*.pt"), key=lambda path: path.stat().st_mtime_ns)
    return [KeptTrial(**torch.load(path, weights_only=True)) for path in files]


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a rival hands in: nothing, where no trial ended in time."""

    value: float | None
    """Score that it believes its best trial to have."""
    predicted: tuple[str, ...]
    """Class of each test image, in the order of ``images.test_ids``; empty where it hands in nothing."""
    recipe: dict[str, Scalar]
    trials: int
    """Begun: finished, given up early, diverged, or lost when the time was over."""
    finished: int
    seconds: float
    """From the start of the clock until nothing trained any more."""


def found(contest: Contest, *, trials: int, seconds: float) -> Found:
    """The best trial's models, averaged, on the test images. Not charged to the rival; weights are removed."""
    ended = kept(contest)
    if not ended:
        return Found(value=None, predicted=(), recipe={}, trials=trials, finished=0, seconds=seconds)
    best = max(ended, key=lambda trial: trial.value)
    recipe = Recipe.from_flat(best.recipe)
    proba = predict_test(contest, recipe, best.models)
    for path in contest.place.glob("*.pt"):
        path.unlink()
    names = contest.images.class_names
    return Found(
        value=best.value,
        predicted=tuple(names[label] for label in proba.argmax(axis=1)),
        recipe=best.recipe,
        trials=trials,
        finished=len(ended),
        seconds=seconds,
    )


def predict_test(contest: Contest, recipe: Recipe, models: Sequence[dict[str, torch.Tensor]]) -> NDArray[np.float32]:
    """Mean of the models' probabilities for the test images: float32 ``(m, C)``."""
    data = contest.data(recipe, None)
    total = np.zeros((len(data.pixels.test), data.num_classes))
    for state in models:
        model = create_backbone(recipe, data.num_classes, weights_dir=None)
        model.load_state_dict(state)
        model.eval()
        total += predict_proba(model, data.pixels.test, preprocessing=preprocessing_of(recipe.backbone))["identity"]
    return (total / len(models)).astype(np.float32)


def with_clock(contest: Contest, seconds: float, place: Path, *, default_first: bool = False) -> Contest:
    """The same contest for one rival: its time, and a folder of its own, made here."""
    place.mkdir(parents=True)
    return replace(contest, seconds=seconds, place=place, default_first=default_first)


def clock_of(seconds: float) -> Callable[[], bool]:
    """Says, from now on, whether so many seconds are over."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
