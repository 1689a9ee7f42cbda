"""One network instead of an ensemble: what a mean of weights and a taught network lose, on labels held back.

    python -m benchmarks.lite_weights WEIGHTS
    python -m benchmarks.training.single_network DATA --weights WEIGHTS --json FILE

Of the data set, a competition is drawn as in `benchmarks.competitions.pretrained`: 40% of the images of every class are
the private test set. One recipe of each kind is trained by ``search start`` with 5 folds and 2 seeds and exported: a
linear probe; short fine-tunings with a random first classifier and with a linear probe as the first classifier. Then
``search single`` makes one network of each ensemble by the mean of its weights and by distillation. The private
accuracy of the ensemble and of both networks is what the command itself cannot know.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.competitions.pretrained import BACKBONE, ROOT, Competition, draw
from benchmarks.machine import describe_machine, one_line, table
from trainer.data.read import read_images

KINDS = {
    "probe": 'method = "linear_probe"',
    "fine-tuned": 'epochs = {epochs}\n"optimizer.lr" = 1e-3',
    "fine-tuned from a probe": 'epochs = {epochs}\n"optimizer.lr" = 1e-3\nhead = "probe"',
}
"""Settings of the recipe of each kind of ensemble."""
STUDY = """
title = "One network"
[protocol]
metric = "accuracy"
folds = 5
[recipe]
backbone = "{backbone}"
image_size = {size}
batch_size = 16
"augment.hflip" = 0.5
{recipe}
[search]
trials = 1
[final]
seeds = 2
tta = false
"""


def measure(kind: str, competition: Competition, given: argparse.Namespace, folder: Path) -> list[dict[str, object]]:
    """Train and export one ensemble, make single networks of it, and score all on the private test set."""
    name = kind.replace(" ", "_").replace("-", "_")
    study = folder / f"{name}.toml"
    recipe = KINDS[kind].format(epochs=given.epochs)
    study.write_text(STUDY.format(backbone=given.backbone, size=given.size, recipe=recipe))
    weights = ("--weights", str(given.weights.resolve()))
    _search(folder, "start", "--study", str(study), "--data", str(competition.folder), "--no-probe", *weights)
    model = folder / "retable" / name / "model"
    truth = competition.truth
    rows: list[dict[str, object]] = []
    before = _labels(folder, model, competition)
    for way in ("mean of weights", "taught"):
        if way == "taught" and kind == "probe":
            continue  # a probe learns from labels alone
        _search(folder, "single", "--study", name, *weights, "--distil" if way == "taught" else "--average")
        after = _labels(folder, model / "single", competition)
        facts: dict[str, Any] = json.loads((model / "single" / "config.json").read_text())["extra"]["single"]
        right = np.array([[labels[one] == truth[one] for one in sorted(truth)] for labels in (before, after)])
        difference = right[1].astype(float) - right[0]
        estimated = facts.get("held_out") or facts.get("taught")
        ensemble_ms, single_ms = facts["milliseconds"]
        rows.append(
            {
                "ensemble": f"{kind}, {facts['networks']} networks",
                "one network": way,
                "private, ensemble": f"{100 * right[0].mean():.1f}",
                "private, one": f"{100 * right[1].mean():.1f}",
                "difference": f"{100 * difference.mean():+.1f} ± {100 * difference.std() / np.sqrt(len(truth)):.1f}",
                "expected": f"{-100 * facts['test_images']['expected_loss']:+.1f}",
                "held-out": f"{100 * estimated['gain']:+.1f} ± {100 * estimated['error']:.1f}" if estimated else "-",
                "other class": f"{100 * facts['test_images']['differing'] / facts['test_images']['images']:.1f}",
                "ms, ensemble": ensemble_ms,
                "ms, one": single_ms,
            }
        )
        print(rows[-1], flush=True)
    return rows


def _search(folder: Path, *arguments: str) -> None:
    """Run a command of Retable in ``folder``; its output goes to a log there."""
    with (folder / "log").open("ab") as log:
        subprocess.run(
            [sys.executable, "-m", "search.cli", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "NO_ALBUMENTATIONS_UPDATE": "1", "HF_HUB_OFFLINE": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )


def _labels(folder: Path, model: Path, competition: Competition) -> dict[str, str]:
    """The predicted class of each test image, by its file name."""
    _search(folder, "predict", str(model), str(competition.folder / "test"), "--output", "predictions.csv")
    with (folder / "predictions.csv").open(newline="") as file:
        return {row["image_id"]: row["y_pred"] for row in csv.DictReader(file)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with labelled images")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--backbone", default=BACKBONE)
    parser.add_argument("--size", type=int, default=128, help="pixels (%(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="of the fine-tuning (%(default)s)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="%(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of the private test set (%(default)s)")
    parser.add_argument("--json", type=Path, help="everything measured")
    parser.add_argument("--folder", type=Path, help="keep databases and exports there, and go on with them")
    given = parser.parse_args(arguments)
    kinds = given.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"--kinds: there is no {', '.join(unknown)}; valid: {', '.join(KINDS)}")
    rows: list[dict[str, object]] = []
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="single-") as scratch:
        folder = (given.folder or Path(scratch)).resolve()
        drawn = draw(read_images(given.data), folder / "data", classes=20, per_class=400, seed=given.seed)
        for kind in kinds:
            rows += measure(kind, drawn, given, folder)
            if given.json is not None:
                given.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))
    print(f"\n{one_line(machine)}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
