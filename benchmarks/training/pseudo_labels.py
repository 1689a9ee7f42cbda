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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.machine import table
from benchmarks.probes.probe_draws import (
    Draw,
    add_probe_options,
    bootstrap,
    by_setting,
    measure_draws,
)
from benchmarks.training.lp_ft import with_error
from benchmarks.training.paired_scores import Labels, PairedScores, paired_scores, score_cells
from trainer.data.folds import make_folds
from trainer.evaluation.pseudo_labels import NO_LABEL, PROBABILITY, judge_gate, most_labels, pseudo_labels
from trainer.probing.linear_head import LinearHead, fit_heads
from trainer.training.teaching.pseudo_rows import pseudo_rows


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
        for own in by_setting(runs)
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
        for own in by_setting(runs)
    ]


def _head(own: Sequence[Run]) -> dict[str, object]:
    return {
        "data": own[0].data,
        "labelled": f"{np.mean([run.scores.labelled for run in own]):.0f}",
        "draws": len(own),
    }


def _mean(own: Sequence[Run], field: str) -> float:
    return 100 * float(np.nanmean([getattr(run, field) for run in own]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, label, fit, print; 2 if a data set or the network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_probe_options(parser)
    parser.add_argument("--probability", type=float, default=PROBABILITY, help="of the gate (%(default)s)")
    given = parser.parse_args(arguments)

    def measured(name: str, seed: int, drawn: Sequence[Draw]) -> Run:
        run = measure(name, *drawn, folds=given.folds, seeds=given.seeds, seed=seed, probability=given.probability)
        print(_line(run), flush=True)
        return run

    runs = measure_draws(parser, given, measured)
    print(table(gate_rows(runs)), table(score_rows(runs)), sep="\n\n")
    return 0


def _line(run: Run) -> str:
    scores = run.scores
    return (
        f"{run.data} {run.seed}, {scores.labelled} labelled: {run.given:.0f} labels, precision {run.estimated:.3f} "
        f"(true {run.true:.3f}), out-of-fold {scores.cv:.3f} -> {scores.cv_second:.3f}, private {scores.private:.3f} "
        f"-> {scores.private_second:.3f}, adopted: {scores.adopted}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
