"""Scores of runs on competitions, paired differences between methods, and the goals. Pure functions."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.competitions.small_competitions import SmallCompetition

OURS = "retable"
QUARTER = "quarter"
METHODS = {
    OURS: "Retable",
    "optuna": "(a) Optuna: TPE, median pruner",
    "random": "(b) random search",
    "ray": "(c) Ray Tune: ASHA",
    QUARTER: "Retable, a quarter of the time",
}
"""Label of each method, by its name in ``--methods``, in the order in which they run."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One method on one competition. All fields can be stored as JSON."""

    competition: int
    """Seed of the competition."""
    method: str
    seconds: float
    """Wall time: Retable's from launch to exit, a rival's from the start of its clock."""
    private: float | None
    """Score on the private test set; None without a submission."""
    private_error: float | None
    """Standard error of ``private`` from sampling the test images."""
    reported: float | None
    """The method's own estimate of its score."""
    low: float | None = None
    """Bounds and level of the reported interval, if there is one."""
    high: float | None = None
    level: float | None = None
    trials: int = 0
    """Started trials."""
    finished: int = 0
    predicted: str = ""
    """Class number of each private image, in the competition's order."""
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Further facts: recipe, seeds, start-up, exit code, why there is no submission."""

    @property
    def optimism(self) -> float | None:
        """Reported minus private score."""
        return None if self.reported is None or self.private is None else self.reported - self.private

    @property
    def covered(self) -> bool | None:
        """Whether the private score lies in the interval; None without an interval or a submission."""
        if self.low is None or self.high is None or self.private is None:
            return None
        return self.low <= self.private <= self.high

    @property
    def labels(self) -> NDArray[np.int64]:
        """`predicted` as numbers, ``(m,)``."""
        return np.array(self.predicted.split(), dtype=np.int64)


def in_order(competition: SmallCompetition, ids: Sequence[str], names: Sequence[str]) -> NDArray[np.int64]:
    """Predicted class numbers in the competition's order of test images, ``(m,)``.

    Args:
        ids: test id of each prediction; only the last part of a path counts.
        names: predicted class of each id.

    Raises:
        ValueError: a test image has no prediction or several, or a class is unknown.
    """
    number = {name: index for index, name in enumerate(competition.class_names)}
    predicted = {Path(identifier).name: name for identifier, name in zip(ids, names, strict=True)}
    if len(predicted) != len(ids) or predicted.keys() != set(competition.test_ids):
        raise ValueError(f"{len(ids)} predictions are not one for each of the {len(competition.test_ids)} test images")
    unknown = sorted(set(predicted.values()) - number.keys())
    if unknown:
        raise ValueError(f"predicted classes that do not exist: {', '.join(unknown)}")
    return np.array([number[predicted[identifier]] for identifier in competition.test_ids], dtype=np.int64)


def hits(competition: SmallCompetition, predicted: NDArray[np.int64]) -> NDArray[np.float64]:
    """1.0 for each correct prediction, else 0.0: ``(m,)``."""
    return np.asarray(predicted == competition.test_y, dtype=np.float64)


def sampling_error(competition: SmallCompetition, values: NDArray[np.float64]) -> float:
    """Standard error of the weighted mean of ``values`` ``(m,)``, from sampling test images within each class."""
    prior = competition.counts / competition.counts.sum()
    variance = 0.0
    for label, share in enumerate(prior):
        of_class = values[competition.test_y == label]
        if len(of_class) > 1:
            variance += float(share**2 * np.var(of_class, ddof=1) / len(of_class))
    return math.sqrt(variance)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean paired difference of two methods, over the competitions for which both have a submission."""

    mean: float
    error: float
    """Standard error of the mean over competitions; NaN for a single competition."""
    sampling_error: float
    """The part of ``error`` that comes from the finite test sets."""
    competitions: int


