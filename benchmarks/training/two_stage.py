"""A second stage for confusable classes: does it raise the private score, and how often is it adopted, and wrongly?

    python -m benchmarks.training.two_stage DATA... --weights WEIGHTS --json two_stage.json

From each data set, images of a few classes are drawn for each seed, and some of them are labelled; the others are
private. Everything is done by linear probes on features of one pre-trained network, on bootstraps of the labelled
images (`benchmarks.probes.probe_draws`). As in `search start --two-stage-from`:

* The groups of confusable classes are those of the out-of-fold predictions, averaged over seeds.
* The same probes are fitted again on the images of these classes alone, on the same folds and bootstraps.
* Both stages together are scored out-of-fold, each fold with the groups of the other folds, and on the private images
  (`benchmarks.training.paired_scores`).

A draw without groups has no second stage. ± is the standard error over draws, which share images.
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
from benchmarks.training.paired_scores import PairedScores, paired_scores, score_cells
from search.statistics.blending.cross_fitting import cross_fit
from search.statistics.blending.second_stage import two_stage
from trainer.data.folds import make_folds
from trainer.evaluation.confusion.confusable_groups import (
    classes_of,
    confusable_groups,
    mistakes,
    mistakes_within,
)
from trainer.evaluation.confusion.confusion_matrix import confusion_matrix
from trainer.evaluation.targets import Targets
from trainer.inference.blend import shared_within


@dataclass(frozen=True, kw_only=True)
class Run:
    """One draw with one number of labelled images."""

    data: str
    """Name of the data folder."""
    seed: int
    classes: int
    labelled: int
    grouped: int
    """Classes in groups; 0: there is no second stage."""
    wrong: int
    """Mistakes out-of-fold."""
    within: int
    """Those within the groups."""
    scores: PairedScores | None
    """Of the first stage alone and of both; None: there is no second stage."""


def measure(name: str, drawn: Draw, *, folds: int, seeds: int, seed: int) -> Run:
    """Find the groups, fit the second stage, and compare."""
    y, of_row = drawn.y, make_folds(drawn.y, np.arange(len(drawn.y)), folds, seed)
    counts = [bootstrap(y, 1000 * seed + number) for number in range(seeds)]
    first = [drawn.fit(of_row, each) for each in counts]
    oof = drawn.oof(first, of_row)
    confused = confusion_matrix(y, oof.argmax(axis=1).astype(np.int64), drawn.num_classes)
    groups = confusable_groups(confused)
    scores = None
    if groups:
        chosen = np.isin(y, classes_of(groups))
        second = [drawn.fit(of_row, each * chosen) for each in counts]
        members = np.stack([oof, drawn.oof(second, of_row)])
        together, _ = cross_fit(two_stage(groups, len(y)), Targets(y), members, of_row).predict(members)
        private = drawn.predict(first)
        scores = paired_scores(
            y, (oof, together), drawn.test_y, (private, shared_within(private, drawn.predict(second), groups))
        )
    return Run(
        data=name,
        seed=seed,
        classes=drawn.num_classes,
        labelled=len(y),
        grouped=len(classes_of(groups)),
        wrong=mistakes(confused),
        within=mistakes_within(groups, confused),
        scores=scores,
    )


def score_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Groups and scores by data set and place in the list of numbers of labelled images."""
    rows: list[dict[str, object]] = []
    for own in by_setting(runs):
        found = [(run, run.scores) for run in own if run.scores is not None]
        rows.append(
            {
                "data": own[0].data,
                "classes": own[0].classes,
                "labelled": f"{np.mean([run.labelled for run in own]):.0f}",
                "with groups": f"{len(found)} of {len(own)}",
                "classes in groups": f"{np.mean([run.grouped for run, _ in found]):.1f}" if found else "-",
                "mistakes within": f"{_share_within(own):.0f} %",
                **score_cells([scores for _, scores in found]),
            }
        )
    return rows


def _share_within(own: Sequence[Run]) -> float:
    return 100.0 * sum(run.within for run in own) / max(1, sum(run.wrong for run in own))


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, fit, print; 2 if a data set or the network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_probe_options(parser)
    given = parser.parse_args(arguments)

    def measured(name: str, seed: int, drawn: Sequence[Draw]) -> Run:
        run = measure(name, *drawn, folds=given.folds, seeds=given.seeds, seed=seed)
        print(_line(run), flush=True)
        return run

    print(table(score_rows(measure_draws(parser, given, measured))))
    return 0


def _line(run: Run) -> str:
    head = f"{run.data} {run.seed}, {run.labelled} labelled: {run.within} of {run.wrong} mistakes within groups"
    scores = run.scores
    if scores is None:
        return f"{head}: no second stage"
    return (
        f"{head} of {run.grouped} classes, out-of-fold {scores.cv:.3f} -> {scores.cv_second:.3f} ± {scores.error:.3f}, "
        f"private {scores.private:.3f} -> {scores.private_second:.3f}, adopted: {scores.adopted}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
