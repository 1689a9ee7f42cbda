"""Peak memory of a worker that trains K folds in lockstep, for several backbones.

    python -m benchmarks.training.gpu_memory --folds 1,5 --json memory.json

For each backbone, batch size and number of folds, a fresh process imports everything, measures its baseline, and then
cross-validates random images for two epochs, from scratch, with AdamW and averaged weights. The table shows the memory
beyond the baseline: on a CPU the peak resident size of the process, images included; on a GPU the peak of all tensors,
beside the peak that was planned before the first epoch (`trainer.training.folds.memory.gpu_memory`).

Expected: each further fold adds four times the weights (with AdamW and averaging) and no activations. On a GPU, the
plan is within 20% of the measured peak.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.machine import describe_machine, one_line, table
from trainer.training.results import ALWAYS_TRAINED

BACKBONES = {
    "cpu": ("resnet10t", "mobilenetv4_conv_small_050", "test_efficientnet"),
    "cuda": ("resnet50", "tf_efficientnet_b4", "swin_tiny_patch4_window7_224"),
}
SIZES = {"cpu": 64, "cuda": 224}  # pixels
BATCH_SIZES = {"cpu": (32,), "cuda": (32, 128)}
CLASSES = 5
EPOCHS = 2  # the optimizer allocates its state in the first
MIB = 2**20
TIMEOUT = 1800.0  # seconds for one cell


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination of settings."""

    device: str
    backbone: str
    image_size: int
    batch_size: int
    folds: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """Measurements of one cell; memory in MiB."""

    cell: Cell
    baseline: float
    """Resident size after all imports."""
    resident: float
    """Peak resident size beyond ``baseline``."""
    weights: float
    """Parameters and buffers of one network."""
    device_peak: float | None
    """Peak of all tensors on the GPU; None on a CPU."""
    planned: float | None
    """Planned peak on the GPU; None on a CPU."""
    micro_batch: int
    parked: bool
    """Whether idle folds were offloaded to host memory."""

    def row(self) -> dict[str, object]:
        """The cell as a row of the printed table."""
        on_gpu = self.device_peak is not None and self.planned is not None
        return {
            "device": self.cell.device,
            "backbone": self.cell.backbone,
            "px": self.cell.image_size,
            "batch": self.cell.batch_size,
            "folds": self.cell.folds,
            "weights MiB": f"{self.weights:.1f}",
            "resident MiB": f"{self.resident:.0f}",
            "baseline MiB": f"{self.baseline:.0f}",
            **({"GPU MiB": f"{self.device_peak:.0f}", "planned MiB": f"{self.planned:.0f}"} if on_gpu else {}),
            "micro batch": self.micro_batch,
            "parked": "yes" if self.parked else "no",
        }


@dataclass(frozen=True)
class RandomPixels:
    """Training and test images in memory, uint8."""

    train: npt.NDArray[np.uint8]
    test: npt.NDArray[np.uint8]


