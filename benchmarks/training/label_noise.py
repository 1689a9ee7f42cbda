"""Wrong labels: are they found, and does training without them score higher?

    python -m benchmarks.training.label_noise DATA... --weights WEIGHTS --json label_noise.json

From each data set, images of a few classes are drawn for each seed; 40 % of each class are private, with their true
labels. A share of the training labels is changed in two modes: to a random other class, or to the class that a linear
probe confuses most with the true one. Everything is done by linear probes on features of one pre-trained network; the
private accuracy is that of the mean over the folds' classifiers. All ways of training share images, wrong labels and
folds, so their differences are paired.

Two tables:

* found: of the candidates of `search labels` (the averaged predictions are those of one probe here), how many of the
  first k have a wrong label, with k the number of changed labels and k = 10; and the share of the changed labels that
  are candidates at all;
* private: accuracy in percent with all labels as they are ("keep"), what the wrong labels cost, and the points that
  are gained by `suspicious_labels` = drop and downweight, and by giving the first k candidates their true labels, as a
  person would do who looks at them. At 0 % the gains are what a way costs where no label is wrong.

± is the standard error over draws.
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
import torch
from numpy.typing import NDArray

from benchmarks.machine import describe_machine, one_line, table
from benchmarks.training.lp_ft import add_draw_options, draw, open_draw, with_error
from trainer.common.arrays import Float32Array
from trainer.common.errors import TrainerError
from trainer.data.folds import make_folds
from trainer.data.read import read_images
from trainer.evaluation.label_errors.one_label import find_label_errors
from trainer.probing.linear_head import LinearHead, fit_heads
from trainer.probing.suspicious_rows import suspicious_rows
from trainer.recipe.recipe import DOWNWEIGHT, DROP, Recipe, Scalar
from trainer.training.linear_probe import frozen_features, frozen_network
from trainer.training.suspicious_labels import WEIGHTS

SHARES = (0.0, 0.05, 0.1, 0.2)
"""Shares of the training labels that are changed."""
MODES = ("random", "confused")
"""What a label is changed to: a random other class, or the class that is confused most with it."""
PRIVATE = 0.4
"""Share of the images of each class that are private."""
FEW = 10

Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One share of wrong labels on one draw."""

    data: str
    """Name of the data folder."""
    seed: int
    mode: str
    share: float
    images: int
    """For training."""
    flipped: int
    """Number of changed labels."""
    candidates: int
    first_k: float
    """Share of wrong labels among the first ``flipped`` candidates; NaN without candidates or wrong labels."""
    first_few: float
    """Share of wrong labels among the first `FEW` candidates; NaN without candidates."""
    found: float
    """Share of the changed labels that are candidates; NaN without changed labels."""
    keep: float
    """Private accuracy, 0 .. 1, like the following ones: with all labels as they are."""
    drop: float
    downweight: float
    corrected: float
    """With the true labels of the first ``flipped`` candidates."""
    suspects: float
    """Mean number of suspicious rows in a training part."""
    wrong_suspects: float
    """Share of wrong labels among these; NaN without any."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """Features and true labels of one draw, divided into training and private images."""

    train: Float32Array
    y: Labels
    private: Float32Array
    private_y: Labels
    num_classes: int

    def accuracy(self, heads: Sequence[LinearHead]) -> float:
        """Accuracy of the mean of the heads' probabilities on the private images."""
        mean = np.mean([head.predict_proba(self.private) for head in heads], axis=0)
        return float((mean.argmax(axis=1) == self.private_y).mean())

    def fit(self, y: Labels, folds: Labels, row_weights: Sequence[Float32Array] | None = None) -> list[LinearHead]:
        """A head for each fold."""
        return fit_heads(
            self.train, y, folds, class_weights=lambda _: np.ones(self.num_classes, np.float32), row_weights=row_weights
        )

    def oof(self, heads: Sequence[LinearHead], folds: Labels) -> Float32Array:
        """Out-of-fold probabilities of the training images."""
        proba = np.zeros((len(self.y), self.num_classes), np.float32)
        for fold, head in enumerate(heads):
            proba[folds == fold] = head.predict_proba(self.train[folds == fold])
        return proba


