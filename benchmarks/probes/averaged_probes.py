"""The gain from averaging the fold models of a linear probe: as predicted without labels, and as it is.

    python -m benchmarks.probes.averaged_probes DATA... --weights WEIGHTS --json averaged.json

From each data set, images of a few classes are drawn for each seed, and some of them are labelled; the others are
private (`benchmarks.probes.probe_draws`). A head is fitted for each fold. The ambiguity of the heads on the private
images, without their labels, tells by how much the Brier score of the average is lower
(`trainer.evaluation.ambiguity`). That predicts the gain in accuracy (`search.statistics.ranking.averaging_gain`). The
labels then tell the true gain over the mean of the heads.

"errors fall" is the relative decrease of the errors through averaging, divided by that of the Brier score, over all
draws of a setting: the constant `ERRORS_FALL_OF_PROBES` of the ranking. ± is the standard error over draws, which share
images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.machine import table
from benchmarks.probes.probe_draws import Draw, add_probe_options, by_setting, measure_draws
from benchmarks.training.lp_ft import with_error
from search.statistics.ranking import averaging_gain
from trainer.data.folds import make_folds
from trainer.evaluation.ambiguity import brier_scores, expected_average
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import scale_temperature


@dataclass(frozen=True, kw_only=True)
class Run:
    """One draw with one number of labelled images. Accuracies and Brier scores are 0 .. 1 and 0 .. 2."""

    data: str
    """Name of the data folder."""
    seed: int
    labelled: int
    cv: float
    """Out-of-fold accuracy."""
    predicted: float
    """Predicted gain in accuracy."""
    single: float
    """Mean private accuracy of the heads."""
    gained: float
    """Private accuracy of their average minus ``single``."""
    brier: float
    """Mean private Brier score of the heads, at the temperature for the average."""
    brier_fell: float
    """``brier`` minus the private Brier score of the average."""


def measure(name: str, drawn: Draw, *, folds: int, seed: int) -> Run:
    """Fit a head for each fold, and compare the predicted with the true gain."""
    targets, private = Targets(drawn.y), Targets(drawn.test_y)
    of_row = make_folds(drawn.y, np.arange(len(drawn.y)), folds, seed)
    heads = drawn.fit(of_row, np.ones(len(drawn.y), np.float32))
    oof, tests = drawn.oof([heads], of_row), [head.predict_proba(drawn.test).astype(np.float32) for head in heads]
    average, cv = expected_average(targets, oof, tests), score("accuracy", targets, oof)
    scaled = [scale_temperature(proba, average.temperature) for proba in tests]
    single = float(np.mean([score("accuracy", private, proba) for proba in tests]))
    brier = float(np.mean([brier_scores(drawn.test_y, proba).mean() for proba in scaled]))
    return Run(
        data=name,
        seed=seed,
        labelled=len(drawn.y),
        cv=cv,
        predicted=averaging_gain("accuracy", cv, average.brier, average.ambiguity, is_probe=True),
        single=single,
        gained=score("accuracy", private, drawn.predict([heads])) - single,
        brier=brier,
        brier_fell=brier - float(brier_scores(drawn.test_y, np.mean(scaled, axis=0)).mean()),
    )


def gain_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Predicted and true gains, in points, by data set and place in the list of numbers of labelled images."""
    return [
        {
            "data": own[0].data,
            "labelled": f"{np.mean([run.labelled for run in own]):.0f}",
            "draws": len(own),
            "one head": f"{100 * np.mean([run.single for run in own]):.1f}",
            "predicted": with_error(np.array([100 * run.predicted for run in own])),
            "gained": with_error(np.array([100 * run.gained for run in own])),
            "Brier score fell": f"{np.mean([run.brier_fell / run.brier for run in own]):.1%}",
            "errors fall": f"{errors_fall(own):.2f}",
        }
        for own in by_setting(runs)
    ]


def errors_fall(runs: Sequence[Run]) -> float:
    """Relative decrease of the errors, divided by that of the Brier score; NaN if nothing fell."""
    errors = sum(run.gained for run in runs) / sum(1.0 - run.single for run in runs)
    brier = sum(run.brier_fell for run in runs) / sum(run.brier for run in runs)
    return errors / brier if brier else float("nan")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, fit, print; 2 if a data set or the network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_probe_options(parser)
    given = parser.parse_args(arguments)
    runs = measure_draws(parser, given, lambda name, seed, drawn: measure(name, *drawn, folds=given.folds, seed=seed))
    print(table(gain_rows(runs)), f"all: {errors_fall(runs):.2f}", sep="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
