"""Speed on the CPU with freed memory that stays in the process, and with the C library's own settings.

    python -m benchmarks.training.kept_memory

Each measurement is a fresh process: training steps of two folds side by side, then predictions of one network, on
random images. The two ways take turns, every other round backwards. Ratios are within a round, medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from benchmarks.machine import describe_machine, one_line, table

OWN_SETTINGS = {"MALLOC_ARENA_TEST": "8"}
"""A setting of the user, with glibc's own value: `trainer.inference.resources.keep_freed_memory` then does nothing."""
WAYS: dict[str, dict[str, str]] = {"kept": {}, "given back": OWN_SETTINGS}
"""Environment variables of each way."""
COLD = 3  # steps and predictions that do not count


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is timed."""

    backbone: str
    image_size: int
    batch_size: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """Medians of one process."""

    first_step: float
    step: float
    prediction: float
    """Of a batch by one network."""


def time_process(work: Work, way: str) -> Seconds:
    """Time the work in a fresh process."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.training.kept_memory", "--measure", json.dumps(asdict(work))],
        env={**others, **WAYS[way]},
        stdout=subprocess.PIPE,
        check=True,
    )
    return Seconds(**json.loads(found.stdout))


def measure(work: Work) -> Seconds:
    """Time the work in this process."""
    from trainer.inference.resources import keep_freed_memory

    keep_freed_memory()
    import torch

    from trainer.networks.view_averaging import predict_proba
    from trainer.recipe.recipe import Recipe
    from trainer.training.folds.fold_model import FoldModel
    from trainer.training.folds.parallel_folds import ParallelFolds, parallel_width

    recipe = Recipe.from_flat(
        {
            "backbone": work.backbone,
            "init": "scratch",
            "image_size": work.image_size,
            "batch_size": work.batch_size,
        }
    )

    def create(fold: int) -> FoldModel:
        labels, device = np.zeros(work.batch_size, np.int64), torch.device("cpu")
        return FoldModel(recipe, fold=fold, seed=0, train_y=labels, num_classes=10, device=device, weights_dir=None)

    first = create(0)
    width = parallel_width(first, 2, torch.device("cpu"))
    models = [first, *(create(fold) for fold in range(1, width))]
    parallel = ParallelFolds(width)
    steps, predictions = [], []
    for _ in range(COLD + work.steps):
        begun = time.perf_counter()
        parallel.run([partial(model.rehearse, work.batch_size) for model in models])
        steps.append(time.perf_counter() - begun)
    parallel.close()
    side = work.image_size
    images = np.random.default_rng(0).integers(0, 256, (work.batch_size, side, side, 3)).astype(np.uint8)
    for _ in range(COLD + work.steps):
        begun = time.perf_counter()
        predict_proba(first.evaluated, images, preprocessing=first.preprocessing)
        predictions.append(time.perf_counter() - begun)
    return Seconds(
        first_step=steps[0], step=statistics.median(steps[COLD:]), prediction=statistics.median(predictions[COLD:])
    )


def summary(rounds: Sequence[dict[str, Seconds]]) -> str:
    """Median seconds of each way, and median ratios of given back to kept."""
    rows = []
    for name in ("first_step", "step", "prediction"):
        seconds = {way: [getattr(one[way], name) for one in rounds] for way in WAYS}
        ratios = [given / kept for given, kept in zip(seconds["given back"], seconds["kept"], strict=True)]
        rows.append(
            {
                "what": name.replace("_", " "),
                **{way: f"{statistics.median(own):.2f} s" for way, own in seconds.items()},
                "ratio": f"{statistics.median(ratios):.2f}",
            }
        )
    return table(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="efficientnet_lite0", help="timm's name (%(default)s)")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=6, help="timed steps of a process (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.measure is not None:
        print(json.dumps(asdict(measure(Work(**json.loads(given.measure))))))
        return
    work = Work(backbone=given.backbone, image_size=given.image_size, batch_size=given.batch_size, steps=given.steps)
    rounds = []
    for number in range(given.rounds):
        order = list(WAYS)[:: -1 if number % 2 else 1]
        rounds.append({way: time_process(work, way) for way in order})
    print(f"{one_line(describe_machine())}\n\n{summary(rounds)}")


if __name__ == "__main__":
    main()
