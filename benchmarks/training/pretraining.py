"""Pre-training on other labelled images: what it adds to random weights and to published ones.

    python -m benchmarks.training.pretraining CALTECH101 PAINTINGS --weights WEIGHTS --json pretraining.json

For each seed, some classes of the first data set are drawn for the pre-training, and images of the second for the task.
Four starts are compared on the task: random weights, published weights, and the weights that a pre-training makes of
each of the two. The recipes of the pre-trainings are those of ``search pretrain``, with the number of epochs that is
given here. All four starts are fine-tuned with the same recipe, and those that are trained are probed. The seed of a
draw is also that of its folds and trainings, so the starts of a seed are paired. The pre-training comes on top of the
budget of the fine-tuning; its seconds are in the table.

Two tables: accuracy of each start, out-of-fold, by the probe and after the fine-tuning; and the points that each
pre-training gains, with the standard error over seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine, one_line, table
from benchmarks.training.lp_ft import cross_validated, draw, epochs_of, open_draw, with_error
from search.workflow.pretraining.settings import HELD_OUT, pretraining_spec
from trainer.batches.batch_loader import BatchLoader
from trainer.common.errors import TrainerError
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images
from trainer.networks.build import create_backbone
from trainer.networks.layers import classifier_tensors
from trainer.recipe.recipe import Recipe, Scalar
from trainer.training.results import ALWAYS_TRAINED, TrainingData
from trainer.training.write_model_folder import save_weights

STARTS = ("scratch", "pretrained")
"""Weights from which a pre-training, or a fine-tuning without one, begins."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One start on the task of one seed."""

    seed: int
    begin: str
    """One of `STARTS`."""
    pretrained_on: bool
    """Whether a pre-training came between."""
    probe: float | None
    """Out-of-fold accuracy of the linear probe, 0 .. 1; None for random weights, whose features mean nothing."""
    fine_tuned: float
    """Out-of-fold accuracy after the fine-tuning, 0 .. 1."""
    source_accuracy: float | None = None
    """Of the pre-training on the images that it held out."""
    pretraining_seconds: float = 0.0

    @property
    def name(self) -> str:
        """The start for people."""
        begin = {"scratch": "random weights", "pretrained": "published weights"}[self.begin]
        return f"{begin}, pre-trained" if self.pretrained_on else begin


def pretrain(
    source: ImageSet,
    begin: str,
    *,
    backbone: str,
    size: int,
    epochs: int,
    seed: int,
    weights_dir: Path | None,
    folder: Path,
    loader: BatchLoader,
) -> tuple[float, float]:
    """Train weights on ``source`` and write them into ``folder``, without their classifier, as ``begin-art``.

    Returns:
        Accuracy on the images held out, and seconds.

    Raises:
        ValueError: the training diverged.
    """
    spec = pretraining_spec("art", backbone=backbone, init=begin, images=len(source.y), image_size=size, epochs=epochs)
    recipe = Recipe.from_flat(spec.default_recipe())
    data = open_draw(source, recipe, folds=HELD_OUT, seed=seed, scratch=folder)
    held_out = replace(data, folds=np.where(data.folds == 0, 0, ALWAYS_TRAINED))
    begun = time.monotonic()
    result = cross_validated(
        recipe,
        held_out,
        f"pre-training from {begin}",
        seed=seed,
        weights_dir=weights_dir,
        loader=loader,
        predict_test=False,
        keep_models=True,
    )
    plain = Recipe.from_flat({"backbone": backbone, "init": "scratch", "image_size": size})
    classifier = classifier_tensors(create_backbone(plain, len(source.class_names), weights_dir=None))
    state = {key: value for key, value in result.models[0].items() if key not in classifier}
    save_weights(folder / "weights" / f"{begin}-art.safetensors", state)
    return result.reports[-1].metric, time.monotonic() - begun


def judge(
    begin: str,
    init: str,
    data: TrainingData,
    base: dict[str, Scalar],
    *,
    seed: int,
    weights_dir: Path | None,
    loader: BatchLoader,
    **known: Any,
) -> Run:
    """Probe and fine-tune one start on the task.

    Args:
        base: flat recipe of the fine-tuning.
        known: further fields of the `Run`.
    """
    probe = None
    if init != "scratch":
        flat = {**base, "init": init, "method": "linear_probe", "epochs": 1}
        (report,) = epochs_of(Recipe.from_flat(flat), data, init, seed=seed, weights_dir=weights_dir, loader=loader)
        probe = report.metric
    recipe = Recipe.from_flat({**base, "init": init})
    reports = epochs_of(recipe, data, init, seed=seed, weights_dir=weights_dir, loader=loader)
    return Run(seed=seed, begin=begin, pretrained_on=init != begin, probe=probe, fine_tuned=reports[-1].metric, **known)


