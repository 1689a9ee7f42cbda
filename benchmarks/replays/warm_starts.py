"""Warm starts from an earlier study, compared with cold starts on surrogates of recorded tables.

    python -m benchmarks.replays.warm_starts caltech6.npz caltech7.npz caltech8.npz --searches 40

The input is two or more tables (`benchmarks.replays.curve_tables`) of the same study on different images. For each
ordered pair, one table is the earlier study, of which some recipes were tried. The other is searched on a forest that
is fitted to it (`benchmarks.replays.compare_samplers`): the default recipe, then the recipes from memory
(`search.tuning.earlier_studies`), then the sampler. Two more searches use the same seeds: one without memory, and a
control whose memory has shuffled scores.

The results are differences in points of true accuracy between the choice of a warm search and that of the cold one.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from benchmarks.machine import describe_machine, one_line, table
from benchmarks.replays.compare_samplers import OBJECTIVES, Dimension, Run, Surrogate, suggest
from benchmarks.replays.curve_tables import CurveTable, CurveTableError, load_table
from search.statistics.ranking import Candidate, objective
from search.tuning.earlier_studies import TRIALS_PER_STUDY, EarlierTrial, best_trials
from search.tuning.samplers import SAMPLERS
from search.tuning.warm_starts import MAX_WARM_STARTS, TRIALS_PER_WARM_START
from trainer.evaluation.metrics import standard_error
from trainer.evaluation.targets import Targets

TRIED = 20
"""Trials of the earlier study."""
STARTUP = 10
"""Trials before the sampler uses its model, enqueued recipes included."""
OBJECTIVE = "accuracy + calibrated soft"


def params_of(recipe: Mapping[str, Any], dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """Parameters with which `suggest` returns ``recipe``, or its nearest neighbour within the dimensions."""
    params: dict[str, Any] = {}
    for dimension in dimensions:
        value = recipe[dimension.name]
        if dimension.choices:
            params[dimension.name] = value if value in dimension.choices else dimension.choices[0]
            continue
        if dimension.when is not None and params[dimension.when[0]] != dimension.when[1]:
            continue
        name = dimension.name if dimension.when is None else f"{dimension.name}@{dimension.when[1]}"
        if dimension.off:
            params[f"{name}.on"] = float(value) > 0.0
        if not dimension.off or params[f"{name}.on"]:
            params[name] = min(max(float(value), dimension.low), dimension.high)
    return params


def remembered(earlier: CurveTable, generator: np.random.Generator, *, shuffled: bool) -> list[dict[str, Any]]:
    """Recipes from the memory of an earlier study with `TRIED` trials, the best first.

    Args:
        shuffled: whether the scores are assigned to the recipes at random.
    """
    count = len(earlier.recipes)
    rows = generator.permutation(count)[:TRIED]
    scored = generator.permutation(rows) if shuffled else rows
    trials = []
    for number, (row, own) in enumerate(zip(rows, scored, strict=True)):
        oof, average = earlier.oof[own, 0], earlier.average(int(own))
        accuracy = float(earlier.metric[own, -1])
        result = Candidate(
            number=number,
            value=accuracy,
            standard_error=standard_error("accuracy", Targets(earlier.y), oof),
            averaged=accuracy,
            brier=average.brier,
            objective=objective("accuracy", accuracy, average.brier),
        )
        trials.append(EarlierTrial(result=result, recipe=earlier.recipes[int(row)]))
    return [dict(trial.recipe) for trial in best_trials(trials)[:TRIALS_PER_STUDY]]


def search(surrogate: Surrogate, known: Sequence[Mapping[str, Any]], trials: int, seed: int) -> Run:
    """One search that starts with known recipes."""
    noise = np.random.default_rng(seed).multivariate_normal(np.zeros(3), surrogate.noise, size=trials)
    study = optuna.create_study(direction="maximize", sampler=SAMPLERS["tpe"](seed, STARTUP, trials))
    for recipe in known:
        study.enqueue_trial(params_of(recipe, surrogate.dimensions))
    scores, truth = np.empty(trials), np.empty(trials)
    for number in range(trials):
        trial = study.ask()
        values = surrogate.values([suggest(trial, surrogate.dimensions)])[0]
        truth[number] = values[0]
        scores[number] = float(np.dot(OBJECTIVES[OBJECTIVE], values[1:] + noise[number]))
        study.tell(trial, scores[number])
    return Run(scores=scores, truth=truth, seconds=0.0)


def compare(
    tables: Sequence[CurveTable], *, checkpoints: Sequence[int], searches: int, seed: int
) -> list[dict[str, Any]]:
    """A row for each ordered pair of tables and kind of memory: mean gain over the cold search and its standard error,
    after each of ``checkpoints`` trials.
    """
    surrogates = {one.name: Surrogate(one) for one in tables}
    trials = checkpoints[-1]
    room = min(MAX_WARM_STARTS, max(1, trials // TRIALS_PER_WARM_START))
    rows = []
    for new in tables:
        surrogate, default = surrogates[new.name], new.recipes[0]
        cold = [search(surrogate, [default], trials, seed + i) for i in range(searches)]
        for earlier, shuffled in itertools.product([one for one in tables if one is not new], (False, True)):
            gains = np.empty((searches, len(checkpoints)))
            for i in range(searches):
                generator = np.random.default_rng([seed, i])
                known = remembered(earlier, generator, shuffled=shuffled)[:room]
                warm = search(surrogate, [default, *known], trials, seed + i)
                gains[i] = [warm.picked(n) - cold[i].picked(n) for n in checkpoints]
            errors = gains.std(axis=0, ddof=1) / np.sqrt(searches)
            rows.append(
                {
                    "searched": new.name,
                    "remembered": f"{earlier.name}{', dealt out at random' if shuffled else ''}",
                    **{
                        f"{n} trials": f"{gain:+.2f} ± {error:.2f}"
                        for n, gain, error in zip(checkpoints, gains.mean(axis=0), errors, strict=True)
                    },
                    "gains": gains.tolist(),
                }
            )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--searches", type=int, default=40, help="searches of each kind (%(default)s)")
    parser.add_argument(
        "--trials",
        type=int,
        nargs="+",
        default=[5, 10, 20, 40],
        help="numbers of trials after which to compare, ascending",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="everything measured")
    given = parser.parse_args(argv)
    if len(given.tables) < 2 or given.searches < 2 or given.trials != sorted(given.trials) or given.trials[0] < 1:
        parser.error("needs two tables, --searches 2 or more and ascending --trials of 1 or more")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    machine = describe_machine()
    print(one_line(machine))
    try:
        tables = [load_table(path) for path in given.tables]
    except CurveTableError as error:
        parser.exit(2, f"{error}\n")
    rows = compare(tables, checkpoints=given.trials, searches=given.searches, seed=given.seed)
    print("\nPoints better than the cold search.\n")
    print(table([{name: value for name, value in row.items() if name != "gains"} for row in rows]))
    for kind, shuffled in (("remembered", False), ("dealt out at random", True)):
        gains = np.array([row["gains"] for row in rows if ("at random" in row["remembered"]) is shuffled])
        of_pairs = gains.mean(axis=1)
        error = of_pairs.std(axis=0, ddof=1) / np.sqrt(len(of_pairs))
        shown = ", ".join(
            f"{n}: {gain:+.2f} ± {e:.2f}" for n, gain, e in zip(given.trials, of_pairs.mean(axis=0), error, strict=True)
        )
        print(f"\nMean over pairs, {kind}, after so many trials: {shown} (standard error over pairs)")
    if given.json is not None:
        given.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
