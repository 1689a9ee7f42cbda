"""The criteria of `benchmarks/first_gpu.sh`, one function a check. Each prints PASS and FAIL lines.

    python -m benchmarks.first_gpu CHECK [FILE ...]

The exit code is 1 if something failed.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from trainer.training.folds.fold_model import FoldModel

LARGEST_DIFFERENCE = 1e-3  # of a probability, between devices or batch sizes; an export tolerates no more
MOST_WAITS = 2  # of the host for the GPU, in an epoch of eight steps
SPEED = 0.7  # of the bare network's images a second
MEMORY = (0.8, 1.2)  # planned peak / measured peak
IDLE = 0.25  # of a step, in which the GPU waits for launches; above it CUDA graphs may pay (benchmarks/README.md)
PAYBACK = 500  # steps of all folds after which cuDNN's search must have paid for itself
BACKBONES = ("resnet18", "tf_efficientnet_b0", "convnext_tiny")

Line = tuple[bool, str]
"""Whether a check passed, and what was found."""

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Images, shape (b, size, size, 3), and their classes, shape (b,)."""


def devices() -> Iterator[Line]:
    """NVML lists a GPU, and torch computes on each that it lists."""
    from search.runtime.gpus.listing import list_gpus
    from search.runtime.gpus.torch_check import unusable_gpus

    gpus = list_gpus()
    reasons = unusable_gpus(gpus)
    yield bool(gpus), f"{len(gpus)} GPUs found"
    for gpu in gpus:
        used = f"{gpu.memory_used} of {gpu.memory_total} MiB in use"
        yield gpu.uuid not in reasons, f"{gpu}: {used}; {reasons.get(gpu.uuid, 'torch computes on it')}"


def tests(report: Path) -> Iterator[Line]:
    """All tests marked ``gpu`` ran and passed."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))  # noqa: S314  (written by pytest just now)

    def total(name: str) -> int:
        return sum(int(suite.get(name, 0)) for suite in suites)

    number, bad, skipped = total("tests"), total("failures") + total("errors"), total("skipped")
    yield number > 0 and bad == skipped == 0, f"{number} tests need a GPU; {bad} failed, {skipped} were skipped"


def search(log: Path) -> Iterator[Line]:
    """The search ran on GPUs and exported."""
    text, where = _ended(log)
    yield text.endswith("exit code 0"), f"the search ended with {where}"
    on_gpus = bool(re.search(r"workers? on \d+ GPU", _unwrapped(text)))
    yield on_gpus, "its workers ran on GPUs"
    yield (log.parent / "retable" / "quickstart" / "submission.csv").is_file(), "it wrote a submission"
    yield on_gpus and "the CPU checks the export" not in _unwrapped(text), "the export was checked on the GPU"


def replay(log: Path) -> Iterator[Line]:
    """A trial trained again is within the tolerance of GPUs."""
    text, where = _ended(log)
    yield text.endswith("exit code 0"), f"a trial, trained again, is within the tolerance ({where})"


def refusal(log: Path) -> Iterator[Line]:
    """A GPU that does not exist is refused."""
    text, where = _ended(log)
    good = text.endswith("exit code 2") and "names no GPU" in _unwrapped(text)
    yield good, f"CUDA_VISIBLE_DEVICES=99 is refused ({where})"


def cpu(log: Path) -> Iterator[Line]:
    """``--gpus none`` trains on the CPU."""
    text, where = _ended(log)
    good = text.endswith("exit code 0") and "on the CPU" in _unwrapped(text)
    yield good, f"--gpus none trains on the CPU ({where})"


def spread(*logs: Path) -> Iterator[Line]:
    """Workers started by hand take different GPUs where there are enough."""
    from search.runtime.gpus.listing import list_gpus

    taken = [re.findall(r"computes on .*\((\S+)\)$", log.read_text(), re.MULTILINE) for log in logs]
    used = {uuid for found in taken for uuid in found}
    free = sum(not gpu.occupied for gpu in list_gpus())
    good = all(taken) and len(used) >= min(len(logs), free)
    yield good, f"{len(logs)} workers on {len(used)} of {free} free GPUs"


def speed(file: Path) -> Iterator[Line]:
    """A trial is nearly as fast as its networks alone."""
    for result in json.loads(file.read_text())["results"]:
        row = result["row"]
        ratio = row["ceiling / trial"]
        yield ratio >= SPEED, f"{row['backbone']}: {row['images/s']:.0f} images/s, {ratio:.0%} of the bare network's"


def memory(file: Path) -> Iterator[Line]:
    """The planned peak of a GPU's memory is near the measured one."""
    for result in json.loads(file.read_text())["results"]:
        cell, planned, peak = result["cell"], result["planned"], result["device_peak"]
        ratio = planned / peak
        yield (
            MEMORY[0] <= ratio <= MEMORY[1],
            f"{cell['backbone']}, {cell['folds']} folds: planned {planned:.0f} MiB, measured {peak:.0f} MiB",
        )


def probe(device: str = "cuda", backbones: Sequence[str] = BACKBONES, size: int = 224) -> Iterator[Line]:
    """Probabilities do not depend on device and batch size, the GPU is kept busy, cuDNN's search pays."""
    for backbone in backbones:
        yield from _exactness(backbone, device, size)
    if device != "cpu":
        yield _waits(backbones[0], device, size)
        for backbone in backbones:
            yield _idle(backbone, device, size)
    for backbone in backbones:
        yield _search_of_algorithms(backbone, device, size)


