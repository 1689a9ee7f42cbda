"""Bias of the reported scores and coverage of the forecast, from searches replayed on recorded learning curves.

    python -m benchmarks.replays.score_honesty ../shared/curves/small_natural_images.npz caltech.npz --replays 500

A replay draws some of a table's recipes and hides a third of the images. It searches on the out-of-fold predictions of
the other images with Retable's own functions: ranking, confirmation on the table's second split if there is one, and
forecast. The hidden images then give the true score, because no recipe was chosen by them.

The forecast is for the average of the K models of the leader's cross-validation. The true gain from averaging is known
from the table's test images, and is added to the score of one model on the hidden images. A table without the
ambiguity of the models allows only a forecast of the average over splits; the predicted gain from averaging K models is
then compared with the true gain alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe_machine, one_line
from benchmarks.replays.curve_tables import CurveTable, load_table
from search.statistics.estimates import RecipeScores, Round, estimate
from search.statistics.ranking import averaging_gain, objective
from search.statistics.score_forecast import Averaging, averaging_of, forecast, gain_across_trainings, gain_within
from search.statistics.selection_bias import CandidateRecipe, CrossValidated, unbiased_score
from search.study_state.confirmation_schedule import TRIALS_PER_FINALIST
from studies.settings import ConfirmSettings
from trainer.evaluation.ambiguity import Average, brier_scores, expected_average
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import scale_temperature

METRIC = "accuracy"
SEEN = 2 / 3
"""Share of the images that a search sees."""
TRIALS = (15, 25, 40)
"""Numbers of trials of a search; each search draws one."""
GROUPS = 5
"""Finalists from which the averaging gain is estimated, as in `search.export.expected_score`."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Errors of one search: reported minus true score, in points (hundredths of accuracy).

    The results file has a key for each field.
    """

    trials: int
    naive: float
    """Error of the best accuracy seen."""
    mean: float
    """Error of the leader's mean in confirmation."""
    shrunk: float
    """Error of the leader's estimate."""
    honest: float
    """Error of the unbiased score of the best recipe (`search.statistics.selection_bias`)."""
    forecast: float
    """Error of the forecast for the leader's averaged networks."""
    covered: bool
    """Whether the forecast's interval holds the true score."""
    width: float
    """Width of the interval in points."""
    averaging: float
    """Predicted minus true gain from averaging a cross-validation's models; NaN if the table has one split."""
    gained: float
    """True score of the leader minus that of the recipe with the best accuracy, in points."""


