"""Pseudo-labels: is the gate as precise as it says, do they raise the private score, and how often are they adopted?

    python -m benchmarks.training.pseudo_labels DATA... --weights WEIGHTS --json pseudo_labels.json

From each data set, images of a few classes are drawn for each seed, and some of them are labelled; the others are test
images, whose labels only the private score knows. Everything is done by linear probes on features of one pre-trained
network. The seed changes nothing in a probe, so each "seed" here fits on a bootstrap of the training images. As in
`search start --pseudo-from`:

* The probes of all seeds that held out a fold label the test images for this fold (`trainer.evaluation.pseudo_labels`).
* The same probes are fitted again with these rows beside the training images, on the same folds and bootstraps.
* Both are scored out-of-fold on the training images, averaged over seeds, and on the test images
  (`benchmarks.training.paired_scores`).

Two tables. In the first the gate: test images with a label, its precision as it is estimated and as it is. In the
second the scores, and what a cross-validation would show that scores pseudo-labelled rows like any others (one label
for all folds, by the mean of all probes).

± is the standard error over draws, which share images.
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
from benchmarks.training.lp_ft import draw, with_error
from benchmarks.training.paired_scores import Labels, PairedScores, paired_scores, score_cells
from trainer.batches.pixel_cache import open_pixels
from trainer.common.arrays import Float32Array
from trainer.common.errors import TrainerError
from trainer.data.folds import make_folds
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images
from trainer.evaluation.pseudo_labels import NO_LABEL, PROBABILITY, judge_gate, most_labels, pseudo_labels
from trainer.networks.backbones import preprocessing_of
from trainer.probing.linear_head import LinearHead, fit_heads
from trainer.recipe.recipe import Recipe, Scalar
from trainer.training.linear_probe import frozen_features, frozen_network
from trainer.training.results import ALWAYS_TRAINED, TrainingData
from trainer.training.teaching.pseudo_rows import pseudo_rows

LABELLED = (100, 300)
"""Numbers of labelled images."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One draw with one number of labelled images."""

    data: str
    """Name of the data folder."""
    seed: int
    test: int
    """Number of test images."""
    given: float
    """Mean number of test images with a label, over the folds."""
    estimated: float
    """Precision of the gate as it is estimated on held-out images; NaN if none passes there."""
    low: float
    """Lower end of its 95% interval."""
    high: float
    true: float
    """Precision on the test images; NaN if none passes."""
    scores: PairedScores
    """Without and with pseudo-labels."""
    cv_scored: float
    """Out-of-fold accuracy with pseudo-labels if these rows are scored like any others."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """Features and true labels of one draw, divided into labelled and test images."""

    train: Float32Array
    y: Labels
    test: Float32Array
    test_y: Labels
    num_classes: int

    def fit(
        self,
        folds: Labels,
        counts: NDArray[np.float32],
        rows: Labels | None = None,
        classes: Labels | None = None,
        left_out: Sequence[Labels] = (),
    ) -> list[LinearHead]:
        """A head for each fold.

        Args:
            counts: how often each labelled image is in the bootstrap, float32 ``(n,)``.
            rows, classes, left_out: of `trainer.training.teaching.pseudo_rows.pseudo_rows`; None: no pseudo-labels.
        """
        further = 0 if rows is None else len(rows)
        features = self.train if rows is None else np.concatenate([self.train, self.test[rows]])
        y = self.y if classes is None else np.concatenate([self.y, classes])
        weights = np.tile(np.concatenate([counts, np.ones(further, np.float32)]), (int(folds.max()) + 1, 1))
        for fold, out in enumerate(left_out):
            weights[fold, len(self.y) + out] = 0.0
        all_folds = np.concatenate([folds, np.full(further, ALWAYS_TRAINED, np.int64)])
        return fit_heads(features, y, all_folds, class_weights=self.equal, row_weights=list(weights))

    def equal(self, y: Labels) -> Float32Array:
        """Weights of the classes: all the same."""
        return np.ones(self.num_classes, np.float32)

    def oof(self, by_seed: Sequence[Sequence[LinearHead]], folds: Labels) -> Float32Array:
        """Out-of-fold probabilities of the labelled images, the mean over seeds."""
        proba = np.zeros((len(self.y), self.num_classes), np.float32)
        for fold in range(int(folds.max()) + 1):
            rows = folds == fold
            proba[rows] = np.mean([heads[fold].predict_proba(self.train[rows]) for heads in by_seed], axis=0)
        return proba

    def predict(self, by_seed: Sequence[Sequence[LinearHead]]) -> Float32Array:
        """Probabilities of the test images, the mean over all heads."""
        mean = np.mean([head.predict_proba(self.test) for heads in by_seed for head in heads], axis=0)
        return np.asarray(mean, np.float32)


def bootstrap(y: Labels, seed: int) -> NDArray[np.float32]:
    """How often each image is in a bootstrap of its class: float32 ``(n,)``."""
    rng = np.random.default_rng(seed)
    counts = np.zeros(len(y), np.float32)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        np.add.at(counts, rng.choice(rows, len(rows)), 1.0)
    return counts


def measure(name: str, drawn: Draw, *, folds: int, seeds: int, seed: int, probability: float) -> Run:
    """Label the test images, train with and without these labels, and compare."""
    of_row = make_folds(drawn.y, np.arange(len(drawn.y)), folds, seed)
    counts = [bootstrap(drawn.y, 1000 * seed + number) for number in range(seeds)]
    plain = [drawn.fit(of_row, each) for each in counts]
    n, m = len(drawn.y), len(drawn.test_y)
    labels, judged = [], []
    for fold in range(folds):
        held_out = of_row == fold
        networks = np.stack([heads[fold].predict_proba(drawn.test) for heads in plain])
        labels.append(pseudo_labels(networks, probability=probability, most=most_labels(n, m, m)))
        seen = np.stack([heads[fold].predict_proba(drawn.train[held_out]) for heads in plain])
        judged.append((seen, drawn.y[held_out]))
    given = np.stack(labels)
    precision = judge_gate(judged, labelled=n, test_images=m, probability=probability)
    rows, classes, left_out = pseudo_rows(given)
    taught = [drawn.fit(of_row, each, rows, classes, left_out) for each in counts]
    oof = drawn.oof(plain, of_row), drawn.oof(taught, of_row)
    accepted = given != NO_LABEL
    return Run(
        data=name,
        seed=seed,
        test=m,
        given=float(accepted.sum(axis=1).mean()),
        estimated=precision.share,
        low=precision.interval[0],
        high=precision.interval[1],
        true=float((given == drawn.test_y)[accepted].mean()) if accepted.any() else float("nan"),
        scores=paired_scores(drawn.y, oof, drawn.test_y, (drawn.predict(plain), drawn.predict(taught))),
        cv_scored=scored_like_others(drawn, plain, of_row, seed, probability),
    )


def scored_like_others(
    drawn: Draw, plain: Sequence[Sequence[LinearHead]], folds: Labels, seed: int, probability: float
) -> float:
    """Out-of-fold accuracy on labelled and pseudo-labelled rows together, as if these labels were true."""
    given = pseudo_labels(drawn.predict(plain)[None], probability=probability)
    rows = np.flatnonzero(given != NO_LABEL)
    y, features = np.concatenate([drawn.y, given[rows]]), np.concatenate([drawn.train, drawn.test[rows]])
    further = np.random.default_rng(seed).permutation(len(rows)) % (int(folds.max()) + 1)
    all_folds = np.concatenate([folds, further.astype(np.int64)])
    heads = fit_heads(features, y, all_folds, class_weights=drawn.equal)
    right = [heads[f].predict_proba(features[all_folds == f]).argmax(axis=1) == y[all_folds == f] for f in set(folds)]
    return float(np.concatenate(right).mean())


def gate_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """The gate by data and number of labelled images: labels given, estimated and true precision in percent."""
    return [
        {
            **_head(own),
            "labels given": f"{np.mean([run.given for run in own]):.0f} of {np.mean([run.test for run in own]):.0f}",
            "estimated precision": f"{_mean(own, 'estimated'):.1f}",
            "true precision": f"{_mean(own, 'true'):.1f}",
            "estimated - true": with_error(
                np.array([100 * (run.estimated - run.true) for run in own if np.isfinite(run.estimated - run.true)])
            ),
            "true in the interval": f"{sum(run.low <= run.true <= run.high for run in own)} of {len(own)}",
        }
        for own in _groups(runs)
    ]


def score_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Scores in percent by data and number of labelled images, paired gains in points, and adoptions."""
    return [
        {
            **_head(own),
            **score_cells([run.scores for run in own]),
            "if these were scored": f"{_mean(own, 'cv_scored'):.1f}",
            "by one standard error alone": f"{sum(run.scores.gain.real for run in own)}, "
            f"{sum(run.scores.gain.real and run.scores.wrong for run in own)} wrongly",
        }
        for own in _groups(runs)
    ]