def _exactness(backbone: str, device: str, size: int) -> Iterator[Line]:
    from trainer.networks.view_averaging import predict_proba

    model = _model(backbone, device, size)
    model.train_epoch(1, _batches(4, size), 32)
    images = _batches(1, size, 64)[0][0]

    def predicted(count: int, where: str) -> npt.NDArray[np.float32]:
        network = copy.deepcopy(model.evaluated).to(where)
        options: dict[str, Any] = {"preprocessing": model.preprocessing, "batch_size": count, "device": where}
        return predict_proba(network, images[:count], **options)["identity"][:8]

    whole, few, elsewhere = predicted(64, device), predicted(8, device), predicted(8, "cpu")
    for name, other in (("64 images at a time", whole), ("the CPU", elsewhere)):
        difference = float(np.abs(few - other).max())
        yield (
            difference <= LARGEST_DIFFERENCE,
            f"{backbone}: probabilities differ from those of {name} by {difference:.1e}",
        )


def _waits(backbone: str, device: str, size: int) -> Line:
    import torch

    model = _model(backbone, device, size)
    model.train_epoch(1, _batches(2, size), 32)
    batches = _batches(8, size)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            model.train_epoch(1, batches, 32)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = [f"{Path(w.filename).name}:{w.lineno}" for w in seen if "synchroniz" in str(w.message)]
    return len(places) <= MOST_WAITS, f"{backbone}: an epoch of 8 steps waits {len(places)} times {sorted(set(places))}"


def _idle(backbone: str, device: str, size: int) -> Line:
    from benchmarks.training.launches import step_times

    (batch,) = _batches(1, size)
    step = step_times(_model(backbone, device, size), batch)
    return step.idle <= IDLE, (
        f"{backbone}: the GPU waits for launches during {step.idle:.0%} of a step of 32 images, which takes "
        f"{step.wall * 1e3:.1f} ms: kernels {step.kernels * 1e3:.1f} ms, work of the host {step.launches * 1e3:.1f} ms"
    )


def _search_of_algorithms(backbone: str, device: str, size: int) -> Line:
    import torch

    first: dict[bool, float] = {}
    steps: dict[bool, float] = {}
    for searched in (True, False):
        model = _model(backbone, device, size)
        with torch.backends.cudnn.flags(enabled=True, benchmark=searched):
            first[searched] = _epoch_seconds(model, _batches(1, size))
            steps[searched] = _epoch_seconds(model, _batches(20, size)) / 20
    gain, cost = steps[False] - steps[True], max(0.0, first[True] - first[False])
    payback = cost / gain if gain > 0 else float("inf")
    return payback <= PAYBACK or gain > -0.02 * steps[False], (
        f"{backbone}: a step of 32 images takes {steps[True] * 1e3:.1f} ms after cuDNN's search, "
        f"{steps[False] * 1e3:.1f} ms without; the search takes {cost:.1f} s and pays after {payback:.0f} steps"
    )


def _epoch_seconds(model: FoldModel, batches: list[Batch]) -> float:
    # The end of an epoch waits for the device, because it reads the losses.
    begun = time.perf_counter()
    model.train_epoch(1, batches, 32)
    return time.perf_counter() - begun


def _model(backbone: str, device: str, size: int) -> FoldModel:
    import torch

    from trainer.recipe.recipe import Recipe
    from trainer.training.folds.fold_model import FoldModel

    # Epochs enough that `trainer.training.folds.algorithm_search` leaves the decision to the check.
    recipe = Recipe.from_flat(
        {"backbone": backbone, "init": "scratch", "image_size": size, "batch_size": 32, "epochs": 100}
    )
    y = np.arange(320) % 10
    return FoldModel(recipe, fold=0, seed=0, train_y=y, num_classes=10, device=torch.device(device), weights_dir=None)


def _batches(count: int, size: int, images: int = 32) -> list[Batch]:
    generator = np.random.default_rng(0)
    return [
        (generator.integers(0, 256, (images, size, size, 3), dtype=np.uint8), np.arange(images) % 10)
        for _ in range(count)
    ]


def _ended(log: Path) -> tuple[str, str]:
    """The text of a log, and its last line: the exit code of the command."""
    text = log.read_text(errors="replace").rstrip()
    return text, text.splitlines()[-1]


def _unwrapped(text: str) -> str:
    """The text without the line breaks of a narrow terminal."""
    return " ".join(text.split())


CHECKS: dict[str, Callable[..., Iterator[Line]]] = {
    check.__name__: check for check in (devices, tests, search, replay, refusal, cpu, spread, probe, speed, memory)
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one check. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=CHECKS)
    parser.add_argument("files", nargs="*", type=Path, help="what the check reads")
    given = parser.parse_args(arguments)
    failed = False
    try:
        for passed, found in CHECKS[given.check](*given.files):
            print(f"{'PASS' if passed else 'FAIL'}  {given.check}: {found}", flush=True)
            failed |= not passed
    except (OSError, RuntimeError, ElementTree.ParseError, ValueError) as error:
        # A command that died leaves no file to read; a GPU that fails raises.
        print(f"FAIL  {given.check}: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
        failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
