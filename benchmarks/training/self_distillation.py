"""Self-distillation: does it raise the private score, and how often is it adopted, and wrongly?

    python -m benchmarks.training.self_distillation DATA... --weights WEIGHTS --json self_distillation.json

From each data set, images of a few classes are drawn for each seed, and some of them are labelled; the others are
private. One pre-trained network is fine-tuned as `search start --distil-from` does it:

* a plain cross-validation;
* one teacher for each pair of folds, and a cross-validation toward its soft targets
  (`trainer.training.teaching.teachers`), with the same folds and seed.

Both are scored out-of-fold on the labelled images, and by the mean of all networks on the private ones
(`benchmarks.training.paired_scores`).

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

from benchmarks.machine import describe_machine, one_line, table
from benchmarks.training.lp_ft import add_draw_options, cross_validated, draw, open_draw
from benchmarks.training.paired_scores import Labels, PairedScores, paired_scores, score_cells
from trainer.batches.batch_loader import BatchLoader
from trainer.common.errors import TrainerError
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images
from trainer.recipe.recipe import Recipe, Scalar
from trainer.training.results import CVResult, TrainingData, Verdict
from trainer.training.teaching.teachers import train_teachers


@dataclass(frozen=True, kw_only=True)
class Run:
    """One draw."""

    data: str
    """Name of the data folder."""
    seed: int
    private: int
    """Number of private images."""
    scores: PairedScores
    """Without and with teachers."""
    seconds: float
    """Of the plain training."""
    seconds_distilled: float
    """Of teachers and students."""


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
    private = [result.test for result in (plain, distilled)]
    assert private[0] is not None and private[1] is not None, "private images are predicted"
    return Run(
        data=name,
        seed=seed,
        private=len(private_y),
        scores=paired_scores(data.y, (plain.oof, distilled.oof), private_y, (private[0], private[1])),
        seconds=trained - begun,
        seconds_distilled=ended - trained,
    )


def score_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Scores in percent by data set, paired gains in points, and adoptions."""
    rows: list[dict[str, object]] = []
    for data in dict.fromkeys(run.data for run in runs):
        own = [run for run in runs if run.data == data]
        rows.append(
            {
                "data": data,
                "labelled": f"{np.mean([run.scores.labelled for run in own]):.0f}",
                **score_cells([run.scores for run in own]),
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
                scores = run.scores
                print(
                    f"{run.data} {run.seed}, {scores.labelled} labelled: out-of-fold {scores.cv:.3f} -> "
                    f"{scores.cv_second:.3f} ± {scores.error:.3f}, private {scores.private:.3f} -> "
                    f"{scores.private_second:.3f}, adopted: {scores.adopted}  ({run.seconds:.0f} s and "
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