def start_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Accuracy of each start in percent, means over seeds."""
    rows: list[dict[str, object]] = []
    for name in dict.fromkeys(run.name for run in runs):
        own = [run for run in runs if run.name == name]
        probes = [run.probe for run in own if run.probe is not None]
        sources = [run.source_accuracy for run in own if run.source_accuracy is not None]
        rows.append(
            {
                "start": name,
                "linear probe": f"{100 * np.mean(probes):.1f}" if probes else "-",
                "fine-tuned": f"{100 * np.mean([run.fine_tuned for run in own]):.1f}",
                "pre-training, held out": f"{100 * np.mean(sources):.1f}" if sources else "-",
                "s of pre-training": f"{np.mean([run.pretraining_seconds for run in own]):.0f}" if sources else "-",
            }
        )
    return rows


def gain_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Points that the pre-training gains over its start, with the standard error over seeds."""
    rows: list[dict[str, object]] = []
    for begin in dict.fromkeys(run.begin for run in runs):
        new, old = ({r.seed: r for r in runs if (r.begin, r.pretrained_on) == (begin, on)} for on in (True, False))
        both = [seed for seed in new if seed in old]
        probes = [
            100 * (new[seed].probe - old[seed].probe)  # type: ignore[operator]
            for seed in both
            if None not in (new[seed].probe, old[seed].probe)
        ]
        tuned = [100 * (new[seed].fine_tuned - old[seed].fine_tuned) for seed in both]
        rows.append(
            {
                "pre-training from": {"scratch": "random weights", "pretrained": "published weights"}[begin],
                "seeds": len(both),
                "gain of the probe": with_error(np.array(probes)),
                "gain after fine-tuning": with_error(np.array(tuned)),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, pre-train, compare, print; 2 if a data set or the network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of labelled images for the pre-training")
    parser.add_argument("task", type=Path, help="folder of labelled images of the task")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0.in1k")
    parser.add_argument("--weights", type=Path, help="folder of the published weights")
    parser.add_argument("--seeds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--source-images", type=int, default=800, help="(%(default)s)")
    parser.add_argument("--source-classes", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--images", type=int, default=144, help="of the task (%(default)s)")
    parser.add_argument("--classes", type=int, default=12, help="of the task, at most (%(default)s)")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64, help="pixels (%(default)s)")
    parser.add_argument("--source-epochs", type=int, default=8, help="of the pre-training (%(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="of the fine-tuning (%(default)s)")
    parser.add_argument("--lr", type=float, default=5e-4, help="of the fine-tuning (%(default)s)")
    parser.add_argument("--begin", choices=STARTS, nargs="+", default=list(STARTS))
    parser.add_argument("--json", type=Path, help="file for everything measured")
    given = parser.parse_args(arguments)
    base: dict[str, Scalar] = {
        "backbone": given.backbone,
        "image_size": given.size,
        "epochs": given.epochs,
        "batch_size": 16,
        "optimizer.lr": given.lr,
        "schedule.name": "one_cycle",
        "augment.hflip": 0.5,
    }
    runs: list[Run] = []
    try:
        with tempfile.TemporaryDirectory() as name, BatchLoader() as loader:
            scratch = Path(name)
            sources, tasks = (read_images(folder, verify=False) for folder in (given.source, given.task))
            for seed in range(given.first_seed, given.first_seed + given.seeds):
                source = draw(
                    sources, images=given.source_images, classes=given.source_classes, folds=HELD_OUT, seed=seed
                )
                drawn = draw(tasks, images=given.images, classes=given.classes, folds=given.folds, seed=seed)
                data = open_draw(drawn, Recipe.from_flat(base), folds=given.folds, seed=seed, scratch=scratch)
                for begin in given.begin:
                    settings: dict[str, Any] = {"seed": seed, "loader": loader}
                    runs.append(judge(begin, begin, data, base, weights_dir=given.weights, **settings))
                    accuracy, seconds = pretrain(
                        source,
                        begin,
                        backbone=given.backbone,
                        size=given.size,
                        epochs=given.source_epochs,
                        weights_dir=given.weights,
                        folder=scratch,
                        **settings,
                    )
                    known = {"source_accuracy": accuracy, "pretraining_seconds": seconds}
                    new = judge(begin, f"{begin}-art", data, base, weights_dir=scratch / "weights", **settings, **known)
                    runs.append(new)
                    for run in runs[-2:]:
                        probe = "-" if run.probe is None else f"{run.probe:.3f}"
                        print(f"{seed}: {run.name}: probe {probe}, fine-tuned {run.fine_tuned:.3f}", flush=True)
    except (TrainerError, ValueError) as problem:
        parser.exit(2, f"{problem}\n")
    machine = describe_machine()
    print(f"\n{one_line(machine)}", *map(table, [start_rows(runs), gain_rows(runs)]), sep="\n\n")
    if given.json:
        written: dict[str, Any] = {"machine": machine, "base": base, "runs": [asdict(run) for run in runs]}
        given.json.write_text(json.dumps(written, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