def most_confused(y: Labels, proba: Float32Array, num_classes: int) -> Labels:
    """For each class the other class with the highest mean probability: int64, shape (C,)."""
    means = np.stack([proba[y == label].mean(axis=0) for label in range(num_classes)])
    np.fill_diagonal(means, -1.0)
    return means.argmax(axis=1).astype(np.int64)


def flip(y: Labels, share: float, mode: str, partner: Labels, seed: int) -> Labels:
    """Labels of which ``share`` is changed. A class keeps more than half of its labels.

    Args:
        partner: of `most_confused`, for the mode "confused".
    """
    rng = np.random.default_rng(seed)
    flipped, classes = y.copy(), len(partner)
    left = (np.bincount(y, minlength=classes) - 1) // 2
    wanted = round(share * len(y))
    for row in rng.permutation(len(y)):
        label = int(y[row])
        if wanted and left[label]:
            other = int(rng.integers(classes - 1))
            flipped[row] = partner[label] if mode == "confused" else other + (other >= label)
            left[label] -= 1
            wanted -= 1
    return flipped


def measure(name: str, drawn: Draw, mode: str, share: float, partner: Labels, *, folds: int, seed: int) -> Run:
    """Change labels, look for them, and train in every way."""
    y = flip(drawn.y, share, mode, partner, seed)
    wrong = y != drawn.y
    flipped = int(wrong.sum())
    of_row = make_folds(y, np.arange(len(y)), folds, seed)
    plain = drawn.fit(y, of_row)
    found = find_label_errors(y, drawn.oof(plain, of_row)).rows
    corrected = y.copy()
    corrected[found[:flipped]] = drawn.y[found[:flipped]]
    suspects = suspicious_rows(drawn.train, y, of_row, num_classes=drawn.num_classes)
    weighted: dict[str, float] = {}
    for way in (DROP, DOWNWEIGHT):
        weights = []
        for rows in suspects:
            of_fold = np.ones(len(y), np.float32)
            of_fold[rows] = WEIGHTS[way]
            weights.append(of_fold)
        weighted[way] = drawn.accuracy(drawn.fit(y, of_row, weights))
    joined = np.concatenate(suspects)
    return Run(
        data=name,
        seed=seed,
        mode=mode,
        share=share,
        images=len(y),
        flipped=flipped,
        candidates=len(found),
        first_k=_mean(wrong[found[:flipped]]),
        first_few=_mean(wrong[found[:FEW]]),
        found=_mean(np.isin(np.flatnonzero(wrong), found)),
        keep=drawn.accuracy(plain),
        drop=weighted[DROP],
        downweight=weighted[DOWNWEIGHT],
        corrected=drawn.accuracy(drawn.fit(corrected, of_row)),
        suspects=len(joined) / len(suspects),
        wrong_suspects=_mean(wrong[joined]),
    )


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def found_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """How many wrong labels are found, by data, mode and share."""
    return [
        {
            **_head(own),
            "changed labels": f"{_average(own, 'flipped')} of {_average(own, 'images')}",
            "candidates": _average(own, "candidates"),
            "wrong among the first k": _percent([run.first_k for run in own]),
            f"wrong among the first {FEW}": _percent([run.first_few for run in own]),
            "changed labels found": _percent([run.found for run in own]),
            "suspicious in a training part": _average(own, "suspects"),
            "of these wrong": _percent([run.wrong_suspects for run in own]),
        }
        for own in _groups(runs)
    ]


