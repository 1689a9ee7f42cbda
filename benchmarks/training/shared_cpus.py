"""Speed of a training beside other processes on the same CPU cores, with spinning and with sleeping threads.

    python -m benchmarks.training.shared_cpus --json shared.json

A cross-validation of random images is timed in three situations: alone, beside processes that compute without end, and
beside a second training like itself. In each, the threads wait in three ways: spinning, as OpenMP does by default;
sleeping, as Retable asks (`trainer.inference.resources.wait_passively`); and not at all, with one thread.

Each training is a fresh process, because OpenMP reads its settings when it is loaded. It trains epochs until
`--seconds` have passed; the first counts only if it is the only one. All cells take turns, round after round, every
other round backwards. Ratios are within a round, medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_machine, one_line, table
from trainer.inference.resources import PASSIVE_WAITING

BACKBONE = "test_resnet"
CLASSES = 5
FOLDS = 5
GOAL = 2.5
"""Largest ratio of the time beside other processes to the time alone."""
SPINNING = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}
"""What the OpenMP libraries of GNU and LLVM do by default."""
WAYS = {"spinning": SPINNING, "sleeping": PASSIVE_WAITING, "one thread": PASSIVE_WAITING}
"""Environment variables by the way in which the threads wait."""
SITUATIONS = ("alone", "beside busy processes", "beside a second training")
DROPOUT = {"side by side": 0.0, "one by one": 0.2}
"""Dropout by the order of the folds. Networks that draw random numbers train one fold at a time, on all threads."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One cross-validation to time."""

    folds: str
    """A key of `DROPOUT`."""
    threads: int
    images: int
    image_size: int
    """Pixels."""
    seconds: float
    """After this time no further epoch begins."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination that is timed in every round."""

    folds: str
    waiting: str
    situation: str


def time_training(training: Training, waiting: str, situation: str, busy: int) -> float:
    """Median seconds of an epoch, measured in a fresh process.

    Args:
        waiting: a key of `WAYS`.
        situation: one of `SITUATIONS`.
        busy: number of processes that compute without end.

    Raises:
        RuntimeError: a training failed.
    """
    with ExitStack() as stack:
        if situation == "beside busy processes":
            stack.enter_context(busy_processes(busy))
        number = 2 if situation == "beside a second training" else 1
        trainings = [stack.enter_context(_process(training, WAYS[waiting])) for _ in range(number)]
        for process in trainings:
            _line(process)  # it is ready
        for process in trainings:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return statistics.mean(float(_line(process)) for process in trainings)


@contextmanager
def busy_processes(number: int) -> Iterator[list[int]]:
    """Run processes that compute without end; yields their ids, and ends them."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def _process(training: Training, variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    others = {name: value for name, value in os.environ.items() if name not in PASSIVE_WAITING}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.training.shared_cpus", "--train", json.dumps(asdict(training))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**others, **variables, "OMP_NUM_THREADS": str(training.threads)},
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    """The next line of a training."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a training ended with exit code {process.wait()}")
    return line


def train(training: Training) -> None:
    """Train in this process: print "ready", wait for a line, train, and print the median seconds of an epoch."""
    from benchmarks.training.gpu_memory import RandomPixels
    from trainer.recipe.recipe import Recipe
    from trainer.training.cross_validation import cross_validate
    from trainer.training.results import EpochReport, TrainingData, Verdict

    many = 1000  # epochs; the callback ends the training
    recipe = Recipe.from_flat(
        {
            "backbone": BACKBONE,
            "init": "scratch",
            "image_size": training.image_size,
            "batch_size": 32,
            "epochs": many,
            "drop": DROPOUT[training.folds],
        }
    )
    shape = (training.images, training.image_size, training.image_size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    numbers = np.arange(training.images)
    seconds: list[float] = []
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.monotonic()

    def on_epoch(report: EpochReport) -> Verdict:
        seconds.append(report.seconds)
        return Verdict.STOP if time.monotonic() - begun >= training.seconds else Verdict.CONTINUE

    cross_validate(
        recipe,
        TrainingData(
            pixels=RandomPixels(pixels, pixels[:0]), y=numbers % CLASSES, folds=numbers % FOLDS, num_classes=CLASSES
        ),
        metric="accuracy",
        seed=0,
        device="cpu",
        on_epoch=on_epoch,
        checkpoint=None,
    )
    print(statistics.median(seconds[1:] or seconds), flush=True)


def rows(seconds: dict[Cell, list[float]]) -> Iterator[dict[str, object]]:
    """Rows of the printed table: one for each order of the folds and each way to wait."""
    for folds, waiting in product(DROPOUT, WAYS):
        alone, *others = (seconds[Cell(folds=folds, waiting=waiting, situation=name)] for name in SITUATIONS)
        row: dict[str, object] = {"folds": folds, "waiting": waiting, "alone s": statistics.median(alone)}
        for name, beside in zip(SITUATIONS[1:], others, strict=True):
            row[f"{name} s"] = statistics.median(beside)
            row[f"{name} / alone"] = statistics.median(b / a for a, b in zip(alone, beside, strict=True))
        yield row


def main(arguments: Sequence[str] | None = None) -> None:
    """Time every cell and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training.shared_cpus", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--busy", type=int, default=2, help="processes that compute without end (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each training (%(default)s)")
    parser.add_argument("--images", type=int, default=180, help="number of images (%(default)s)")
    parser.add_argument("--size", type=int, default=64, help="pixels (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds of each training (%(default)s)")
    parser.add_argument("--json", type=Path, help="file for everything measured")
    parser.add_argument("--train", help=argparse.SUPPRESS)  # one training, in a process that this program starts
    options = parser.parse_args(arguments)
    if options.train:
        train(Training(**json.loads(options.train)))
        return
    cells = [Cell(folds=f, waiting=w, situation=s) for f, w, s in product(DROPOUT, WAYS, SITUATIONS)]
    seconds: dict[Cell, list[float]] = {cell: [] for cell in cells}
    for round_number in range(options.rounds):
        for cell in cells[:: -1 if round_number % 2 else 1]:
            training = Training(
                folds=cell.folds,
                threads=1 if cell.waiting == "one thread" else options.threads,
                images=options.images,
                image_size=options.size,
                seconds=options.seconds,
            )
            seconds[cell].append(time_training(training, cell.waiting, cell.situation, options.busy))
            print(f"{cell.folds}, {cell.waiting}, {cell.situation}: {seconds[cell][-1]:.2f} s", file=sys.stderr)
    machine = describe_machine(f"{options.busy} busy processes", f"{options.threads} threads a training")
    print(f"{one_line(machine)}\n\n{table(list(rows(seconds)))}\n\ngoal: at most {GOAL} times the time alone")
    if options.json:
        results = [{**asdict(cell), "seconds": values} for cell, values in seconds.items()]
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))


if __name__ == "__main__":
    main()
