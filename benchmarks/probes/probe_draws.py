"""Draws of labelled and private images for the benchmarks of linear probes, with the features of one frozen network."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import describe_machine, one_line
from benchmarks.training.lp_ft import draw
from benchmarks.training.paired_scores import Labels
from trainer.batches.pixel_cache import open_pixels
from trainer.common.arrays import Float32Array
from trainer.common.errors import TrainerError
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import read_images
from trainer.networks.backbones import preprocessing_of
from trainer.probing.linear_head import LinearHead, fit_heads
from trainer.recipe.recipe import Recipe, Scalar
from trainer.training.linear_probe import frozen_features, frozen_network
from trainer.training.results import ALWAYS_TRAINED, TrainingData

LABELLED = (100, 300)
"""Numbers of labelled images."""


class DrawnRun(Protocol):
    """What was measured on one draw."""

    @property
    def data(self) -> str:
        """Name of the data folder."""

    @property
    def seed(self) -> int:
        """Of the draw."""


AnyRun = TypeVar("AnyRun", bound=DrawnRun)


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """Features and true labels of one draw, divided into labelled and test images."""

    train: Float32Array
    y: Labels
    test: Float32Array
    test_y: Labels
    num_classes: int

    def fit(
        self,
        folds: Labels,
        counts: NDArray[np.float32],
        rows: Labels | None = None,
        classes: Labels | None = None,
        left_out: Sequence[Labels] = (),
    ) -> list[LinearHead]:
        """A head for each fold.

        Args:
            counts: how often each labelled image is in the bootstrap, float32 ``(n,)``.
            rows, classes, left_out: of `trainer.training.teaching.pseudo_rows.pseudo_rows`; None: no pseudo-labels.
        """
        further = 0 if rows is None else len(rows)
        features = self.train if rows is None else np.concatenate([self.train, self.test[rows]])
        y = self.y if classes is None else np.concatenate([self.y, classes])
        weights = np.tile(np.concatenate([counts, np.ones(further, np.float32)]), (int(folds.max()) + 1, 1))
        for fold, out in enumerate(left_out):
            weights[fold, len(self.y) + out] = 0.0
        all_folds = np.concatenate([folds, np.full(further, ALWAYS_TRAINED, np.int64)])
        return fit_heads(features, y, all_folds, class_weights=self.equal, row_weights=list(weights))

    def equal(self, y: Labels) -> Float32Array:
        """Weights of the classes: all the same."""
        return np.ones(self.num_classes, np.float32)

    def oof(self, by_seed: Sequence[Sequence[LinearHead]], folds: Labels) -> Float32Array:
        """Out-of-fold probabilities of the labelled images, the mean over seeds."""
        proba = np.zeros((len(self.y), self.num_classes), np.float32)
        for fold in range(int(folds.max()) + 1):
            rows = folds == fold
            proba[rows] = np.mean([heads[fold].predict_proba(self.train[rows]) for heads in by_seed], axis=0)
        return proba

    def predict(self, by_seed: Sequence[Sequence[LinearHead]]) -> Float32Array:
        """Probabilities of the test images, the mean over all heads."""
        mean = np.mean([head.predict_proba(self.test) for heads in by_seed for head in heads], axis=0)
        return np.asarray(mean, np.float32)


def bootstrap(y: Labels, seed: int) -> NDArray[np.float32]:
    """How often each image is in a bootstrap of its class: float32 ``(n,)``."""
    rng = np.random.default_rng(seed)
    counts = np.zeros(len(y), np.float32)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        np.add.at(counts, rng.choice(rows, len(rows)), 1.0)
    return counts


def features_of(
    folder: Path, recipe: Recipe, weights: Path | None, scratch: Path, options: DataOptions | None = None
) -> tuple[ImageSet, Float32Array]:
    """The labelled images of a folder, and the features of all of them, in order.

    Args:
        options: how the folder is read; None: as usual.

    Raises:
        TrainerError: the data or the network cannot be used.
    """
    image_set = read_images(folder, options or DataOptions(), verify=False).without_test_images()
    pixels = open_pixels(
        image_set,
        size=recipe.image_size,
        resize=recipe.resize,
        interpolation=preprocessing_of(recipe.backbone).interpolation,
        folder=scratch,
        with_test=False,
    )
    folds = np.full(len(image_set.y), ALWAYS_TRAINED, np.int64)
    data = TrainingData(pixels=pixels, y=image_set.y, folds=folds, num_classes=len(image_set.class_names))
    model = frozen_network(recipe, data, seed=0, device=torch.device("cpu"), weights_dir=weights)
    with torch.no_grad():
        _, features = frozen_features(model, recipe, data, torch.float32, lambda share: None)
    return image_set, features


def drawn_from(
    image_set: ImageSet, features: Float32Array, given: argparse.Namespace, labelled: int, seed: int
) -> Draw:
    """Draw images of a few classes, and label some of each class.

    Raises:
        ValueError: there are too few images.
    """
    drawn = draw(image_set, images=given.images, classes=given.classes, folds=2 * given.folds, seed=seed)
    place = {name: row for row, name in enumerate(image_set.train_ids)}
    own = features[[place[name] for name in drawn.train_ids]]
    rng = np.random.default_rng(seed)
    is_labelled, share = np.zeros(len(drawn.y), bool), labelled / len(drawn.y)
    for label in range(len(drawn.class_names)):
        rows = rng.permutation(np.flatnonzero(drawn.y == label))
        is_labelled[rows[: max(given.folds, min(round(share * len(rows)), len(rows) - given.folds))]] = True
    return Draw(
        train=own[is_labelled],
        y=drawn.y[is_labelled],
        test=own[~is_labelled],
        test_y=drawn.y[~is_labelled],
        num_classes=len(drawn.class_names),
    )


def add_probe_options(parser: argparse.ArgumentParser, sizes: Sequence[int] = ()) -> None:
    """Add the options of a benchmark that fits probes on draws of images.

    Args:
        sizes: default of ``--sizes``; empty: the benchmark has one size, ``--size``.
    """
    parser.add_argument("data", type=Path, nargs="+", help="folders of labelled images, in any layout")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0.in1k")
    parser.add_argument("--init", default="pretrained", help="starting weights (%(default)s)")
    parser.add_argument("--weights", type=Path, help="folder of pre-trained weights")
    if sizes:
        parser.add_argument("--sizes", type=int, nargs="+", default=sizes, help="pixels (%(default)s)")
    else:
        parser.add_argument("--size", dest="sizes", type=int, nargs=1, default=[128], help="pixels (%(default)s)")
    parser.add_argument("--draws", type=int, default=20, help="from each data set (%(default)s)")
    parser.add_argument("--images", type=int, default=800, help="in a draw, at most (%(default)s)")
    parser.add_argument("--classes", type=int, default=20, help="in a draw, at most (%(default)s)")
    parser.add_argument("--labelled", type=int, nargs="+", default=LABELLED, help="images of a draw (%(default)s)")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2, help="bootstraps of each fold (%(default)s)")
    parser.add_argument("--json", type=Path, help="file for everything measured, written after every draw")


def _probe_recipes(given: argparse.Namespace) -> list[Recipe]:
    """The probe of each image size that these options ask for."""
    fields: dict[str, Scalar] = {
        "backbone": given.backbone,
        "init": given.init,
        "method": "linear_probe",
        "epochs": 1,
    }
    return [Recipe.from_flat({**fields, "image_size": size}) for size in given.sizes]


def _draws(
    given: argparse.Namespace, recipes: Sequence[Recipe], scratch: Path
) -> Iterator[tuple[str, int, Sequence[Draw]]]:
    """Name of the data folder, seed and images of each draw, with the features of each recipe.

    Raises:
        TrainerError: a data set or the network cannot be used.
        ValueError: a data set has too few images.
    """
    for folder in given.data:
        sets = [features_of(folder, recipe, given.weights, scratch) for recipe in recipes]
        for seed, labelled in product(range(1, given.draws + 1), given.labelled):
            yield folder.name, seed, [drawn_from(images, own, given, labelled, seed) for images, own in sets]


def measure_draws(
    parser: argparse.ArgumentParser, given: argparse.Namespace, measure: Callable[[str, int, Sequence[Draw]], AnyRun]
) -> list[AnyRun]:
    """Measure every draw that the options of `add_probe_options` ask for, and write all runs after each.

    The program ends with 2 if a data set or the network cannot be used.

    Args:
        measure: of the name of the data folder, the seed, and the images with the features at each size.
    """
    recipes, machine, runs = _probe_recipes(given), describe_machine(), list[AnyRun]()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for name, seed, drawn in _draws(given, recipes, Path(scratch)):
                runs.append(measure(name, seed, drawn))
                _write_runs(given.json, machine, recipes, runs)
    except (TrainerError, ValueError) as problem:
        parser.exit(2, f"{problem}\n")
    print(f"\n{one_line(machine)}\n")
    return runs


def by_setting(runs: Sequence[AnyRun]) -> Iterator[list[AnyRun]]:
    """Runs of the same data and place in the list of numbers; the number itself differs a little between draws."""
    for data in dict.fromkeys(run.data for run in runs):
        of_data = [run for run in runs if run.data == data]
        per_draw = max(sum(run.seed == other.seed for other in of_data) for run in of_data)
        for place in range(per_draw):
            yield of_data[place::per_draw]


def _write_runs(path: Path | None, machine: dict[str, Any], recipes: Sequence[Recipe], runs: Sequence[Any]) -> None:
    """Write everything measured so far, a dataclass a draw; nothing without a path."""
    if path is not None:
        written = {
            "machine": machine,
            "recipes": [recipe.to_flat() for recipe in recipes],
            "runs": [asdict(one) for one in runs],
        }
        path.write_text(json.dumps(written), encoding="utf-8")