def replay(table: CurveTable, generator: np.random.Generator) -> Replay:
    """Replay one search."""
    splits = table.oof.shape[1]
    count = min(int(generator.choice(TRIALS)), len(table.recipes) - 1)
    rows = np.concatenate([[0], 1 + generator.choice(len(table.recipes) - 1, count - 1, replace=False)])
    order = generator.permutation(len(table.y))
    seen, hidden = np.split(order, [round(SEEN * len(order))])
    oof = [[table.oof[row, split][seen] for split in range(splits)] for row in rows]
    targets = Targets(table.y[seen])
    accuracies = np.array([score(METRIC, targets, rounds[0]) for rounds in oof])
    averages = [
        [_average(table, row, split, targets, o) for split, o in enumerate(rounds)]
        for row, rounds in zip(rows, oof, strict=True)
    ]
    gains = [
        [
            averaging_gain(METRIC, score(METRIC, targets, o), one.brier, one.ambiguity)
            for o, one in zip(*both, strict=True)
        ]
        for both in zip(oof, averages, strict=True)
    ]
    objectives = [
        objective(METRIC, accuracy + added[0], own[0].brier)
        for accuracy, added, own in zip(accuracies, gains, averages, strict=True)
    ]
    ranking = [int(place) for place in np.argsort(-np.array(objectives), kind="stable")]
    wanted = min(ConfirmSettings().finalists, count // TRIALS_PER_FINALIST)
    finalists = [0, *[place for place in ranking if place][:wanted]]
    confirm_split = min(1, splits - 1)
    estimates = estimate(
        [
            RecipeScores(
                number=place,
                rounds=(
                    Round(split=confirm_split, folds=table.folds[confirm_split][seen], oof=oof[place][confirm_split]),
                ),
                averaging_gain=gains[place][confirm_split],
                chosen=place != 0,
            )
            for place in finalists
        ],
        targets,
        METRIC,
    )
    leader = estimates.leader
    validated = [
        [
            CrossValidated(oof=o, ambiguity=one.ambiguity, temperature=one.temperature, averaging_gain=added)
            for o, one, added in zip(*both, strict=True)
        ]
        for both in zip(oof, averages, gains, strict=True)
    ]
    fresh = {place: tuple(validated[place][1:2]) for place in finalists}
    candidates = [
        CandidateRecipe(searched=rounds[0], fresh=fresh.get(place, ())) for place, rounds in enumerate(validated)
    ]
    unbiased = unbiased_score(candidates, targets, METRIC)
    groups = sorted(finalists, key=lambda place: place != leader.number)[:GROUPS]
    models = table.fold_test.shape[2]
    # Without an ambiguity, the average is over splits, with one network each.
    known = table.averages is not None
    within = gain_within(gains[leader.number], models) if known else None
    averaging = averaging_of(within, gain_across_trainings([[oof[place][:2]] for place in groups], targets, METRIC))
    # As in `search.export.expected_score`: the score in confirmation minus the selection bias.
    accuracy_of_leader = score(METRIC, targets, oof[leader.number][confirm_split])
    predicted = forecast(
        single=accuracy_of_leader - unbiased.optimism,
        single_error=max(unbiased.error, leader.error),
        sampling_error=unbiased.error,
        averaging=averaging,
        networks=models if known else splits,
        trainings=1 if known else splits,
        metric=METRIC,
        train_images=len(seen),
        test_images=len(hidden),
        chances={},
    )
    best, naive = int(rows[leader.number]), int(rows[int(accuracies.argmax())])
    single, of_naive = (_single(table, row, hidden) for row in (best, naive))
    if known:
        truth = single + _gained(table, best)
    else:
        truth = score(METRIC, Targets(table.y[hidden]), table.oof[best][:, hidden].mean(axis=0))
    return Replay(
        trials=count,
        naive=100 * (float(accuracies.max()) - of_naive),
        mean=100 * (leader.mean - single),
        shrunk=100 * (leader.shrunk - single),
        honest=100 * (unbiased.score - single),
        forecast=100 * (predicted.expected - truth),
        covered=predicted.low <= truth <= predicted.high,
        width=100 * (predicted.high - predicted.low),
        averaging=100 * _averaging_error(table, best, averaging),
        gained=100 * (single - of_naive),
    )


def _single(table: CurveTable, row: int, images: NDArray[np.int64]) -> float:
    return float(np.mean([score(METRIC, Targets(table.y[images]), proba[images]) for proba in table.oof[row]]))


def _average(table: CurveTable, row: int, split: int, targets: Targets, oof: NDArray[np.float32]) -> Average:
    """Properties of the models' average on the images seen. The ambiguity does not depend on these images."""
    if table.averages is None:
        return expected_average(targets, oof, [])
    whole = table.averages[row][split]
    brier = float(brier_scores(targets.y, scale_temperature(oof, whole.temperature)).mean()) - whole.ambiguity
    return replace(whole, brier=brier)


def _gained(table: CurveTable, row: int) -> float:
    return float(table.ens_test[row].mean() - table.fold_test[row].mean())


def _averaging_error(table: CurveTable, row: int, averaging: Averaging) -> float:
    if table.oof.shape[1] < 2:
        return float("nan")
    return averaging.of(table.fold_test.shape[2], 1).mean - _gained(table, row)


COLUMNS = ("naive", "mean", "shrunk", "honest", "forecast", "averaging", "gained")


def summary(name: str, replays: Sequence[Replay]) -> str:
    """A row of the printed table: mean errors with standard errors over the replays, coverage, width."""
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
    "| table | searches | best accuracy seen | leader's mean | leader's estimate | unbiased score | forecast "
    "| averaging gain | leader over best accuracy | 90 % interval held | its width |\n" + "| --- " * 11 + "|"
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