def _head(own: Sequence[Run]) -> dict[str, object]:
    return {
        "data": own[0].data,
        "labelled": f"{np.mean([run.scores.labelled for run in own]):.0f}",
        "draws": len(own),
    }


def _mean(own: Sequence[Run], field: str) -> float:
    return 100 * float(np.nanmean([getattr(run, field) for run in own]))


def _groups(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Runs of the same data and place in the list of numbers; the number itself differs a little between draws."""
    for data in dict.fromkeys(run.data for run in runs):
        of_data = [run for run in runs if run.data == data]
        per_draw = max(sum(run.seed == other.seed for other in of_data) for run in of_data)
        for place in range(per_draw):
            yield of_data[place::per_draw]


def features_of(folder: Path, recipe: Recipe, weights: Path | None, scratch: Path) -> tuple[ImageSet, Float32Array]:
    """The labelled images of a folder, and the features of all of them, in order.

    Raises:
        TrainerError: the data or the network cannot be used.
    """
    image_set = read_images(folder, verify=False).without_test_images()
    pixels = open_pixels(
        image_set,
        size=recipe.image_size,
        resize=recipe.resize,
        interpolation=preprocessing_of(recipe.backbone).interpolation,
        folder=scratch,
        with_test=False,
    )
    folds = np.full(len(image_set.y), ALWAYS_TRAINED, np.int64)
    data = TrainingData(pixels=pixels, y=image_set.y, folds=folds, num_classes=len(image_set.class_names))
    model = frozen_network(recipe, data, seed=0, device=torch.device("cpu"), weights_dir=weights)
    with torch.no_grad():
        _, features = frozen_features(model, recipe, data, torch.float32, lambda share: None)
    return image_set, features


def drawn_from(
    image_set: ImageSet, features: Float32Array, given: argparse.Namespace, labelled: int, seed: int
) -> Draw:
    """Draw images of a few classes, and label some of each class.

    Raises:
        ValueError: there are too few images.
    """
    drawn = draw(image_set, images=given.images, classes=given.classes, folds=2 * given.folds, seed=seed)
    place = {name: row for row, name in enumerate(image_set.train_ids)}
    own = features[[place[name] for name in drawn.train_ids]]
    rng = np.random.default_rng(seed)
    is_labelled, share = np.zeros(len(drawn.y), bool), labelled / len(drawn.y)
    for label in range(len(drawn.class_names)):
        rows = rng.permutation(np.flatnonzero(drawn.y == label))
        is_labelled[rows[: max(given.folds, min(round(share * len(rows)), len(rows) - given.folds))]] = True
    return Draw(
        train=own[is_labelled],
        y=drawn.y[is_labelled],
        test=own[~is_labelled],
        test_y=drawn.y[~is_labelled],
        num_classes=len(drawn.class_names),
    )


def add_probe_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a benchmark that fits probes on draws of images."""
    parser.add_argument("data", type=Path, nargs="+", help="folders of labelled images, in any layout")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0.in1k")
    parser.add_argument("--init", default="pretrained", help="starting weights (%(default)s)")
    parser.add_argument("--weights", type=Path, help="folder of pre-trained weights")
    parser.add_argument("--size", type=int, default=128, help="pixels (%(default)s)")
    parser.add_argument("--draws", type=int, default=20, help="from each data set (%(default)s)")
    parser.add_argument("--images", type=int, default=800, help="in a draw, at most (%(default)s)")
    parser.add_argument("--classes", type=int, default=20, help="in a draw, at most (%(default)s)")
    parser.add_argument("--labelled", type=int, nargs="+", default=LABELLED, help="images of a draw (%(default)s)")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2, help="bootstraps of each fold (%(default)s)")
    parser.add_argument("--json", type=Path, help="file for everything measured, written after every draw")


