"""Speed of a whole trial, compared with the bare network and with a usual script.

    python -m benchmarks.training.throughput
    python -m benchmarks.training.throughput --device cuda --size 224 --batches 32,128 \\
        --backbones resnet50,tf_efficientnet_b4,swin_tiny_patch4_window7_224

A trial is everything that a worker does for one: take the work item, ask Optuna, build the networks, train the folds
in lockstep, score them after every epoch, write checkpoints, store the result and report it to Optuna. Its rivals
(`benchmarks.training.plain_pytorch`):

* ceiling: the same networks on tensors that are already on the device; only forward, backward, step and evaluation, in
  the memory layout and precision of the trial. The plain ceiling is contiguous and float32;
* by hand: a DataLoader that decodes JPEGs, Albumentations, one fold after another, float32.

All take turns in one process, round after round. Ratios are within a round, medians over the rounds. A first round,
which is not counted, takes the one-time costs of a worker: imports, decoding, the GPU's choice of algorithms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe_machine, one_line, table
from benchmarks.training.plain_pytorch import train_by_hand, train_from_tensors
from benchmarks.training.trial_study import trial_runner, write_images

CPU_BACKBONES = "resnet10t,mobilenetv4_conv_small_050,test_efficientnet"


def measure(
    backbone: str, batch_size: int, images_dir: Path, device: torch.device, given: argparse.Namespace
) -> dict[str, Any]:
    """Seconds of the trial and its rivals in each round, and a table row of medians."""
    with (
        tempfile.TemporaryDirectory() as work_dir,
        trial_runner(
            Path(work_dir),
            images_dir,
            device,
            backbone=backbone,
            folds=given.folds,
            size=given.size,
            epochs=given.epochs,
            batch_size=batch_size,
        ) as runner,
    ):
        work = runner.workload()
        bfloat16 = device.type == "cuda"
        rivals: dict[str, Callable[[], None]] = {
            "trial": runner.run,
            "ceiling": lambda: train_from_tensors(work, channels_last=True, bfloat16=bfloat16),
            "plain ceiling": lambda: train_from_tensors(work, channels_last=False, bfloat16=False),
        }
        if not given.no_hand:
            rivals["by hand"] = lambda: train_by_hand(work)
        seconds: dict[str, list[float]] = {name: [] for name in rivals}
        for round_number in range(given.rounds + 1):
            # Every other round runs backwards, so that a slow phase of the machine affects all of them.
            for name in list(rivals)[:: 1 if round_number % 2 else -1]:
                begun = time.perf_counter()
                rivals[name]()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                if round_number:
                    seconds[name].append(time.perf_counter() - begun)
    passes = len(work.y) * (work.num_folds - 1) * work.epochs

    def ratio(slow: str) -> list[float]:
        return [other / ours for other, ours in zip(seconds[slow], seconds["trial"], strict=True)]

    row: dict[str, Any] = {
        "backbone": backbone,
        "batch": batch_size,
        "trial s": statistics.median(seconds["trial"]),
        "images/s": passes / statistics.median(seconds["trial"]),
    }
    for name in list(rivals)[1:]:
        row[f"{name} s"] = statistics.median(seconds[name])
        row[f"{name} / trial"] = statistics.median(ratio(name))
    return {"row": row, "seconds": seconds}


def main() -> None:
    """Run all cells and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--backbones", default=CPU_BACKBONES, help="comma-separated timm names (%(default)s)")
    parser.add_argument("--size", type=int, default=64, help="pixels (%(default)s)")
    parser.add_argument("--batches", default="32", help="comma-separated batch sizes (%(default)s)")
    parser.add_argument("--images", type=int, default=654, help="number of images (%(default)s)")
    parser.add_argument("--folds", type=int, default=5, help="number of folds (%(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of each training (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds (%(default)s)")
    parser.add_argument("--threads", type=int, default=None, help="torch threads; default: torch's choice")
    parser.add_argument("--no-hand", action="store_true", help="leave the hand-written script out")
    parser.add_argument("--json", type=Path, help="file for everything measured")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    results = []
    with tempfile.TemporaryDirectory() as folder:
        images_dir = write_images(Path(folder), given.images)
        for backbone in given.backbones.split(","):
            for batch_size in map(int, given.batches.split(",")):
                results.append(measure(backbone, batch_size, images_dir, device, given))
                print(table([results[-1]["row"]]), flush=True)
    machine = describe_machine(where)
    print(f"\n{one_line(machine)}\n\n{table([result['row'] for result in results])}\n")
    for name in ("ceiling", "plain ceiling", "by hand"):
        ratios = [result["row"].get(f"{name} / trial") for result in results]
        if all(ratios):
            print(f"{name} / trial, geometric mean: {statistics.geometric_mean(ratios):.3f}")
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))


if __name__ == "__main__":
    main()
