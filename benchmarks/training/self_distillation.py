"""Self-distillation: does it raise the private score, and how often is it adopted, and wrongly?

    python -m benchmarks.training.self_distillation DATA... --weights WEIGHTS --json self_distillation.json

From each data set, images of a few classes are drawn for each seed, and some of them are labelled; the others are
private. One pre-trained network is fine-tuned as `search start --distil-from` does it:

* a plain cross-validation;
* one teacher for each pair of folds, and a cross-validation toward its soft targets
  (`trainer.training.teaching.teachers`), with the same folds and seed.

Both are scored out-of-fold on the labelled images. Self-distillation is adopted if the paired gain exceeds one standard
error and does not hang on one image. It is a wrong adoption if the private accuracy, of the mean of all networks, is
lower with it.

± is the standard error over draws, which share images.
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
from search.statistics.paired_gain import Gain, exceeds_one_image, paired_gain, probability_gain
from trainer.batches.batch_loader import BatchLoader
from trainer.common.errors import TrainerError
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images
from trainer.evaluation.targets import Targets
from trainer.recipe.recipe import Recipe, Scalar
from trainer.training.results import CVResult, TrainingData, Verdict
from trainer.training.teaching.teachers import train_teachers

Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One draw."""

    data: str
    """Name of the data folder."""
    seed: int
    labelled: int
    private: int
    """Number of private images."""
    cv: float
    """Out-of-fold accuracy of the plain training, 0 .. 1, like all accuracies."""
    cv_distilled: float
    error: float
    """Standard error of the paired difference of both."""
    probability: float
    """Paired gain in the mean probability of the true class."""
    probability_error: float
    private_accuracy: float
    private_distilled: float
    seconds: float
    """Of the plain training."""
    seconds_distilled: float
    """Of teachers and students."""

    @property
    def gain(self) -> Gain:
        """Paired, out-of-fold."""
        return Gain(mean=self.cv_distilled - self.cv, error=self.error)

    @property
    def adopted(self) -> bool:
        """Whether the paired gain exceeds one standard error, and does not hang on one image."""
        return exceeds_one_image(self.gain, "accuracy", self.labelled)

    @property
    def wrong(self) -> bool:
        """Whether adopting is a mistake: the private accuracy is lower."""
        return self.private_distilled < self.private_accuracy


def divide(drawn: ImageSet, labelled: int, folds: int, seed: int) -> tuple[ImageSet, Labels]:
    """Label about so many images, of each class its share and one for each fold at least.

    Returns:
        The labelled images with the others as test images, and the true classes of these, int64 ``(m,)``.
    """
    rng, chosen = np.random.default_rng(seed), np.zeros(len(drawn.y), np.bool_)
    for label in range(len(drawn.class_names)):
        rows = rng.permutation(np.flatnonzero(drawn.y == label))
        chosen[rows[: max(folds, round(labelled * len(rows) / len(drawn.y)))]] = True
    train, private = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    divided = replace(
        drawn,
        train_ids=tuple(drawn.train_ids[row] for row in train),
        y=drawn.y[train],
        train_images=drawn.train_images.subset(train.tolist()),
        test_ids=tuple(drawn.train_ids[row] for row in private),
        test_images=drawn.train_images.subset(private.tolist()),
    )
    return divided, drawn.y[private]


def measure(
    name: str,
    data: TrainingData,
    private_y: Labels,
    recipe: Recipe,
    *,
    seed: int,
    weights_dir: Path | None,
    loader: BatchLoader,
) -> Run:
    """Train with and without teachers, and compare.

    Raises:
        ValueError: a training diverged.
    """

    def train(what: str, own: TrainingData) -> CVResult:
        return cross_validated(recipe, own, what, seed=seed, weights_dir=weights_dir, loader=loader, predict_test=True)

    begun = time.perf_counter()
    plain = train("plain", data)
    trained = time.perf_counter()
    teaching = train_teachers(
        recipe,
        data,
        metric="accuracy",
        seed=seed,
        device="cpu",
        on_epoch=lambda done, report: Verdict.CONTINUE,
        folder=None,
        weights_dir=weights_dir,
        loader=loader,
    )
    if teaching.ended is not None:
        raise ValueError(teaching.ended.reason)
    distilled = train("distilled", replace(data, soft_targets=teaching.targets))
    ended = time.perf_counter()
    targets, rows = Targets(data.y), np.arange(len(data.y))
    gain = paired_gain("accuracy", targets, distilled.oof, plain.oof)
    soft = probability_gain(targets, distilled.oof[rows, data.y], plain.oof[rows, data.y])
    return Run(
        data=name,
        seed=seed,
        labelled=len(data.y),
        private=len(private_y),
        cv=_accuracy(plain.oof, data.y),
        cv_distilled=_accuracy(distilled.oof, data.y),
        error=gain.error,
        probability=soft.mean,
        probability_error=soft.error,
        private_accuracy=_accuracy(plain.test, private_y),
        private_distilled=_accuracy(distilled.test, private_y),
        seconds=trained - begun,
        seconds_distilled=ended - trained,
    )


