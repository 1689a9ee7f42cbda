"""What it brings that batches are prepared from fold to fold without a gap, where augmentation is the limit.

    python -m benchmarks.training.fold_changes

Two ways to prepare the batches of a cross-validation in lockstep:

* one stream: a stream of batches goes from fold to fold (`trainer.training.folds.fold_batches`);
* a stream a fold: the batches of the next fold are begun when this fold's training ends, before it is evaluated.

Both go through the loader of a training (`trainer.batches.batch_loader`). The device is a pause in place of each step,
so that a machine with few cores and no GPU can be the one beside a fast GPU. The evaluation of a fold is a pause as
well: a third of a step for each batch held out. There are two kinds of processes:

* real: the middle of the study aug_tuning, with as many processes as there are cores;
* modelled: threads that pause for each image instead of augmenting it, which need no cores. The rows of more
  processes than this machine has cores are of this kind.

The two ways take turns in every round, after a first batch from every process. A ratio is the median over the rounds'
own ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine, one_line, table
from benchmarks.training.augmentation import random_images, shipped_pipelines
from trainer.batches.batch_loader import Batch, BatchLoader
from trainer.batches.batch_plan import BatchPlan, plan_epoch
from trainer.batches.pixel_cache import Pixels, side_to_crop_from
from trainer.common.environment import usable_cores
from trainer.recipe.recipe import Augment

Plans = tuple[BatchPlan, ...]


class PausingLoader(BatchLoader):
    """A loader whose processes are threads that pause for each image, and return blank batches.

    Args:
        workers: number of threads.
        image_seconds: pause for each image.
    """

    def __init__(self, workers: int, image_seconds: float) -> None:
        super().__init__(workers)
        self._image_seconds = image_seconds
        self._threads = ThreadPoolExecutor(workers)

    def submit(self, job: bytes, plan: BatchPlan, size: int) -> tuple[Future[Batch | None], None]:
        """See `BatchLoader.submit`."""
        return self._threads.submit(self._pause, len(plan.indices)), None

    def _pause(self, images: int) -> Batch | None:
        time.sleep(images * self._image_seconds)
        return np.empty((0, 0, 0, 3), np.uint8)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)
        super().close()


@dataclass(frozen=True, kw_only=True)
class Training:
    """A cross-validation whose device only pauses."""

    loader: BatchLoader
    source: Pixels
    settings: Augment
    size: int
    """Side of the network's input in pixels."""
    epochs: Sequence[Plans]
    """The plans of every epoch of every fold, in the order of a training."""
    step: float
    """Seconds of a step."""
    evaluation: float
    """Seconds of the evaluation of a fold."""

    def seconds(self, *, one_stream: bool) -> float:
        """Duration with either way to prepare the batches."""
        begun = time.perf_counter()
        stream = self.loader.stream(
            self.source, self.settings, self.size, self.epochs if one_stream else self.epochs[:1]
        )
        for number, plans in enumerate(self.epochs):
            for _ in plans:
                next(stream)
                time.sleep(self.step)
            if not one_stream:
                stream.close()
                stream = self.loader.stream(self.source, self.settings, self.size, self.epochs[number + 1 : number + 2])
            time.sleep(self.evaluation)
        stream.close()
        return time.perf_counter() - begun


def measure(
    loader: BatchLoader, kind: str, workers: int, source: Pixels, settings: Augment, given: argparse.Namespace
) -> dict[str, Any]:
    """Seconds of both ways in each round, and a table row of medians."""
    fold_of = np.arange(given.images) % given.folds
    labels = np.zeros(given.images, np.int64)
    epochs = [
        plan_epoch(
            np.flatnonzero(fold_of != fold), labels, batch_size=given.batch, balance=0.0, seed=0, fold=fold, epoch=epoch
        )
        for epoch in range(1, given.epochs + 1)
        for fold in range(given.folds)
    ]
    for _ in loader.stream(source, settings, given.size, [epochs[0][: 2 * workers]]):
        pass  # starts the processes
    begun = time.perf_counter()
    for _ in loader.stream(source, settings, given.size, [epochs[0]]):
        pass
    batch_seconds = (time.perf_counter() - begun) / len(epochs[0])
    step = given.load * batch_seconds
    training = Training(
        loader=loader,
        source=source,
        settings=settings,
        size=given.size,
        epochs=epochs,
        step=step,
        evaluation=step / 3 * len(epochs[0]) / max(1, given.folds - 1),
    )
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(given.rounds):
        for one_stream in (True, False)[:: 1 if number % 2 else -1]:
            seconds[one_stream].append(training.seconds(one_stream=one_stream))
    ratios = [separate / joined for joined, separate in zip(seconds[True], seconds[False], strict=True)]
    row: dict[str, Any] = {
        "processes": f"{workers}, {kind}",
        "batches a fold": len(epochs[0]),
        "ms a batch": batch_seconds * 1e3,
        "a stream a fold, s": statistics.median(seconds[False]),
        "one stream, s": statistics.median(seconds[True]),
        "a stream a fold / one stream": statistics.median(ratios),
        "in the rounds": f"{min(ratios):.2f} to {max(ratios):.2f}",
    }
    return {"row": row, "one_stream": seconds[True], "stream_a_fold": seconds[False]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", default="2,4,8,16", help="comma-separated, of the modelled kind (%(default)s)")
    parser.add_argument("--image-ms", type=float, default=1.0, help="modelled augmentation of an image (%(default)s)")
    parser.add_argument("--load", type=float, default=0.5, help="step / time of the processes a batch (%(default)s)")
    parser.add_argument("--images", type=int, default=654, help="number of images (%(default)s)")
    parser.add_argument("--folds", type=int, default=5, help="number of folds (%(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each training (%(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="images in a batch (%(default)s)")
    parser.add_argument("--size", type=int, default=96, help="pixels (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds (%(default)s)")
    parser.add_argument("--no-real", action="store_true", help="leave the real processes out")
    parser.add_argument("--json", type=Path, help="file for everything measured")
    given = parser.parse_args(arguments)
    settings = shipped_pipelines()["aug_tuning, middle"]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        side = side_to_crop_from(given.size)
        path = Path(folder) / "images.npy"
        np.save(path, random_images(given.images, side))
        source = Pixels(path=path, n_train=given.images, n_test=0, size=side)
        if not given.no_real:
            with BatchLoader(cores := usable_cores()) as real:
                results.append(measure(real, "real", cores, source, settings, given))
        for workers in map(int, given.processes.split(",")):
            with PausingLoader(workers, given.image_ms / 1e3) as modelled:
                results.append(measure(modelled, "modelled", workers, source, settings, given))
    machine = describe_machine()
    print(f"{one_line(machine)}\n\n{table([result['row'] for result in results])}")
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))


if __name__ == "__main__":
    main()
