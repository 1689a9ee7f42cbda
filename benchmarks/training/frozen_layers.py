"""Short fine-tuning with frozen layers, compared with that of all layers and with the linear probe it begins with.

    python -m benchmarks.training.frozen_layers DATA... --weights WEIGHTS --size 192 --json frozen_layers.json

From each data set, images are drawn for each seed; others of the same classes are private. Every way of training is
cross-validated on the same draw, folds and seed. The private scores are those of the average of the fold models, which
is what an export hands in: networks that were trained gain more from averaging than probes do.

The table has the mean over draws of the out-of-fold accuracy, the private accuracy in percent and the private Brier
score, with the points of private accuracy that are gained over the linear probe. ± is the standard error over draws.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe_machine, one_line, table
from benchmarks.training.lp_ft import add_draw_options, cross_validated, draw, open_draw, with_error
from trainer.batches.batch_loader import BatchLoader
from trainer.common.errors import TrainerError
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images
from trainer.evaluation.ambiguity import brier_scores
from trainer.recipe.recipe import LINEAR_PROBE, Recipe, Scalar
from trainer.training.results import TrainingData

PROBE = "linear probe"
MOST_PRIVATE = 260


@dataclass(frozen=True, kw_only=True)
class Run:
    """One way of training on one draw."""

    data: str
    """Name of the data folder."""
    seed: int
    way: str
    out_of_fold: float
    """Accuracy, 0 .. 1."""
    private: float
    """Accuracy of the average of the fold models on private images, 0 .. 1."""
    brier: float
    """Mean Brier score of the same, 0 .. 2."""
    seconds: float
    """Of training and predictions."""


def with_private(image_set: ImageSet, drawn: ImageSet, seed: int) -> tuple[ImageSet, NDArray[np.int64]]:
    """A draw with at most `MOST_PRIVATE` other images of its classes as test images, and their labels.

    Raises:
        ValueError: no image of these classes is left.
    """
    taken, number_of = set(drawn.train_ids), {name: label for label, name in enumerate(drawn.class_names)}
    labels = [number_of.get(image_set.class_names[label], -1) for label in image_set.y]
    left = [row for row, name in enumerate(image_set.train_ids) if name not in taken and labels[row] >= 0]
    if not left:
        raise ValueError(f"{image_set.root}: the draw takes all images; a smaller --images leaves private ones")
    rows = np.sort(np.random.default_rng(seed).permutation(left)[:MOST_PRIVATE]).tolist()
    test = replace(
        drawn,
        test_ids=tuple(image_set.train_ids[row] for row in rows),
        test_images=image_set.train_images.subset(rows),
    )
    return test, np.array([labels[row] for row in rows], np.int64)


def ways(base: dict[str, Scalar], epochs: Sequence[int], freeze: Sequence[float]) -> dict[str, Recipe]:
    """Recipes by name: the probe, and all epochs, shares of frozen layers, with `wise_ft` and without."""
    found = {PROBE: Recipe.from_flat({**base, "method": LINEAR_PROBE, "epochs": 1})}
    for count, share, wise in product(epochs, freeze, (True, False)):
        name = f"{count} epoch{'s' * (count != 1)}, {share:g} frozen{', wise_ft' * wise}"
        tuned: dict[str, Scalar] = {"head": "probe", "norm": "frozen", "wise_ft": wise, "freeze": share}
        found[name] = Recipe.from_flat({**base, **tuned, "epochs": count})
    return found


def rows_of(runs: Sequence[Run]) -> list[dict[str, object]]:
    """The table: one row for each data set and way of training."""
    probes = {(run.data, run.seed): run.private for run in runs if run.way == PROBE}
    rows: list[dict[str, object]] = []
    for data, way in dict.fromkeys((run.data, run.way) for run in runs):
        own = [run for run in runs if (run.data, run.way) == (data, way)]
        gains = np.array([100 * (run.private - probes[data, run.seed]) for run in own])
        rows.append(
            {
                "data": data,
                "training": way,
                "out of fold": f"{100 * np.mean([run.out_of_fold for run in own]):.1f}",
                "private": f"{100 * np.mean([run.private for run in own]):.1f}",
                "to the probe": "-" if way == PROBE else with_error(gains),
                "Brier": f"{np.mean([run.brier for run in own]):.3f}",
                "s": f"{np.median([run.seconds for run in own]):.0f}",
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, train, print; 2 if a data set or the network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_draw_options(parser, seeds=2, images=240, classes=20, folds=5, size=192)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--freeze", type=float, nargs="+", default=[0.0, 0.75], help="shares of the layers")
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--json", type=Path, help="file for everything measured")
    given = parser.parse_args(arguments)
    base: dict[str, Scalar] = {
        "backbone": given.backbone,
        "init": given.init,
        "image_size": given.size,
        "batch_size": 16,
        "optimizer.lr": given.lr,
        "augment.hflip": 0.5,
        "augment.crop": 0.2,
        "augment.brightness": 0.1,
        "augment.contrast": 0.1,
    }
    runs: list[Run] = []
    try:
        with BatchLoader() as loader:
            for folder, seed in product(given.data, range(1, given.seeds + 1)):
                image_set = read_images(folder, verify=False)
                drawn = draw(image_set, images=given.images, classes=given.classes, folds=given.folds, seed=seed)
                competition, truth = with_private(image_set, drawn, seed)
                with tempfile.TemporaryDirectory() as scratch:
                    recipes = ways(base, given.epochs, given.freeze)
                    data = open_draw(competition, recipes[PROBE], folds=given.folds, seed=seed, scratch=Path(scratch))
                    for way, recipe in recipes.items():
                        runs.append(_train(folder.name, seed, way, recipe, data, truth, given.weights, loader))
                        run = runs[-1]
                        print(f"{run.data} {seed}: {way}: {run.private:.3f}  ({run.seconds:.0f} s)", flush=True)
    except (TrainerError, ValueError) as problem:
        parser.exit(2, f"{problem}\n")
    machine = describe_machine()
    print(f"\n{one_line(machine)}", table(rows_of(runs)), sep="\n\n")
    if given.json:
        written = {"machine": machine, "base": base, "runs": [asdict(run) for run in runs]}
        given.json.write_text(json.dumps(written, indent=1), encoding="utf-8")
    return 0


def _train(
    name: str,
    seed: int,
    way: str,
    recipe: Recipe,
    data: TrainingData,
    truth: NDArray[np.int64],
    weights_dir: Path | None,
    loader: BatchLoader,
) -> Run:
    """
    Raises:
        ValueError: the training diverged.
    """
    begun = time.monotonic()
    result = cross_validated(recipe, data, way, seed=seed, weights_dir=weights_dir, loader=loader, predict_test=True)
    assert result.test is not None, "test predictions are requested"
    return Run(
        data=name,
        seed=seed,
        way=way,
        out_of_fold=float((result.oof.argmax(axis=1) == data.y).mean()),
        private=float((result.test.argmax(axis=1) == truth).mean()),
        brier=float(brier_scores(truth, result.test).mean()),
        seconds=time.monotonic() - begun,
    )


if __name__ == "__main__":
    raise SystemExit(main())
