"""Cost of a linear probe, compared with the bare forward pass that it needs.

    python -m benchmarks.probes.probe_cost --weights WEIGHTS
    python -m benchmarks.probes.probe_cost --device cuda --size 224 --images 2000

* probe: everything from building the network to the predictions of all images (`trainer.training.linear_probe`), with
  features that nothing has computed before;
* again: the same with the features of the first probe, as for other folds or another penalty;
* bare pass: the same network on batches that are already normalised tensors, the image and its mirror image.

All take turns in one process, round after round; ratios are within a round, medians over the rounds. The images are
noise. Their content changes only the time of the fits. Fits take longest where features do not separate the classes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.machine import describe_machine, one_line, table
from trainer.inference.images import Normaliser
from trainer.networks.backbones import preprocessing_of
from trainer.networks.build import create_backbone
from trainer.recipe.recipe import LINEAR_PROBE, Recipe
from trainer.training.cross_validation import cross_validate
from trainer.training.folds.devices import training_precision
from trainer.training.results import TrainingData, Verdict

GOAL = 1.15
"""Largest ratio of a probe's time to that of the bare pass."""
BATCH = 64  # images, as scripts by hand have it


@dataclass(frozen=True)
class Images:
    """Images in memory: uint8, (n, size, size, 3) and (m, size, size, 3)."""

    train: npt.NDArray[np.uint8]
    test: npt.NDArray[np.uint8]


def draw_data(n: int, size: int, classes: int, folds: int, features: Path) -> TrainingData:
    """``n`` training images of noise, brighter by their class, and half as many test images."""
    generator = np.random.default_rng(0)
    y = np.arange(n, dtype=np.int64) % classes
    levels = np.concatenate([y, generator.integers(0, classes, n // 2)]) * (60 // classes)
    images = (generator.integers(0, 180, (len(levels), size, size, 3)) + levels[:, None, None, None]).astype(np.uint8)
    return TrainingData(
        pixels=Images(images[:n], images[n:]),
        y=y,
        folds=np.arange(n, dtype=np.int64) // classes % folds,
        num_classes=classes,
        features=features,
    )


def run_probe(recipe: Recipe, data: TrainingData, device: torch.device, weights: Path | None) -> None:
    """One probe of all folds, as a worker runs it."""
    cross_validate(
        recipe,
        data,
        metric="accuracy",
        seed=0,
        device=device,
        on_epoch=lambda report: Verdict.CONTINUE,
        checkpoint=None,
        weights_dir=weights,
        keep_models=True,
    )


def run_bare_pass(recipe: Recipe, data: TrainingData, device: torch.device, weights: Path | None) -> float:
    """Seconds of the forward passes alone."""
    model = create_backbone(recipe, data.num_classes, weights_dir=weights)
    model = model.to(device).to(memory_format=torch.channels_last).eval()
    preprocessing = preprocessing_of(model)
    normaliser = Normaliser(preprocessing.mean, preprocessing.std, recipe.image_size, device)
    precision = training_precision(device)
    seconds = 0.0
    for images in (data.pixels.train, data.pixels.test):
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(np.array(images[start : start + BATCH])).to(device)
            pixels = normaliser(batch).contiguous(memory_format=torch.channels_last)
            mirrored = pixels.flip(3).contiguous(memory_format=torch.channels_last)
            _wait(device)
            begun = time.perf_counter()
            with (
                torch.no_grad(),
                torch.autocast(device.type, dtype=precision, enabled=precision is not torch.float32),
            ):
                model(pixels)
                model(mirrored)
            _wait(device)
            seconds += time.perf_counter() - begun
    return seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(backbone: str, given: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Seconds of each round, and a table row of medians."""
    recipe = Recipe.from_flat(
        {
            "backbone": backbone,
            "init": "pretrained" if given.weights else "scratch",
            "image_size": given.size,
            "method": LINEAR_PROBE,
            "epochs": 1,
            "tta": "hflip",
        }
    )
    seconds: dict[str, list[float]] = {"probe": [], "again": [], "bare pass": []}
    for round_number in range(given.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            data = draw_data(given.images, given.size, given.classes, given.folds, Path(folder))
            found = {}
            for name in ("probe", "again"):
                begun = time.perf_counter()
                run_probe(recipe, data, device, given.weights)
                found[name] = time.perf_counter() - begun
            found["bare pass"] = run_bare_pass(recipe, data, device, given.weights)
        if round_number:  # the first takes the one-time costs of a process
            for name, value in found.items():
                seconds[name].append(value)
    ratios = [probe / bare for probe, bare in zip(seconds["probe"], seconds["bare pass"], strict=True)]
    row: dict[str, Any] = {"backbone": backbone, "size": given.size, "images": given.images * 3 // 2}
    row |= {f"{name} s": statistics.median(values) for name, values in seconds.items()}
    row["probe / bare pass"] = statistics.median(ratios)
    return {"row": row, "seconds": seconds}


def main() -> None:
    """Measure all backbones and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument(
        "--backbones", default="tf_efficientnet_lite0.in1k", help="comma-separated timm names (%(default)s)"
    )
    parser.add_argument("--weights", type=Path, help="folder of pre-trained weights; default: random weights")
    parser.add_argument("--size", type=int, default=128, help="pixels (%(default)s)")
    parser.add_argument("--images", type=int, default=654, help="training images (%(default)s)")
    parser.add_argument("--classes", type=int, default=12, help="number of classes (%(default)s)")
    parser.add_argument("--folds", type=int, default=5, help="number of folds (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds (%(default)s)")
    parser.add_argument("--json", type=Path, help="file for everything measured")
    given = parser.parse_args()
    device = torch.device(given.device)
    results = [measure(backbone, given, device) for backbone in given.backbones.split(",")]
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    machine = describe_machine(where)
    print(f"{one_line(machine)}\n\n{table([result['row'] for result in results])}\n")
    worst = max(result["row"]["probe / bare pass"] for result in results)
    print(f"The goal is a ratio of at most {GOAL}; the largest is {worst:.2f}.")
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))


if __name__ == "__main__":
    main()
