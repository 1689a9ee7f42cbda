"""Input that all rivals of Retable share: images, folds, search space, trainer and time limit.

The rivals train with the project's trainer and loader, so that only the searches differ;
`benchmarks.training.throughput` measures the speed of a trial. ``by_hand`` gives the rivals the DataLoader of a usual
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

PARALLEL_TRIALS = 2
"""Trials that a rival trains in parallel, each in a process with one torch thread. On two cores this is faster than one
trial with two threads, which wait for each other."""
LOADER_PROCESSES = 1
"""Processes that make the batches of one trial. A thread was not faster, because it shares the interpreter lock with
the training."""
WARM_UP_BATCHES = 2


class OutOfTimeError(Exception):
    """The time limit passed during a training; the trial is lost."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contest:
    """One rival's task. Its pickle is small, because the images stay in files."""

    images: ImageSet
    folds: NDArray[np.int64]
    """Fold of each training image, ``(n,)``; the same folds as in Retable's search."""
    spec: StudySpec
    seed: int
    """Seed of the sampler and of all trainings."""
    seconds: float
    """Time limit of the search; imports and decoding do not count."""
    pixels: Path
    """Folder of decoded images, filled before the clock starts."""
    work_dir: Path
    """The rival's own folder for trials and logs."""
    by_hand: bool = False
    """Whether batches come from `JpegLoader` instead of the project's loader."""
    default_first: bool = False
    """Whether the first trial is the study's default recipe, as in Retable."""

    @property
    def num_folds(self) -> int:
        """Number of folds."""
        return self.spec.protocol.folds

    def loader(self) -> BatchLoader:
        """A new loader of batches for one process; the caller closes it."""
        return JpegLoader(self.images) if self.by_hand else BatchLoader(LOADER_PROCESSES)

    def data(self, recipe: Recipe, fold: int | None) -> TrainingData:
        """Training data of one fold, or with None of all folds in lockstep."""
        folds = self.folds if fold is None else np.where(self.folds == fold, 0, ALWAYS_TRAINED)
        return training_data(self.images, recipe, folds, self.pixels)


def open_contest(folder: Path, spec: StudySpec, *, seed: int, work_dir: Path, by_hand: bool) -> Contest:
    """Read the images of a competition, make Retable's folds, and decode the images for every backbone.

    `with_clock` sets the time limit.

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
        pixels=work_dir / "pixels",
        work_dir=work_dir,
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
    """Train one fold, or with None all folds in lockstep; the result has status "finished" or "diverged", and models.

    Raises:
        OutOfTimeError: ``out_of_time`` returned true during the training.
    """
    if isinstance(loader, JpegLoader):
        loader.resize_as(recipe)
    result = cross_validate(
        recipe,
        contest.data(recipe, fold),
        metric=contest.spec.protocol.metric,
        # Each fold has random draws of its own, as in lockstep.
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
        raise OutOfTimeError
    return result


def warm_up(contest: Contest, loader: BatchLoader) -> None:
    """Import, build and start everything that a training needs, by a training of `WARM_UP_BATCHES` batches."""
    torch.set_num_threads(1)
    batches = iter(range(WARM_UP_BATCHES))
    try:
        train(contest, Recipe.from_flat(contest.spec.default_recipe()), 0, loader, lambda: next(batches, None) is None)
    except OutOfTimeError:
        return


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedTrial:
    """A trial that finished in time, with its models, so that the rival need not train the best recipe again."""

    value: float
    """Mean of the folds' scores after the last epoch."""
    recipe: dict[str, Scalar]
    models: Sequence[dict[str, torch.Tensor]]
    """State dict of each fold's model."""


def save_trial(contest: Contest, name: str, trial: FinishedTrial) -> None:
    """Write a trial into the rival's folder, atomically."""
    target = contest.work_dir / f"{name}.pt"
    scratch = target.with_suffix(".part")
    torch.save({"value": trial.value, "recipe": trial.recipe, "models": list(trial.models)}, scratch)
    scratch.replace(target)


def saved_trials(contest: Contest) -> list[FinishedTrial]:
    """Saved trials, in the order in which they finished."""
    files = sorted(contest.work_dir.glob("*.pt"), key=lambda path: path.stat().st_mtime_ns)
    return [FinishedTrial(**torch.load(path, weights_only=True)) for path in files]


@dataclass(frozen=True, kw_only=True, eq=False)
class RivalResult:
    """A rival's submission; empty if no trial finished in time."""

    value: float | None
    """Score of the best trial, as the rival reports it."""
    predicted: tuple[str, ...]
    """Class of each test image, in the order of ``images.test_ids``; empty without a submission."""
    recipe: dict[str, Scalar]
    trials: int
    """Started trials: finished, pruned, diverged, or lost at the time limit."""
    finished: int
    seconds: float
    """From the start of the clock to the end of the last training."""


def best_result(contest: Contest, *, trials: int, seconds: float) -> RivalResult:
    """Predict the test images by the average of the best trial's models, then remove all saved weights.

    This does not count against the rival's time.
    """
    ended = saved_trials(contest)
    if not ended:
        return RivalResult(value=None, predicted=(), recipe={}, trials=trials, finished=0, seconds=seconds)
    best = max(ended, key=lambda trial: trial.value)
    recipe = Recipe.from_flat(best.recipe)
    proba = predict_test(contest, recipe, best.models)
    for path in contest.work_dir.glob("*.pt"):
        path.unlink()
    names = contest.images.class_names
    return RivalResult(
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


def with_clock(contest: Contest, seconds: float, work_dir: Path, *, default_first: bool = False) -> Contest:
    """The same contest with a rival's time limit in seconds and its own folder, which this creates."""
    work_dir.mkdir(parents=True)
    return replace(contest, seconds=seconds, work_dir=work_dir, default_first=default_first)


def time_is_up_after(seconds: float) -> Callable[[], bool]:
    """A function that returns true once ``seconds`` have passed from now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