def measure(cell: Cell) -> Result:
    """Measure one cell in a fresh process, because processes rarely return memory to the system.

    Raises:
        RuntimeError: the process died, most likely out of memory, or exceeded `TIMEOUT`.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(cell, sender), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(TIMEOUT):
            raise RuntimeError(f"{cell} took longer than {TIMEOUT:.0f} s")
        result: Result = receiver.recv()
    except EOFError as error:
        process.join()
        raise RuntimeError(f"the process that measured {cell} died with exit code {process.exitcode}") from error
    finally:
        process.kill()
        process.join()
    return result


def _send(cell: Cell, sender: multiprocessing.connection.Connection) -> None:
    sender.send(train(cell))


def train(cell: Cell) -> Result:
    """Measure one cell in this process."""
    import albumentations  # noqa: F401  # imported here, as part of the baseline
    import timm
    import torch

    from trainer.recipe.recipe import Recipe
    from trainer.training.cross_validation import cross_validate
    from trainer.training.folds.memory.gpu_memory import tensor_bytes
    from trainer.training.results import TrainingData, Verdict

    device = torch.device(cell.device)
    recipe = Recipe.from_flat(
        {
            "backbone": cell.backbone,
            "init": "scratch",
            "image_size": cell.image_size,
            "batch_size": cell.batch_size,
            "epochs": EPOCHS,
            "ema": 0.9,
        }
    )
    network = timm.create_model(cell.backbone, num_classes=CLASSES)
    weights = tensor_bytes(network.state_dict())
    del network
    if device.type == "cuda":
        torch.zeros(1, device=device)  # CUDA's host memory belongs to the baseline
    baseline = _peak()
    # Two batches in each fold's training part, and one batch of test images.
    count = 2 * cell.batch_size * max(2, cell.folds) // max(1, cell.folds - 1)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count + cell.batch_size, cell.image_size, cell.image_size, 3), np.uint8)
    folds = np.arange(count) % cell.folds if cell.folds > 1 else np.where(np.arange(count) % 2, ALWAYS_TRAINED, 0)
    result = cross_validate(
        recipe,
        TrainingData(
            pixels=RandomPixels(pixels[:count], pixels[count:]),
            y=np.arange(count) % CLASSES,
            folds=folds,
            num_classes=CLASSES,
        ),
        metric="accuracy",
        seed=0,
        device=device,
        on_epoch=lambda report: Verdict.CONTINUE,
        checkpoint=None,
    )
    machine = result.machine
    return Result(
        cell=cell,
        weights=weights / MIB,
        baseline=baseline / MIB,
        resident=(_peak() - baseline) / MIB,
        device_peak=_number(machine.get("memory_peak")),
        planned=_number(machine.get("memory_planned")),
        micro_batch=int(machine["micro_batch"]),
        parked=bool(machine.get("parked", False)),
    )


def _peak() -> int:
    """Largest resident size of this process so far, in bytes."""
    try:
        # VmHWM starts anew with each program; a process inherits getrusage's peak from its parent.
        with Path("/proc/self/status").open(encoding="utf-8") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size if sys.platform == "darwin" else size * 1024


def _number(recorded: object) -> float | None:
    return float(recorded) if isinstance(recorded, (int, float)) else None


def cells(
    device: str, backbones: Sequence[str], image_size: int, batch_sizes: Sequence[int], folds: Sequence[int]
) -> Iterator[Cell]:
    """Every combination."""
    for backbone, batch_size, number in product(backbones, batch_sizes, folds):
        yield Cell(device=device, backbone=backbone, image_size=image_size, batch_size=batch_size, folds=number)


def _numbers(given: str) -> list[int]:
    return [int(part) for part in given.split(",")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every cell and print the table; 1 if any could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training.gpu_memory", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--device", choices=tuple(SIZES), default="cpu", help="default: cpu")
    parser.add_argument("--backbone", action="append", help="timm name, repeatable; default: three of the device")
    parser.add_argument("--image-size", type=int, help="pixels; default: 64 on the CPU, 224 on a GPU")
    parser.add_argument("--batch-size", type=_numbers, help="such as 32,128; default: 32, on a GPU 32,128")
    parser.add_argument("--folds", type=_numbers, default=[1, 5], help="such as 1,5")
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    options = parser.parse_args(arguments)
    device = options.device
    results, failures = [], []
    wanted = cells(
        device,
        options.backbone or BACKBONES[device],
        options.image_size or SIZES[device],
        options.batch_size or BATCH_SIZES[device],
        options.folds,
    )
    for cell in wanted:
        try:
            results.append(measure(cell))
        except RuntimeError as error:
            failures.append(str(error))
            print(f"failed: {error}", file=sys.stderr)
    machine = describe_machine()
    print(one_line(machine), table([result.row() for result in results]), sep="\n\n")
    if options.json:
        report = {"machine": machine, "results": [asdict(result) for result in results], "failures": failures}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
