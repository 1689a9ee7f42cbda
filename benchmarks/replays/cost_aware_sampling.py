"""Cost-aware TPE, compared with plain TPE on searches whose backbones differ in training time.

    python -m benchmarks.replays.cost_aware_sampling TABLE.npz ... --searches 20

The searches run on a forest that is fitted to a table of curves (`benchmarks.replays.compare_samplers`). The three
backbones cost 1, 3 and 10, in all six orders, so that the best backbone is cheap in some and expensive in others.
**Regret** is the distance in points of the forest's true score between the choice and the best possible recipe, after
the same total cost. Budgets are numbers of trials of average cost.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from benchmarks.machine import describe_machine, one_line, table
from benchmarks.replays.compare_samplers import OBJECTIVES, Surrogate, best_possible, suggest
from benchmarks.replays.curve_tables import CurveTableError, load_table
from search.study_state.optuna_attributes import SECONDS_ATTRIBUTE
from search.tuning.cost_aware_tpe import CostAwareTPESampler

COSTS = (1.0, 3.0, 10.0)
STARTUP = 10
TRIALS = 60
"""Budget of the study, in trials of average cost."""
OBJECTIVE = "accuracy + calibrated soft"

Sampler = Callable[[int], optuna.samplers.BaseSampler]


def _plain(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=STARTUP, multivariate=True, group=True, constant_liar=True
    )


def _aware(seed: int) -> optuna.samplers.BaseSampler:
    return CostAwareTPESampler(seed=seed, startup_trials=STARTUP, trials=TRIALS)


SAMPLERS: dict[str, Sampler] = {"TPE": _plain, "TPE, cost-aware": _aware}


def search(
    surrogate: Surrogate,
    costs: dict[str, float],
    sampler: Sampler,
    budgets: Sequence[float],
    seed: int,
) -> list[float]:
    """One search: the true score of the choice after each of ``budgets`` (total cost, ascending)."""
    generator = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize", sampler=sampler(seed))
    spent, scores, truth = [0.0], [-math.inf], [math.nan]
    while spent[-1] < budgets[-1]:
        trial = study.ask()
        recipe = suggest(trial, surrogate.dimensions)
        values = surrogate.values([recipe])[0]
        noise = generator.multivariate_normal(np.zeros(3), surrogate.noise)
        spent.append(spent[-1] + costs[recipe["backbone"]])
        scores.append(float(np.dot(OBJECTIVES[OBJECTIVE], values[1:] + noise)))
        truth.append(float(values[0]))
        trial.report(scores[-1], 1)
        trial.set_user_attr(SECONDS_ATTRIBUTE, costs[recipe["backbone"]])
        study.tell(trial, scores[-1])
    picks = []
    for budget in budgets:
        done = [place for place, cost in enumerate(spent) if cost <= budget and place]
        picks.append(truth[max(done, key=scores.__getitem__)] if done else truth[1])
    return picks


def compare(path: Path, *, trials: Sequence[float], searches: int, seed: int) -> list[dict[str, Any]]:
    """A row for each order of costs and sampler: regrets after the cost of each of ``trials`` average trials.

    Raises:
        CurveTableError: the file is not a valid table, or does not have three backbones.
    """
    curves = load_table(path)
    surrogate = Surrogate(curves, seed)
    backbones = next((d.choices for d in surrogate.dimensions if d.name == "backbone"), ())
    if len(backbones) != len(COSTS):
        raise CurveTableError(f"{path}: has {len(backbones)} backbones, this benchmark needs {len(COSTS)}")
    best, average = best_possible(surrogate, seed), float(np.mean(COSTS))
    rows = []
    for order in itertools.permutations(COSTS):
        costs = dict(zip(backbones, order, strict=True))
        for name, sampler in SAMPLERS.items():
            budgets = [average * count for count in trials]
            runs = [search(surrogate, costs, sampler, budgets, seed + i) for i in range(searches)]
            regrets = best - np.array(runs)
            rows.append(
                {
                    "table": path.stem,
                    "costs": ", ".join(f"{backbone} {cost:g}" for backbone, cost in costs.items()),
                    "sampler": name,
                    **{f"{n:g}": f"{regret:.2f}" for n, regret in zip(trials, regrets.mean(axis=0), strict=True)},
                    "regrets": regrets.tolist(),
                }
            )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument(
        "--searches", type=int, default=20, help="searches of each sampler and order of costs (%(default)s)"
    )
    parser.add_argument("--trials", type=float, nargs="+", default=[10, 20, 40, TRIALS], help="budgets, ascending")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="everything measured")
    given = parser.parse_args(argv)
    if given.searches < 2 or given.trials != sorted(given.trials) or given.trials[0] <= 0:
        parser.error("needs --searches 2 or more and ascending --trials above 0")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    machine = describe_machine()
    print(one_line(machine))
    try:
        rows = [
            row
            for path in given.tables
            for row in compare(path, trials=given.trials, searches=given.searches, seed=given.seed)
        ]
    except CurveTableError as error:
        parser.exit(2, f"{error}\n")
    print("\nRegret in points, by budget in trials of average cost.\n")
    print(table([{name: value for name, value in row.items() if name != "regrets"} for row in rows]))
    by_sampler = {name: np.array([row["regrets"] for row in rows if row["sampler"] == name]) for name in SAMPLERS}
    plain, aware = by_sampler.values()
    gains = (plain - aware).mean(axis=1)  # (orders of costs of all tables, budgets)
    errors = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
    shown = ", ".join(
        f"{n:g}: {g:+.2f} ± {e:.2f}" for n, g, e in zip(given.trials, gains.mean(axis=0), errors, strict=True)
    )
    print(f"\nCost-aware better by, in points (standard error over orders of costs): {shown}")
    if given.json is not None:
        given.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