def difference(
    runs: Sequence[Run], method: str, other: str, competitions: dict[int, SmallCompetition]
) -> Difference | None:
    """Private score of ``method`` minus ``other``, paired by competition; None if no competition has both."""
    pairs = [
        (a, b)
        for a in submitted_runs(runs, method)
        for b in submitted_runs(runs, other)
        if a.competition == b.competition
    ]
    if not pairs:
        return None
    gains = [(a.private or 0.0) - (b.private or 0.0) for a, b in pairs]
    sampled = [
        sampling_error(competition, hits(competition, a.labels) - hits(competition, b.labels))
        for a, b in pairs
        for competition in [competitions[a.competition]]
    ]
    count = len(pairs)
    return Difference(
        mean=statistics.fmean(gains),
        error=statistics.stdev(gains) / math.sqrt(count) if count > 1 else float("nan"),
        sampling_error=math.sqrt(sum(error**2 for error in sampled)) / count,
        competitions=count,
    )


def submitted_runs(runs: Sequence[Run], method: str) -> list[Run]:
    """Runs of a method that have a submission."""
    return [run for run in runs if run.method == method and run.private is not None]


def run_row(run: Run) -> dict[str, object]:
    """One run as a row of a table; scores in percent."""
    interval = "" if run.low is None or run.high is None else f"{100 * run.low:.1f} to {100 * run.high:.1f}"
    return {
        "competition": run.competition,
        "method": METHODS[run.method],
        "private": _points(run.private, run.private_error),
        "reported": _points(run.reported),
        "optimism": _points(run.optimism, signed=True),
        "interval": interval or "-",
        "holds it": {None: "-", True: "yes", False: "no"}[run.covered],
        "trials": f"{run.finished} of {run.trials}",
        "s": f"{run.seconds:.0f}",
    }


def summary_rows(
    runs: Sequence[Run], methods: Sequence[str], competitions: dict[int, SmallCompetition]
) -> list[dict[str, object]]:
    """One row for each method; scores in percent."""
    rows: list[dict[str, object]] = []
    for method in methods:
        ended = submitted_runs(runs, method)
        optimisms = [run.optimism for run in ended if run.optimism is not None]
        intervals = [run.covered for run in ended if run.covered is not None]
        gain = difference(runs, OURS, method, competitions) if method != OURS else None
        rows.append(
            {
                "method": METHODS[method],
                "competitions": len(ended),
                "private": _points(statistics.fmean(run.private or 0.0 for run in ended) if ended else None),
                "optimism": _points(statistics.fmean(optimisms) if optimisms else None, signed=True),
                "interval holds it": f"{sum(intervals)} of {len(intervals)}" if intervals else "-",
                "Retable gains": "-" if gain is None else _points(gain.mean, gain.error, signed=True),
                "of the error, test images": "-" if gain is None else _points(gain.sampling_error),
                "trials finished": f"{statistics.fmean(run.finished for run in ended):.0f}" if ended else "-",
            }
        )
    return rows


def verdicts(runs: Sequence[Run], competitions: dict[int, SmallCompetition]) -> list[str]:
    """A line for each goal that says whether these runs reach it."""
    lines = []
    for other in ("optuna", "random", "ray"):
        gain = difference(runs, OURS, other, competitions)
        if gain is not None:
            lines.append(
                f"Retable minus {METHODS[other]}: {_points(gain.mean, gain.error, signed=True)} points over "
                f"{gain.competitions} competitions; goal, more than two standard errors: "
                f"{'reached' if gain.mean > 2 * gain.error else 'not reached'}"
            )
    quick = difference(runs, QUARTER, "optuna", competitions)
    if quick is not None:
        lines.append(
            f"Retable in a quarter of the time minus {METHODS['optuna']}: "
            f"{_points(quick.mean, quick.error, signed=True)} points; goal, no less than 0: "
            f"{'reached' if quick.mean >= 0 else 'not reached'}"
        )
    return lines


def _points(score: float | None, error: float | None = None, *, signed: bool = False) -> str:
    """A score or a difference in percent, with its standard error."""
    if score is None:
        return "-"
    text = f"{100 * score:+.1f}" if signed else f"{100 * score:.1f}"
    return text if error is None or math.isnan(error) else f"{text} ± {100 * error:.1f}"