def _accuracy(proba: NDArray[np.float32] | None, y: Labels) -> float:
    assert proba is not None, "private images are predicted"
    return float((proba.argmax(axis=1) == y).mean())


def score_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Scores in percent by data set, paired gains in points, and adoptions."""
    rows: list[dict[str, object]] = []
    for data in dict.fromkeys(run.data for run in runs):
        own = [run for run in runs if run.data == data]
        lower, equal = sum(run.wrong for run in own), sum(run.private_distilled == run.private_accuracy for run in own)
        rows.append(
            {
                "data": data,
                "labelled": f"{np.mean([run.labelled for run in own]):.0f}",
                "draws": len(own),
                "out-of-fold": f"{100 * np.mean([run.cv for run in own]):.1f}",
                "gain": with_error(np.array([100 * run.gain.mean for run in own])),
                "gain in probability": with_error(np.array([100 * run.probability for run in own])),
                "private": f"{100 * np.mean([run.private_accuracy for run in own]):.1f}",
                "private gain": with_error(
                    np.array([100 * (run.private_distilled - run.private_accuracy) for run in own])
                ),
                "private lower / equal / higher": f"{lower} / {equal} / {len(own) - lower - equal}",
                "adopted": f"{sum(run.adopted for run in own)} of {len(own)}",
                "adopted wrongly": sum(run.adopted and run.wrong for run in own),
                "times as long": f"{np.mean([run.seconds_distilled / run.seconds for run in own]):.1f}",
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, train, print; 2 if a data set or the network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_draw_options(parser, seeds=5, images=400, classes=10, folds=5, size=64)
    parser.add_argument("--labelled", type=int, default=120, help="images of a draw (%(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="in one cycle (%(default)s)")
    parser.add_argument("--lr", type=float, default=3e-4, help="learning rate (%(default)s)")
    parser.add_argument("--minutes", type=float, help="begin no draw after so many")
    parser.add_argument("--json", type=Path, help="file for everything measured, written after every draw")
    given = parser.parse_args(arguments)
    fields: dict[str, Scalar] = {
        "backbone": given.backbone,
        "init": given.init,
        "image_size": given.size,
        "epochs": given.epochs,
        "batch_size": 16,
        "head": "probe",
        "norm": "frozen",
        "optimizer.lr": given.lr,
        "schedule.name": "one_cycle",
        "augment.hflip": 0.5,
    }
    recipe, machine, begun = Recipe.from_flat(fields), describe_machine(), time.monotonic()
    runs: list[Run] = []
    try:
        with tempfile.TemporaryDirectory() as scratch, BatchLoader() as loader:
            sets = [read_images(folder, verify=False).without_test_images() for folder in given.data]
            for seed, image_set in product(range(1, given.seeds + 1), sets):
                if given.minutes is not None and time.monotonic() - begun > 60.0 * given.minutes:
                    break
                drawn = draw(image_set, images=given.images, classes=given.classes, folds=2 * given.folds, seed=seed)
                divided, private_y = divide(drawn, given.labelled, given.folds, seed)
                data = open_draw(divided, recipe, folds=given.folds, seed=seed, scratch=Path(scratch))
                run = measure(
                    image_set.root.name, data, private_y, recipe, seed=seed, weights_dir=given.weights, loader=loader
                )
                runs.append(run)
                print(
                    f"{run.data} {run.seed}, {run.labelled} labelled: out-of-fold {run.cv:.3f} -> "
                    f"{run.cv_distilled:.3f} ± {run.error:.3f}, private {run.private_accuracy:.3f} -> "
                    f"{run.private_distilled:.3f}, adopted: {run.adopted}  ({run.seconds:.0f} s and "
                    f"{run.seconds_distilled:.0f} s)",
                    flush=True,
                )
                if given.json:
                    written = {"machine": machine, "recipe": fields, "runs": [asdict(one) for one in runs]}
                    given.json.write_text(json.dumps(written), encoding="utf-8")
    except (TrainerError, ValueError) as problem:
        parser.exit(2, f"{problem}\n")
    print(f"\n{one_line(machine)}", table(score_rows(runs)), sep="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