def private_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Private accuracy in percent, and paired gains in points, by data, mode and share."""
    clean = {(run.data, run.seed): run.keep for run in runs if run.share == 0.0}
    rows: list[dict[str, object]] = []
    for own in _groups(runs):
        loss = [clean[run.data, run.seed] - run.keep for run in own if (run.data, run.seed) in clean]
        rows.append(
            {
                **_head(own),
                "keep": f"{100 * np.mean([run.keep for run in own]):.1f}",
                "lost by wrong labels": with_error(100 * np.array(loss)) if own[0].share else "-",
                "drop": _gain(own, "drop"),
                "downweight": _gain(own, "downweight"),
                "first k corrected": _gain(own, "corrected") if own[0].share else "-",
            }
        )
    return rows


def _head(own: Sequence[Run]) -> dict[str, object]:
    run = own[0]
    return {"data": run.data, "wrong labels": f"{run.share:.0%} {run.mode}" if run.share else "0%", "draws": len(own)}


def _average(own: Sequence[Run], field: str) -> str:
    return f"{np.mean([getattr(run, field) for run in own]):.0f}"


def _gain(own: Sequence[Run], way: str) -> str:
    gains = np.array([100 * (getattr(run, way) - run.keep) for run in own])
    return f"{'+' if gains.mean() >= 0.05 else ''}{with_error(gains)}"


def _percent(values: Sequence[float]) -> str:
    known = [value for value in values if not np.isnan(value)]
    return f"{100 * np.mean(known):.0f} %" if known else "-"


def _groups(runs: Sequence[Run]) -> Iterator[list[Run]]:
    for key in dict.fromkeys((run.data, run.mode, run.share) for run in runs):
        yield [run for run in runs if (run.data, run.mode, run.share) == key]


def open_features(folder: Path, recipe: Recipe, given: argparse.Namespace, seed: int, scratch: Path) -> Draw:
    """Draw images, and compute their features.

    Raises:
        TrainerError: the data or the network cannot be used.
        ValueError: there are too few images.
    """
    image_set = read_images(folder, verify=False)
    drawn = draw(image_set, images=given.images, classes=given.classes, folds=given.folds + 2, seed=seed)
    data = open_draw(drawn, recipe, folds=given.folds, seed=seed, scratch=scratch)
    model = frozen_network(recipe, data, seed=seed, device=torch.device("cpu"), weights_dir=given.weights)
    with torch.no_grad():
        _, features = frozen_features(model, recipe, data, torch.float32, lambda share: None)
    rng = np.random.default_rng(seed)
    private = np.zeros(len(data.y), bool)
    for label in range(data.num_classes):
        rows = rng.permutation(np.flatnonzero(data.y == label))
        private[rows[: round(PRIVATE * len(rows))]] = True
    return Draw(
        train=features[~private],
        y=data.y[~private],
        private=features[private],
        private_y=data.y[private],
        num_classes=data.num_classes,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, change labels, fit, print; 2 if a data set or the network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_draw_options(parser, seeds=5, images=800, classes=20, folds=5, size=128)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of changed labels (%(default)s)")
    parser.add_argument("--json", type=Path, help="file for everything measured, written after every draw")
    given = parser.parse_args(arguments)
    fields: dict[str, Scalar] = {
        "backbone": given.backbone,
        "init": given.init,
        "method": "linear_probe",
        "image_size": given.size,
        "epochs": 1,
    }
    recipe = Recipe.from_flat(fields)
    runs: list[Run] = []
    machine = describe_machine()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for folder, seed in product(given.data, range(1, given.seeds + 1)):
                drawn = open_features(folder, recipe, given, seed, Path(scratch))
                of_row = make_folds(drawn.y, np.arange(len(drawn.y)), given.folds, seed)
                proba = drawn.oof(drawn.fit(drawn.y, of_row), of_row)
                partner = most_confused(drawn.y, proba, drawn.num_classes)
                for mode, share in product(MODES, given.shares):
                    if share == 0.0 and mode != MODES[0]:
                        continue
                    run = measure(folder.name, drawn, mode, share, partner, folds=given.folds, seed=seed)
                    runs.append(run)
                    print(
                        f"{run.data} {run.seed}: {share:.0%} {mode}: {run.candidates} candidates for {run.flipped} "
                        f"changed labels, keep {run.keep:.3f}, drop {run.drop:.3f}",
                        flush=True,
                    )
                if given.json:
                    written = {"machine": machine, "recipe": fields, "runs": [asdict(one) for one in runs]}
                    given.json.write_text(json.dumps(written), encoding="utf-8")
    except (TrainerError, ValueError) as problem:
        parser.exit(2, f"{problem}\n")
    print(f"\n{one_line(machine)}", table(found_rows(runs)), table(private_rows(runs)), sep="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
