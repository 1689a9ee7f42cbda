"""Linear probes as a forecast of fine-tuning: does the ranking by probes hold after fine-tuning?

    python -m benchmarks.probes.probe_ranking DATA... --weights WEIGHTS --json probe_ranking.json

From each data set, images of a few classes are drawn for each seed. On every draw, each candidate, which is a
pre-trained network at an image size, is cross-validated as a linear probe and by fine-tuning, on the same folds. Scores
are out-of-fold accuracies.

Three tables:

* candidates: accuracy of the probe and after fine-tuning, the mean over draws, and the seconds of each;
* agreement: Spearman's rank correlation of the candidates of a draw, and the points by which the candidate with the
  best probe is behind the best one after fine-tuning;
* `[probe] keep`: candidates that a search would fine-tune (`search.tuning.probing.backbones.kept_backbones`), their
  share of the time that fine-tuning all of them takes, and the regret: the points by which the best of them is behind
  the best of all.

The best of several noisy scores is too high, and so is every regret: two candidates of equal quality differ by chance.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import scipy.stats

from benchmarks.machine import describe_machine, one_line, table
from benchmarks.training.lp_ft import draw, epochs_of, open_draw, with_error
from search.tuning.probing.backbones import kept_backbones, rank_backbones
from trainer.batches.batch_loader import BatchLoader
from trainer.common.errors import TrainerError
from trainer.data.read import read_images
from trainer.recipe.recipe import Recipe, Scalar
from trainer.training.results import TrainingData

BACKBONES = tuple(f"tf_efficientnet_lite{size}.in1k" for size in (0, 1, 2))
KEEP = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
"""Standard errors behind the best probe up to which a candidate is fine-tuned."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One candidate on one draw."""

    data: str
    """Name of the data folder."""
    seed: int
    backbone: str
    size: int
    """Pixels."""
    probe: float
    """Out-of-fold accuracy of the linear probe, 0 .. 1."""
    tuned: float
    """Out-of-fold accuracy after fine-tuning, 0 .. 1."""
    true_class: tuple[float, ...]
    """The probe's probability of each image's true class."""
    probe_seconds: float
    tuned_seconds: float

    @property
    def candidate(self) -> str:
        """Backbone and size, as in the tables."""
        return f"{self.backbone.partition('.')[0]} {self.size}"

    @property
    def draw(self) -> tuple[str, int]:
        """What the candidates of a draw have in common."""
        return self.data, self.seed


def measure(
    name: str,
    data: TrainingData,
    fields: dict[str, Scalar],
    *,
    seed: int,
    weights_dir: Path | None,
    loader: BatchLoader,
) -> Run:
    """Cross-validate one candidate twice.

    Args:
        fields: of the recipe of the fine-tuning.

    Raises:
        ValueError: the training diverged.
    """
    what = f"{fields['backbone']} at {fields['image_size']} px"
    of_probe: dict[str, Scalar] = {**fields, "method": "linear_probe", "epochs": 1}
    probe, tuned = (
        epochs_of(Recipe.from_flat(own), data, what, seed=seed, weights_dir=weights_dir, loader=loader)
        for own in (of_probe, fields)
    )
    return Run(
        data=name,
        seed=seed,
        backbone=str(fields["backbone"]),
        size=int(fields["image_size"]),
        probe=probe[-1].metric,
        tuned=tuned[-1].metric,
        true_class=tuple(np.asarray(probe[-1].true_class, dtype=float).tolist()),
        probe_seconds=sum(report.seconds for report in probe),
        tuned_seconds=sum(report.seconds for report in tuned),
    )


