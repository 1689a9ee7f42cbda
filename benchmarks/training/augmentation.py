"""Cost of the augmentation pipeline beyond Albumentations itself.

    python -m benchmarks.training.augmentation

It measures each shipped study, at its default recipe and with every sampled strength at the middle of its range, and
each policy. Two speeds, in images per second of processor time:

* ours: the batches of a training (`trainer.batches.batch_loader.BatchLoader`). The epoch is planned, images come from a
  memory-mapped file, and each image is augmented under its own key, so that the result is equal in any process;
* alone: the same transforms in a plain ``albumentations.Compose`` on arrays in memory, without batches. It draws the
  same random numbers at no cost, because different draws would cause larger differences than the pipeline.

Both run on one core, without OpenCV's threads, and take turns in every round. The reported ratio is the median over
rounds. A first round, which is not counted, checks that the results are equal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import describe_machine, one_line, table
from studies.file.catalog import bundled_studies
from studies.load_study import load_study
from trainer.batches.augmenter import KeyedRandom, build_transforms
from trainer.batches.batch_loader import BatchLoader
from trainer.batches.batch_plan import BatchPlan, plan_epoch
from trainer.batches.pixel_cache import Pixels, side_to_crop_from
from trainer.recipe.augmentation_table import POLICIES
from trainer.recipe.recipe import Augment, Recipe

BATCH_SIZE = 32
GOAL = 0.9  # ours / alone


def shipped_pipelines() -> dict[str, Augment]:
    """Augmentation settings by name: each study's default recipe and the middle of its ranges, and each policy."""
    found: dict[str, Augment] = {}
    for name in bundled_studies():
        spec = load_study(name)
        # Not `default_recipe`: a study's backbone filter would need timm, and augmentations do not depend on it.
        flat = dict(spec.recipe)
        middle = dict(flat)
        for dimension in spec.space:
            if dimension.field.startswith("augment.") and dimension.default is not None:
                flat[dimension.field] = middle[dimension.field] = dimension.default
                if dimension.low is not None and dimension.high is not None:
                    middle[dimension.field] = (dimension.low + dimension.high) / 2
        found[f"{name}, default"] = Recipe.from_flat(flat).augment
        found[f"{name}, middle"] = Recipe.from_flat(middle).augment
    found |= {policy: replace(Recipe().augment, policy=policy) for policy in POLICIES if policy != "none"}
    # Settings without augmentation are left out, and equal settings are measured once.
    pipelines: dict[str, Augment] = {}
    for name, settings in found.items():
        blank = replace(settings, mix="none")
        if build_transforms(blank, 32) and blank not in pipelines.values():
            pipelines[name] = blank
    return pipelines


def random_images(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth random images with noise: uint8, shape (count, side, side, 3)."""
    generator = np.random.default_rng(seed)
    images = np.empty((count, side, side, 3), np.uint8)
    for image in images:
        coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
        image[:] = np.clip(smooth + generator.normal(0, 12, smooth.shape), 0, 255)
    return images


def measure(settings: Augment, size: int, source: Pixels, rounds: int) -> dict[str, list[float]]:
    """Images per second of processor time in each round, for ``ours`` and ``alone``."""
    count = len(source.train)
    everything, labels = np.arange(count), np.zeros(count, np.int64)
    alone = PlainCompose(settings, size, np.array(source.train))
    speeds: dict[str, list[float]] = {"ours": [], "alone": []}
    with BatchLoader() as loader:

        def plan(epoch: int) -> tuple[BatchPlan, ...]:
            return plan_epoch(everything, labels, batch_size=BATCH_SIZE, balance=0.0, seed=0, fold=0, epoch=epoch)

        def ours(epoch: int) -> float:
            # Processor time of all threads, because the machine may be shared.
            begun = time.process_time()
            for _ in loader.stream(source, settings, size, [plan(epoch)]):
                pass
            return time.process_time() - begun

        for batch, batch_plan in zip(loader.stream(source, settings, size, [plan(0)]), plan(0), strict=True):
            assert np.array_equal(batch, alone.results(batch_plan)), "the two pipelines differ"
        for number in range(1, rounds + 1):
            turns: list[tuple[str, Callable[[int], float]]] = [
                ("ours", ours),
                ("alone", lambda epoch: sum(map(alone.seconds, plan(epoch)))),
            ]
            for name, run in turns[:: 1 if number % 2 else -1]:
                speeds[name].append(count / run(number))
    return speeds


class PlainCompose:
    """A plain ``albumentations.Compose``."""

    def __init__(self, settings: Augment, size: int, arrays: NDArray[np.uint8]) -> None:
        import albumentations

        self._compose = albumentations.Compose(build_transforms(settings, size))
        self._random = KeyedRandom()
        self._random.attach_to(self._compose)
        self._arrays = arrays

    def results(self, plan: BatchPlan) -> NDArray[np.uint8]:
        """The augmented batch: uint8 (b, size, size, 3)."""
        return np.stack([self._augment(row, key)[0] for row, key in zip(plan.indices, plan.keys, strict=True)])

    def seconds(self, plan: BatchPlan) -> float:
        """Processor time of a batch in seconds."""
        return sum(self._augment(row, key)[1] for row, key in zip(plan.indices, plan.keys, strict=True))

    def _augment(self, row: np.int64, key: int) -> tuple[NDArray[np.uint8], float]:
        image = self._arrays[row]
        self._random.seed(key)
        begun = time.thread_time()
        # Without force_apply, Compose draws a random number first.
        result: NDArray[np.uint8] = self._compose(image=image, force_apply=True)["image"]
        return result, time.thread_time() - begun


def main(arguments: list[str] | None = None) -> int:
    """Measure all pipelines and print the table; 1 if any is below the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224, help="pixels (%(default)s)")
    parser.add_argument("--images", type=int, default=192, help="images in a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="counted rounds (%(default)s)")
    parser.add_argument("--only", default="", help="only pipelines whose name contains this")
    parser.add_argument("--json", type=Path, help="file for everything measured")
    given = parser.parse_args(arguments)
    rows, measured = [], {}
    with tempfile.TemporaryDirectory() as folder:
        sources = {}
        for side in (given.size, side_to_crop_from(given.size)):
            path = Path(folder) / f"{side}.npy"
            np.save(path, random_images(given.images, side))
            sources[side] = Pixels(path=path, n_train=given.images, n_test=0, size=side)
        for name, settings in shipped_pipelines().items():
            if given.only not in name:
                continue
            crops = settings.strengths["crop"] > 0.0
            source = sources[side_to_crop_from(given.size) if crops else given.size]
            speeds = measured[name] = measure(settings, given.size, source, given.rounds)
            ratios = [ours / alone for ours, alone in zip(speeds["ours"], speeds["alone"], strict=True)]
            row: dict[str, Any] = {
                "pipeline": name,
                "transforms": len(build_transforms(settings, given.size)),
                "ours, images/s": round(statistics.median(speeds["ours"])),
                "alone, images/s": round(statistics.median(speeds["alone"])),
                "ours / alone": statistics.median(ratios),
            }
            rows.append(row)
            print(table([row]).splitlines()[-1], flush=True)
    machine = describe_machine("one core")
    print(f"\n{one_line(machine)}\n\n{table(rows)}")
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "speeds": measured}, indent=1))
    return int(any(row["ours / alone"] < GOAL for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
