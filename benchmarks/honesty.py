"""How honest the reported scores are: whole searches replayed on recorded tables of learning curves.

    python -m benchmarks.honesty ../shared/curves/small_natural_images.npz caltech.npz --replays 500

A replay draws some of a table's recipes and hides a third of the images. What a search sees is
the out-of-fold predictions of the other images: it ranks by them, confirms its finalists on the table's second split
where there is one, and says what to expect, with the product's own functions. Then the hidden images tell the truth: no
recipe was chosen by them, and they were drawn as the others were. Their predictions are averaged over the splits, so
the forecast is for that many networks.

What averaging the K models of a cross-validation adds on the table's real test images is compared with what was
foretold, where the table knows it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.curve_tables import CurveTable, load_table
from benchmarks.machine import describe_machine, one_line
from search.confirmation import TRIALS_PER_FINALIST
from search.estimates import Judged, Round, estimate
from search.forecast import Averaging, averaging_gain, forecast
from search.optimism import Tried, honest_score
from search.selection import soft_score, worth
from studies.settings import ConfirmSettings
from trainer.calibration import calibrated_soft
from trainer.metrics import score, true_class_probability

METRIC = "accuracy"
SEEN = 2 / 3
"""Share of the images that a search sees."""
TRIALS = (15, 25, 40)
"""Recipes that a search tries, one of these numbers."""
GROUPS = 5
"""Finalists that show what averaging adds, as in `search.forecasting`."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """One search. Differences are in points (hundredths of accuracy), reported minus true."""

    trials: int
    naive: float
    """The best accuracy seen, and what that recipe shows on the hidden images."""
    mean: float
    """The leader's mean in confirmation."""
    shrunk: float
    """The leader's estimate."""
    honest: float
    """What choosing the best is said to be worth."""
    forecast: float
    """What is expected of the leader's averaged networks."""
    covered: bool
    """Whether the interval held the truth."""
    width: float
    """Of the interval, in points."""
    averaging: float
    """What averaging a cross-validation's models was foretold to add on the test images, minus what it added; NaN where
    the table has one split."""
    gained: float
    """How much better the leader is than the recipe with the best accuracy, on the hidden images."""


def replay(table: CurveTable, generator: np.random.Generator) -> Replay:
    """Search once."""
    splits = table.oof.shape[1]
    count = min(int(generator.choice(TRIALS)), len(table.recipes) - 1)
    rows = np.concatenate([[0], 1 + generator.choice(len(table.recipes) - 1, count - 1, replace=False)])
    order = generator.permutation(len(table.y))
    seen, hidden = np.split(order, [round(SEEN * len(order))])
    oof = [[table.oof[row, split][seen] for split in range(splits)] for row in rows]
    y = table.y[seen]
    accuracies = np.array([score(METRIC, y, rounds[0]) for rounds in oof])
    softs = [soft_score(true_class_probability(y, o[0]).mean(), calibrated_soft(y, o[0])) for o in oof]
    worths = [worth(METRIC, a, soft) for a, soft in zip(accuracies, softs, strict=True)]
    ranking = [int(place) for place in np.argsort(-np.array(worths), kind="stable")]
    wanted = min(ConfirmSettings().finalists, count // TRIALS_PER_FINALIST)
    finalists = [0, *[place for place in ranking if place][:wanted]]
    judging = min(1, splits - 1)
    estimates = estimate(
        [
            Judged(
                number=place,
                rounds=(Round(split=judging, folds=table.folds[judging][seen], oof=oof[place][judging]),),
                chosen=place != 0,
            )
            for place in finalists
        ],
        y,
        METRIC,
    )
    leader = estimates.leader
    fresh = {place: tuple(oof[place][1:2]) for place in finalists}
    honest = honest_score([Tried(searched=o[0], fresh=fresh.get(i, ())) for i, o in enumerate(oof)], y, METRIC)
    groups = sorted(finalists, key=lambda place: place != leader.number)[:GROUPS]
    averaging = averaging_gain([oof[place][:2] for place in groups], y, METRIC)
    told = forecast(
        single=honest.score,
        single_error=max(honest.error, leader.error),
        sampling_error=honest.error,
        averaging=averaging,
        networks=splits,
        metric=METRIC,
        train_images=len(seen),
        test_images=len(hidden),
        chances={},
    )
    best, naive = int(rows[leader.number]), int(rows[int(accuracies.argmax())])
    truth = score(METRIC, table.y[hidden], table.oof[best][:, hidden].mean(axis=0))
    single, of_naive = (_single(table, row, hidden) for row in (best, naive))
    return Replay(
        trials=count,
        naive=100 * (float(accuracies.max()) - of_naive),
        mean=100 * (leader.mean - single),
        shrunk=100 * (leader.shrunk - single),
        honest=100 * (honest.score - single),
        forecast=100 * (told.expected - truth),
        covered=told.low <= truth <= told.high,
        width=100 * (told.high - told.low),
        averaging=100 * _averaging_error(table, best, averaging),
        gained=100 * (single - of_naive),
    )


def _single(table: CurveTable, row: int, images: NDArray[np.int64]) -> float:
    return float(np.mean([score(METRIC, table.y[images], proba[images]) for proba in table.oof[row]]))


def _averaging_error(table: CurveTable, row: int, averaging: Averaging) -> float:
    if table.oof.shape[1] < 2:
        return float("nan")
    gained = float(table.ens_test[row].mean() - table.fold_test[row].mean())
    return averaging.of(table.fold_test.shape[2]).full_gain - gained


COLUMNS = ("naive", "mean", "shrunk", "honest", "forecast", "averaging", "gained")


def summary(name: str, replays: Sequence[Replay]) -> str:
    """A line of the table: means with their standard errors over the replays, coverage, width."""
    cells = [name, str(len(replays))]
    for column in COLUMNS:
        values = np.array([getattr(one, column) for one in replays])
        if np.isnan(values).any():
            cells.append("-")
        else:
            cells.append(f"{values.mean():+.2f} ± {values.std(ddof=1) / np.sqrt(len(values)):.2f}")
    covered = float(np.mean([one.covered for one in replays]))
    cells += [f"{covered:.0%}", f"{np.mean([one.width for one in replays]):.1f}"]
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| table | searches | best accuracy seen | leader's mean | leader's estimate | honest | forecast "
    "| averaging foretold | leader over best accuracy | 90 % interval held | its width |\n" + "| --- " * 11 + "|"
)


def main() -> None:
    """Parse, replay, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--replays", type=int, default=500, help="searches of each table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write every replay here")
    given = parser.parse_args()
    print(one_line(describe_machine()), f"\n\nReported minus true, in points; seed {given.seed}.\n\n{HEAD}", flush=True)
    measured = {}
    for path in given.tables:
        table = load_table(path)
        generator = np.random.default_rng(given.seed)
        replays = [replay(table, generator) for _ in range(given.replays)]
        print(summary(table.name, replays), flush=True)
        measured[table.name] = [asdict(one) for one in replays]
    if given.json is not None:
        given.json.write_text(json.dumps({"seed": given.seed, "replays": measured}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