def candidate_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Each candidate of each data set: means over draws, accuracies in percent."""
    rows: list[dict[str, object]] = []
    for data, candidate in dict.fromkeys((run.data, run.candidate) for run in runs):
        own = [run for run in runs if (run.data, run.candidate) == (data, candidate)]
        rows.append(
            {
                "data": data,
                "candidate": candidate,
                "draws": len(own),
                "probe": f"{100 * np.mean([run.probe for run in own]):.1f}",
                "fine-tuned": f"{100 * np.mean([run.tuned for run in own]):.1f}",
                "probe s": f"{np.mean([run.probe_seconds for run in own]):.1f}",
                "fine-tuning s": f"{np.mean([run.tuned_seconds for run in own]):.1f}",
            }
        )
    return rows


def agreement_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """How well the probes order the candidates of a draw, by data set and for all."""
    rows: list[dict[str, object]] = []
    for label, own in _by_data(runs):
        correlations, regrets = [], []
        for drawn in _draws(own):
            probe = np.array([run.probe for run in drawn])
            tuned = np.array([run.tuned for run in drawn])
            if np.ptp(probe) and np.ptp(tuned):
                correlations.append(float(scipy.stats.spearmanr(probe, tuned).statistic))
            regrets.append(100 * float(tuned.max() - tuned[probe.argmax()]))
        rows.append(
            {
                "data": label,
                "draws": len(regrets),
                "rank correlation": with_error(np.array(correlations), digits=2),
                "best probe is behind by": with_error(np.array(regrets)),
            }
        )
    return rows


def keep_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """What `[probe] keep` costs and saves."""
    rows: list[dict[str, object]] = []
    for keep in KEEP:
        kept, shares, regrets = [], [], []
        for drawn in _draws(runs):
            ranked = rank_backbones([(run.candidate, np.array(run.true_class)) for run in drawn])
            names = {backbone.name for backbone in kept_backbones(ranked, keep)}
            tuned = {run.candidate: run for run in drawn}
            best = max(run.tuned for run in drawn)
            kept.append(len(names))
            shares.append(sum(tuned[name].tuned_seconds for name in names) / sum(run.tuned_seconds for run in drawn))
            regrets.append(100 * (best - max(tuned[name].tuned for name in names)))
        rows.append(
            {
                "keep": f"{keep:g}",
                "kept": f"{np.mean(kept):.1f} of {len(tuned)}",
                "share of the time": f"{100 * np.mean(shares):.0f} %",
                "regret": with_error(np.array(regrets), digits=2),
                "largest regret": f"{max(regrets):.1f}",
            }
        )
    return rows


def _draws(runs: Sequence[Run]) -> Iterator[list[Run]]:
    for key in dict.fromkeys(run.draw for run in runs):
        yield [run for run in runs if run.draw == key]


def _by_data(runs: Sequence[Run]) -> Iterator[tuple[str, list[Run]]]:
    for data in dict.fromkeys(run.data for run in runs):
        yield data, [run for run in runs if run.data == data]
    yield "all", list(runs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, train, print; 2 if a data set or a network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="folders of labelled images, in any layout")
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    parser.add_argument("--init", default="pretrained", help="starting weights (%(default)s)")
    parser.add_argument("--weights", type=Path, help="folder of pre-trained weights")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 128], help="pixels (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="draws from each data set (%(default)s)")
    parser.add_argument("--images", type=int, default=144, help="in a draw (%(default)s)")
    parser.add_argument("--classes", type=int, default=12, help="in a draw, at most (%(default)s)")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--json", type=Path, help="file for everything measured, written after every draw")
    given = parser.parse_args(arguments)
    base: dict[str, Scalar] = {
        "init": given.init,
        "epochs": given.epochs,
        "batch_size": 16,
        "norm": "frozen",
        "head": "probe",
        "optimizer.lr": given.lr,
        "schedule.name": "cosine",
        "schedule.warmup": 0.1,
        "augment.hflip": 0.5,
    }
    runs: list[Run] = []
    machine = describe_machine()
    try:
        with tempfile.TemporaryDirectory() as scratch, BatchLoader() as loader:
            for folder, seed in product(given.data, range(1, given.seeds + 1)):
                image_set = read_images(folder, verify=False)
                drawn = draw(image_set, images=given.images, classes=given.classes, folds=given.folds, seed=seed)
                for backbone, size in product(given.backbones, given.sizes):
                    fields = {**base, "backbone": backbone, "image_size": size}
                    data = open_draw(
                        drawn, Recipe.from_flat(fields), folds=given.folds, seed=seed, scratch=Path(scratch)
                    )
                    run = measure(folder.name, data, fields, seed=seed, weights_dir=given.weights, loader=loader)
                    runs.append(run)
                    print(
                        f"{run.data} {run.seed}: {run.candidate}: probe {run.probe:.3f} ({run.probe_seconds:.0f} s), "
                        f"fine-tuned {run.tuned:.3f} ({run.tuned_seconds:.0f} s)",
                        flush=True,
                    )
                if given.json:
                    written = {"machine": machine, "base": base, "runs": [asdict(one) for one in runs]}
                    given.json.write_text(json.dumps(written), encoding="utf-8")
    except (TrainerError, ValueError) as problem:
        parser.exit(2, f"{problem}\n")
    tables = [candidate_rows(runs), agreement_rows(runs), keep_rows(runs)]
    print(f"\n{one_line(machine)}", *map(table, tables), sep="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
