"""A small competition whose pictures have up to three labels each, and a study of it. Its trainings are real."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from tests.search.small_study import COLOURS, STUDY

SPACE = '"loss.class_weight" = [0.5]\nbalance = [0.5]\n"augment.mix" = ["mixup"]\n'
SEVERAL = STUDY.replace("folds = 2", 'folds = 2\nmetric = "mean_f1"').replace("[search]", f"{SPACE}\n[search]")
NAMES = sorted(COLOURS)
TRAIN, TEST = 30, 6


def write_pictures(folder: Path) -> Path:
    """Pictures of up to three stripes; a stripe is noise, or has the colour of a label."""
    rng = np.random.default_rng(0)
    sets = [own for own in ((a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)) if any(own)]

    def draw(path: Path, own: tuple[int, ...]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((40, 42, 3), 128.0) + rng.normal(0, 20, (40, 42, 3))
        for place, (has, name) in enumerate(zip(own, NAMES, strict=True)):
            if has:
                pixels[:, 14 * place : 14 * place + 14] = COLOURS[name]
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)

    for part, table, count in (("train", "train.csv", TRAIN), ("test", "sample_submission.csv", TEST)):
        with (folder / table).open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["picture", "colours"])
            for i in range(count):
                own = sets[i % len(sets)]
                draw(folder / part / f"{part}{i}.png", own)
                listed = " ".join(name for has, name in zip(own, NAMES, strict=True) if has)
                rows.writerow([f"{part}{i}.png", listed if part == "train" else "red"])
    return folder
