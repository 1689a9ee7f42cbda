"""Fine-tuning that begins with a linear probe's classifier, compared with a random one.

    python -m benchmarks.training.lp_ft DATA... --weights WEIGHTS --json lp_ft.json

From each data set, images of a few classes are drawn for each seed. On every draw, one pre-trained network is
cross-validated with every combination of first classifier (``head``), statistics of the norm layers (``norm``) and
learning rate, and once as a linear probe. With the probe's classifier it is also trained a second time to go back
towards its starting weights in the end (``wise_ft``). The seed of a draw is also that of its folds and trainings, so
all recipes of a draw are paired. Scores are out-of-fold accuracies.

Three tables:

* recipes: accuracy after the first and the last epoch, the mean over draws;
* pairs: how many points the probe's classifier gains at the end over a random one, and ``wise_ft`` over the trained
  weights, all else equal, with the standard error over draws;
* order: Spearman's rank correlation of the recipes of a draw, between the mean probability of the true class after the
  first epoch, by which a pruner compares them, and the accuracy after the last; and the points by which the recipe that
  leads after the first epoch is behind the best one at the end. "all" are the recipes with either classifier.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from benchmarks.machine import describe_machine, one_line, table
from trainer.batches.batch_loader import BatchLoader
from trainer.batches.pixel_cache import open_pixels
from trainer.common.errors import TrainerError
from trainer.data.folds import make_folds
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images
from trainer.networks.backbones import preprocessing_of
from trainer.recipe.recipe import Recipe, Scalar
from trainer.training.cross_validation import cross_validate
from trainer.training.results import CVResult, EpochReport, TrainingData, Verdict

HEADS: dict[str, dict[str, Scalar]] = {
    "random": {"head": "random"},
    "probe": {"head": "probe"},
    "probe, wise_ft": {"head": "probe", "wise_ft": True},
}
"""Settings of the classifiers with which trainings begin, and of what is kept in the end, by name."""
NORMS = ("batch", "frozen")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One recipe on one draw."""

    data: str
    """Name of the data folder."""
    seed: int
    head: str
    norm: str
    lr: float
    """Peak learning rate; 0 for the linear probe itself."""
    accuracy: tuple[float, ...]
    """Out-of-fold accuracy after each epoch, 0 .. 1."""
    first_probability: float
    """Mean probability of the true class after the first epoch."""
    seconds: float

    @property
    def is_probe(self) -> bool:
        """Whether it is the linear probe, without fine-tuning."""
        return self.lr == 0.0