def probe_recipe(given: argparse.Namespace) -> Recipe:
    """The probe that these options ask for."""
    fields: dict[str, Scalar] = {
        "backbone": given.backbone,
        "init": given.init,
        "method": "linear_probe",
        "image_size": given.size,
        "epochs": 1,
    }
    return Recipe.from_flat(fields)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, label, fit, print; 2 if a data set or the network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_probe_options(parser)
    parser.add_argument("--probability", type=float, default=PROBABILITY, help="of the gate (%(default)s)")
    given = parser.parse_args(arguments)
    recipe = probe_recipe(given)
    runs: list[Run] = []
    machine = describe_machine()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for folder in given.data:
                image_set, features = features_of(folder, recipe, given.weights, Path(scratch))
                for seed, labelled in product(range(1, given.draws + 1), given.labelled):
                    drawn = drawn_from(image_set, features, given, labelled, seed)
                    run = measure(
                        folder.name,
                        drawn,
                        folds=given.folds,
                        seeds=given.seeds,
                        seed=seed,
                        probability=given.probability,
                    )
                    runs.append(run)
                    scores = run.scores
                    print(
                        f"{run.data} {run.seed}, {scores.labelled} labelled: {run.given:.0f} labels, precision "
                        f"{run.estimated:.3f} (true {run.true:.3f}), out-of-fold {scores.cv:.3f} -> "
                        f"{scores.cv_second:.3f}, private {scores.private:.3f} -> {scores.private_second:.3f}, "
                        f"adopted: {scores.adopted}",
                        flush=True,
                    )
                    if given.json:
                        written = {
                            "machine": machine,
                            "recipe": recipe.to_flat(),
                            "runs": [asdict(one) for one in runs],
                        }
                        given.json.write_text(json.dumps(written), encoding="utf-8")
    except (TrainerError, ValueError) as problem:
        parser.exit(2, f"{problem}\n")
    print(f"\n{one_line(machine)}", table(gate_rows(runs)), table(score_rows(runs)), sep="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
