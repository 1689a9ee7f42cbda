"""When to export the mean of several recipes: rules compared on linear probes of one network at several image sizes.

    python -m benchmarks.probes.blended_probes DATA... --weights WEIGHTS --sizes 160 224 288 --json blended.json

From each data set, images of a few classes are drawn for each seed, and some of them are labelled; the others are
private (`benchmarks.probes.probe_draws`). A probe is fitted for each image size. The leader is the probe with the best
out-of-fold accuracy, and `search.statistics.blending.blends.equal` chooses the members of the mean. The rules differ in
what the cross-fitted accuracy of the mean has to show:

- "real gain": it is more than one standard error above the leader's;
- "no clear loss": it is at most two standard errors below, the rule of `search.statistics.blending.ensemble_selection`;
- "always": nothing.

The table shows their private accuracies minus that of the leader alone, in points, and what the last of the sizes adds
to the export of the others by the rule of today. ± is the standard error over draws, which share images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.machine import table
from benchmarks.probes.probe_draws import Draw, add_probe_options, by_setting, measure_draws
from benchmarks.training.lp_ft import with_error
from search.statistics.blending.blends import equal
from search.statistics.blending.cross_fitting import cross_fit
from search.statistics.paired_gain import paired_gain
from trainer.data.folds import make_folds
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets

AT_MOST = 5
"""Members of a mean, as ``final.members`` has it."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One draw with one number of labelled images."""

    data: str
    """Name of the data folder."""
    seed: int
    labelled: int
    leader: float
    """Private accuracy of the leader alone, 0 .. 1."""
    mean: float
    """Private accuracy of the mean, 0 .. 1; that of the leader if no other member lowers its log loss."""
    members: int
    """Of the mean."""
    real_gain: bool
    """Whether the cross-fitted accuracy of the mean is really above the leader's."""
    no_clear_loss: bool
    """Whether it is not clearly below."""
    without_last: float
    """Private accuracy of the export of all sizes but the last, by the rule of today, 0 .. 1."""

    @property
    def exported(self) -> float:
        """Private accuracy of the export by the rule of today, 0 .. 1."""
        return self.mean if self.no_clear_loss else self.leader


def measure(name: str, drawn: Sequence[Draw], *, folds: int, seed: int) -> Run:
    """Fit a probe on each of several features of the same images, and judge their mean."""
    targets, private = Targets(drawn[0].y), Targets(drawn[0].test_y)
    of_row = make_folds(targets.y, np.arange(len(targets)), folds, seed)
    heads = [features.fit(of_row, np.ones(len(targets), np.float32)) for features in drawn]
    oof = np.stack([features.oof([own], of_row) for features, own in zip(drawn, heads, strict=True)])
    tests = np.stack([features.predict([own]) for features, own in zip(drawn, heads, strict=True)])
    without_last = 0.0
    for used in (max(1, len(oof) - 1), len(oof)):
        best_first = np.argsort([-score("accuracy", targets, proba) for proba in oof[:used]], kind="stable")
        own, own_tests = oof[best_first], tests[best_first]
        method = equal(["one"] * used, AT_MOST)
        crossed = cross_fit(method, targets, own, of_row).scored_output(own, "accuracy")
        gain, blend = paired_gain("accuracy", targets, crossed, own[0]), method(targets, own)
        run = Run(
            data=name,
            seed=seed,
            labelled=len(targets),
            leader=score("accuracy", private, own_tests[0]),
            mean=score("accuracy", private, blend.probabilities(own_tests)),
            members=sum(weight > 0.0 for weight in blend.weights),
            real_gain=gain.real,
            no_clear_loss=gain.no_clear_loss,
            without_last=without_last,
        )
        without_last = run.exported
    return run


def rule_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Gains of each rule over the leader alone, in points, by data set and number of labelled images, then of all."""
    return [
        {
            "data": own[0].data if own is not runs else "all",
            "labelled": f"{np.mean([run.labelled for run in own]):.0f}",
            "draws": len(own),
            "leader": f"{100 * np.mean([run.leader for run in own]):.1f}",
            "members": f"{np.mean([run.members for run in own]):.1f}",
            "real gain": with_error(np.array([_gained(run, run.real_gain) for run in own])),
            "no clear loss": with_error(np.array([_gained(run, run.no_clear_loss) for run in own])),
            "always": with_error(np.array([_gained(run, True) for run in own])),
            "the last size adds": with_error(np.array([100.0 * (run.exported - run.without_last) for run in own])),
        }
        for own in (*by_setting(runs), runs)
    ]


def _gained(run: Run, uses_mean: bool) -> float:
    return 100.0 * (run.mean - run.leader) if uses_mean else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, fit, print; 2 if a data set or the network cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_probe_options(parser, sizes=(160, 224, 288))
    given = parser.parse_args(arguments)
    runs = measure_draws(parser, given, lambda name, seed, drawn: measure(name, drawn, folds=given.folds, seed=seed))
    print(table(rule_rows(runs)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