def draw(image_set: ImageSet, *, images: int, classes: int, folds: int, seed: int) -> ImageSet:
    """At most ``images`` training images of at most ``classes`` random classes, as many of each where it has them.

    Raises:
        ValueError: fewer than two classes have an image for each fold.
    """
    generator = np.random.default_rng(seed)
    large_enough = np.flatnonzero(image_set.class_counts() >= folds)
    classes = min(classes, len(large_enough))
    if classes < 2:
        raise ValueError(f"{image_set.root} has {classes} classes of {folds} images or more; two are needed")
    chosen = np.sort(generator.choice(large_enough, classes, replace=False))
    of_class = [generator.permutation(np.flatnonzero(image_set.y == label))[: images // classes] for label in chosen]
    rows = np.sort(np.concatenate(of_class))
    return replace(
        image_set,
        class_names=tuple(image_set.class_names[label] for label in chosen),
        train_ids=tuple(image_set.train_ids[row] for row in rows),
        y=np.searchsorted(chosen, image_set.y[rows]),
        train_images=image_set.train_images.subset(rows.tolist()),
        groups=None,
        test_ids=(),
        test_images=image_set.test_images.subset([]),
        submission=None,
    )


def open_draw(drawn: ImageSet, recipe: Recipe, *, folds: int, seed: int, scratch: Path) -> TrainingData:
    """Pixels, labels and folds of a draw; pixels and features are kept in ``scratch``."""
    pixels = open_pixels(
        drawn,
        size=recipe.image_size,
        resize=recipe.resize,
        interpolation=preprocessing_of(recipe.backbone).interpolation,
        folder=scratch,
        with_test=bool(drawn.test_ids),
    )
    return TrainingData(
        pixels=pixels,
        y=drawn.y,
        folds=make_folds(drawn.y, np.arange(len(drawn.y)), folds, seed),
        num_classes=len(drawn.class_names),
        features=scratch / "features",
    )


def train(
    name: str, data: TrainingData, recipe: Recipe, *, seed: int, weights_dir: Path | None, loader: BatchLoader
) -> Run:
    """Cross-validate one recipe.

    Raises:
        ValueError: the training diverged.
    """
    head = "probe, wise_ft" if recipe.wise_ft else recipe.head
    what = f"{head}, {recipe.norm}, {recipe.optimizer.lr:g}"
    reports = epochs_of(recipe, data, what, seed=seed, weights_dir=weights_dir, loader=loader)
    return Run(
        data=name,
        seed=seed,
        head=head,
        norm=recipe.norm,
        lr=0.0 if recipe.method == "linear_probe" else recipe.optimizer.lr,
        accuracy=tuple(report.metric for report in reports),
        first_probability=reports[0].mean_true_probability,
        seconds=sum(report.seconds for report in reports),
    )


def epochs_of(
    recipe: Recipe, data: TrainingData, what: str, *, seed: int, weights_dir: Path | None, loader: BatchLoader
) -> list[EpochReport]:
    """`cross_validated` without test images: the report of every epoch.

    Raises:
        ValueError: the training diverged.
    """
    result = cross_validated(recipe, data, what, seed=seed, weights_dir=weights_dir, loader=loader, predict_test=False)
    return list(result.reports)  # the last one is that of the kept weights


def cross_validated(
    recipe: Recipe,
    data: TrainingData,
    what: str,
    *,
    seed: int,
    weights_dir: Path | None,
    loader: BatchLoader,
    predict_test: bool,
    keep_models: bool = False,
) -> CVResult:
    """Cross-validate one recipe on the CPU.

    Args:
        what: name of the recipe for the error.
        predict_test, keep_models: as for `trainer.training.cross_validation.cross_validate`.

    Raises:
        ValueError: the training diverged.
    """
    result = cross_validate(
        recipe,
        data,
        metric="accuracy",
        seed=seed,
        device="cpu",
        on_epoch=lambda report: Verdict.CONTINUE,
        checkpoint=None,
        weights_dir=weights_dir,
        keep_models=keep_models,
        predict_test=predict_test,
        loader=loader,
    )
    if result.status != "finished":
        raise ValueError(f"{what}: {result.reason}")
    return result


def recipe_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Accuracy of each recipe after the first and the last epoch, in percent: means over draws."""
    rows = []
    for key in dict.fromkeys((run.is_probe, run.head, run.norm, run.lr) for run in runs):
        own = [run for run in runs if (run.is_probe, run.head, run.norm, run.lr) == key]
        rows.append(
            {
                "head": "linear probe" if key[0] else key[1],
                "norm": "-" if key[0] else key[2],
                "lr": "-" if key[0] else f"{key[3]:g}",
                "epoch 1": f"{100 * np.mean([run.accuracy[0] for run in own]):.1f}",
                "last epoch": f"{100 * np.mean([run.accuracy[-1] for run in own]):.1f}",
                "s an epoch": f"{np.mean([run.seconds / len(run.accuracy) for run in own]):.1f}",
            }
        )
    return rows


def pair_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Points that the probe's classifier gains at the end, by statistics and learning rate."""
    last = {(run.data, run.seed, run.norm, run.lr, run.head): 100 * run.accuracy[-1] for run in _fine_tuned(runs)}
    rows: list[dict[str, object]] = []
    for norm, lr in dict.fromkeys(key[2:4] for key in last):
        by_head = {
            head: {key[:2]: value for key, value in last.items() if key[2:] == (norm, lr, head)} for head in HEADS
        }
        rows.append(
            {
                "norm": norm,
                "lr": f"{lr:g}",
                "draws": len(set().union(*by_head.values())),
                "gain of the probe's head": _gain(by_head["probe"], by_head["random"]),
                "gain of wise_ft": _gain(by_head["probe, wise_ft"], by_head["probe"]),
            }
        )
    return rows


def _gain(new: dict[tuple[str, int], float], old: dict[tuple[str, int], float]) -> str:
    """Mean difference with its standard error, over the draws that both have."""
    return with_error(np.array([new[draw] - old[draw] for draw in new if draw in old]))


def order_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """How well the first epoch orders the recipes of a draw."""
    rows: list[dict[str, object]] = []
    present = tuple(head for head in HEADS if any(run.head == head for run in _fine_tuned(runs)))
    every = (present,) if len(present) > 1 else ()
    for heads in (*((head,) for head in present), *every):
        correlations, regrets = [], []
        for one in dict.fromkeys((run.data, run.seed) for run in runs):
            own = [run for run in _fine_tuned(runs) if (run.data, run.seed) == one and run.head in heads]
            first = np.array([run.first_probability for run in own])
            last = np.array([100 * run.accuracy[-1] for run in own])
            if np.ptp(first) and np.ptp(last):
                correlations.append(float(scipy.stats.spearmanr(first, last).statistic))
            regrets.append(float(last.max() - last[first.argmax()]))
        rows.append(
            {
                "recipes": f"head = {heads[0]}" if len(heads) == 1 else "all",
                "rank correlation": with_error(np.array(correlations), digits=2),
                "leader after epoch 1 is behind by": with_error(np.array(regrets)),
            }
        )
    return rows


def _fine_tuned(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if not run.is_probe]


def with_error(values: NDArray[np.float64], digits: int = 1) -> str:
    """Mean and standard error."""
    if not len(values):
        return "-"
    error = f" ± {values.std(ddof=1) / np.sqrt(len(values)):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{error}"


def add_draw_options(
    parser: argparse.ArgumentParser, *, seeds: int, images: int, classes: int, folds: int, size: int
) -> None:
    """Add the options of a benchmark that draws images for each seed; the numbers are their defaults."""
    parser.add_argument("data", type=Path, nargs="+", help="folders of labelled images, in any layout")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0.in1k")
    parser.add_argument("--init", default="pretrained", help="starting weights (%(default)s)")
    parser.add_argument("--weights", type=Path, help="folder of pre-trained weights")
    parser.add_argument("--seeds", type=int, default=seeds, help="draws from each data set (%(default)s)")
    parser.add_argument("--images", type=int, default=images, help="in a draw, at most (%(default)s)")
    parser.add_argument("--classes", type=int, default=classes, help="in a draw, at most (%(default)s)")
    parser.add_argument("--folds", type=int, default=folds)
    parser.add_argument("--size", type=int, default=size, help="pixels (%(default)s)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, train, print; 2 if a data set or the network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_draw_options(parser, seeds=2, images=144, classes=12, folds=3, size=64)
    parser.add_argument("--epochs", type=int, default=4, help="in one cycle (%(default)s)")
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-4, 5e-4, 2e-3])
    parser.add_argument("--head", choices=HEADS, nargs="+", default=list(HEADS))
    parser.add_argument("--norm", choices=NORMS, nargs="+", default=list(NORMS))
    parser.add_argument("--json", type=Path, help="file for everything measured")
    given = parser.parse_args(arguments)
    base: dict[str, Scalar] = {
        "backbone": given.backbone,
        "init": given.init,
        "image_size": given.size,
        "epochs": given.epochs,
        "batch_size": 16,
        "schedule.name": "one_cycle",
        "augment.hflip": 0.5,
    }
    recipes = [Recipe.from_flat({**base, "method": "linear_probe", "epochs": 1})]
    for norm, lr, head in product(given.norm, given.lr, given.head):
        recipes.append(Recipe.from_flat({**base, **HEADS[head], "norm": norm, "optimizer.lr": lr}))
    runs: list[Run] = []
    try:
        with tempfile.TemporaryDirectory() as scratch, BatchLoader() as loader:
            for folder, seed in product(given.data, range(1, given.seeds + 1)):
                image_set = read_images(folder, verify=False)
                drawn = draw(image_set, images=given.images, classes=given.classes, folds=given.folds, seed=seed)
                data = open_draw(drawn, recipes[0], folds=given.folds, seed=seed, scratch=Path(scratch))
                for recipe in recipes:
                    run = train(folder.name, data, recipe, seed=seed, weights_dir=given.weights, loader=loader)
                    runs.append(run)
                    curve = " ".join(f"{accuracy:.3f}" for accuracy in run.accuracy)
                    what = "linear probe" if run.is_probe else f"{run.head}; {run.norm}, {run.lr:g}"
                    print(f"{run.data} {run.seed}: {what}: {curve}  ({run.seconds:.0f} s)", flush=True)
    except (TrainerError, ValueError) as problem:
        parser.exit(2, f"{problem}\n")
    machine = describe_machine()
    tables = [recipe_rows(runs), pair_rows(runs), order_rows(runs)]
    print(f"\n{one_line(machine)}", *map(table, tables), sep="\n\n")
    if given.json:
        written: dict[str, Any] = {"machine": machine, "base": base, "runs": [asdict(run) for run in runs]}
        given.json.write_text(json.dumps(written, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
