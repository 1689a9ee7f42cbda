"""Pruning rules at equal training budgets, replayed on recorded learning curves.

    python -m benchmarks.replays.compare_pruners TABLE.npz ... [--orders 500] [--budgets 2,3,5,8,12] [--cost seconds]
    python -m benchmarks.replays.compare_pruners TABLE.npz ... --halves 20 --orders 30
    python -m benchmarks.replays.compare_pruners TABLE.npz ... --sampling

A table (`benchmarks.replays.curve_tables`) holds the learning curves and true scores of recipes. Each replay draws a
share of the recipes in random order, the same for all rules, and replays their recorded reports as a worker would
produce them. At the end of the budget, a winner is chosen among the finished recipes. **Regret** is the distance in
points of true accuracy between the winner and the best recipe of the replay. Beside it stands the paired difference to
successive halving, with its standard error over replays, but not over tables. A budget of 5 is five average trainings;
*all* is a study whose number of trials is fixed and whose cost is not. Optuna's own pruners are slow and run on
``--slow-orders`` replays.

``--halves`` measures overfitting of settings to the table: it chooses those of successive halving on half of the
recipes and measures them on the other half. ``--sampling`` compares samplers (`benchmarks.replays.compare_samplers`).
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from benchmarks.machine import describe_machine, one_line, table
from benchmarks.replays.compare_samplers import CONTENDERS, Surrogate, compare_samplers
from benchmarks.replays.curve_tables import SHARED, CurveTable, CurveTableError, Int64Array, load_table
from benchmarks.replays.pruning_rules import (
    Halving,
    Never,
    OptunaRule,
    PredictedEnd,
    fold_after_fold,
    promotions,
    screen,
)
from benchmarks.replays.regret import (
    FIRST,
    SHARE,
    TOP,
    Regrets,
    Setting,
    difference,
    draw_orders,
    good_recipe_first,
    measure,
    prepare,
)
from benchmarks.replays.replay import Rule, Trace
from search.tuning.promotion import Promotion
from search.tuning.successive_halving import SuccessiveHalving
from trainer.common.arrays import Float64Array

REFERENCE = "successive halving"
ALL = 1e6
"""A budget that suffices for every recipe of a replay."""
SCREENED = (1, 2, 3, 4, 6)
"""Numbers of recipes that ``screen`` trains to the end."""


Policy = Callable[[Setting, Int64Array, str], Trace]
"""(setting, order, name of the replay) -> trace; one trace serves all budgets."""


def _rule(make: Callable[[Setting], Rule]) -> Policy:
    return lambda setting, order, name: setting.train(make(setting), order)


def _optuna(make: Callable[[int], optuna.pruners.BasePruner], *, soft: bool) -> Policy:
    """``make`` takes the number of epochs."""

    def policy(setting: Setting, order: Int64Array, name: str) -> Trace:
        scores = setting.table.soft if soft else 100.0 * setting.table.metric
        return setting.train(OptunaRule(make(setting.cost.shape[1]), name), order, scores)

    return policy


def _folds(make: Callable[[], optuna.pruners.BasePruner]) -> Policy:
    return lambda setting, order, name: fold_after_fold(setting.table, order, setting.cost, make(), name)


def _halving(**settings: float) -> Policy:
    return _rule(lambda setting: Halving(SuccessiveHalving(**settings)))  # type: ignore[arg-type]


def _promotion(**settings: float) -> Policy:
    return lambda setting, order, name: promotions(
        order,
        setting.cost,
        Promotion(SuccessiveHalving(**settings)),  # type: ignore[arg-type]
        scores=setting.table.soft,
        workers=setting.workers,
        spared=int(order[0]) if setting.good_first else None,
    )


POLICIES: dict[str, Policy] = {
    REFERENCE: _halving(),
    "none": _rule(lambda setting: Never()),
    "halving, startup 2": _halving(startup_trials=2),
    "halving, startup 2, last rung 0.5": _halving(startup_trials=2, last_rung=0.5),
    "halving, factor 3, startup 2": _halving(reduction_factor=3, startup_trials=2),
    "halving, factor 3, startup 2, last rung 0.5": _halving(reduction_factor=3, startup_trials=2, last_rung=0.5),
    "halving, first rung 2": _halving(min_epochs=2),
    "halving, first rung 2, factor 3, startup 2, last rung 0.5": _halving(
        min_epochs=2, reduction_factor=3, startup_trials=2, last_rung=0.5
    ),
    "halving, factor 4, startup 2, last rung 0.5": _halving(reduction_factor=4, startup_trials=2, last_rung=0.5),
    "halving, factor 8, startup 2, last rung 0.5": _halving(reduction_factor=8, startup_trials=2, last_rung=0.5),
    "foretold end, chance below 0.1": _rule(lambda setting: PredictedEnd(chance=0.1)),
    "halving, accuracy reported": lambda setting, order, name: setting.train(
        Halving(SuccessiveHalving()), order, 100.0 * setting.table.metric
    ),
    "promotion, startup 2": _promotion(startup_trials=2),
    "promotion, factor 3, startup 2, last rung 0.5": _promotion(reduction_factor=3, startup_trials=2, last_rung=0.5),
    "promotion, first rung 2, factor 3, startup 2, last rung 0.5": _promotion(
        min_epochs=2, reduction_factor=3, startup_trials=2, last_rung=0.5
    ),
    "promotion, factor 4, startup 2, last rung 0.5": _promotion(reduction_factor=4, startup_trials=2, last_rung=0.5),
}
"""Rules replayed on all orders. Recorded results hold them by these names."""

EVERY_EPOCH_POLICIES: dict[str, Policy] = {
    "halving, calibrated soft reported": lambda setting, order, name: setting.train(
        Halving(SuccessiveHalving()), order, setting.calibrated
    ),
}
"""Rules for tables that hold the probabilities of every epoch."""


SLOW_POLICIES: dict[str, Policy] = {
    "Optuna Hyperband, accuracy": _optuna(lambda epochs: optuna.pruners.HyperbandPruner(1, epochs), soft=False),
    "Optuna Hyperband, soft": _optuna(lambda epochs: optuna.pruners.HyperbandPruner(1, epochs), soft=True),
    "Optuna Median, accuracy": _optuna(lambda epochs: optuna.pruners.MedianPruner(), soft=False),
    "Optuna Median, soft": _optuna(lambda epochs: optuna.pruners.MedianPruner(), soft=True),
    "Optuna Patient(Median, 2), accuracy": _optuna(
        lambda epochs: _quietly(lambda: optuna.pruners.PatientPruner(optuna.pruners.MedianPruner(), patience=2)),
        soft=False,
    ),
    "Optuna Median, fold after fold": _folds(lambda: optuna.pruners.MedianPruner()),
    "Optuna Wilcoxon, fold after fold": _folds(lambda: _quietly(lambda: optuna.pruners.WilcoxonPruner())),
}
"""Optuna's own pruners, for one worker, on fewer orders."""


def _quietly(make: Callable[[], optuna.pruners.BasePruner]) -> optuna.pruners.BasePruner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make()


def screened(setting: Setting, orders: Sequence[Int64Array], budgets: Sequence[float]) -> dict[str, Regrets]:
    """Regrets of "one epoch of everything, then the best K": for K = 2, and for the best K
    of `SCREENED`, which is chosen for each budget on the other half of the orders.
    """
    by_keep = {
        keep: measure(
            setting,
            orders,
            budgets,
            lambda i, budget, keep=keep: screen(  # type: ignore[misc]
                orders[i], setting.cost, budget, min(keep, max(1, int(budget))), scores=setting.table.soft
            ),
        )
        for keep in SCREENED
    }
    halves = [np.arange(len(orders)) % 2 == half for half in (0, 1)]
    chosen = np.empty((len(orders), len(budgets)), dtype=np.int64)
    for half, other in (halves, halves[::-1]):
        means = np.stack([by_keep[keep].picked[FIRST][other].mean(axis=0) for keep in SCREENED])
        chosen[half] = means.argmin(axis=0)

    def merged(take: Callable[[Regrets], Float64Array]) -> Float64Array:
        stacked = np.stack([take(by_keep[keep]) for keep in SCREENED])
        return np.asarray(np.take_along_axis(stacked, chosen[None], axis=0)[0])

    best = Regrets(
        picked={name: merged(lambda r, name=name: r.picked[name]) for name in by_keep[2].picked},  # type: ignore[misc]
        top=merged(lambda r: r.top),
        started=merged(lambda r: r.started),
        spent=merged(lambda r: r.spent),
    )
    return {"one epoch of everything, then the best 2": by_keep[2], "… then the best K, K fitted by budget": best}


def compare(
    setting: Setting, orders: Sequence[Int64Array], budgets: Sequence[float], slow_orders: int
) -> dict[str, Regrets]:
    """Regrets of all rules on the same orders; the slow ones on the first ``slow_orders``.

    Rules for one worker are left out with several workers and with a first trial that is never pruned.
    """

    def of(policy: Policy, some: Sequence[Int64Array]) -> Regrets:
        traces = [policy(setting, order, f"order {i}") for i, order in enumerate(some)]
        return measure(setting, some, budgets, lambda i, budget: traces[i])

    found = {name: of(policy, orders) for name, policy in POLICIES.items()}
    if setting.table.oof_by_epoch is not None:
        found |= {name: of(policy, orders) for name, policy in EVERY_EPOCH_POLICIES.items()}
    if setting.workers == 1 and not setting.good_first:
        found |= screened(setting, orders, budgets)
        found |= {name: of(policy, orders[:slow_orders]) for name, policy in SLOW_POLICIES.items() if slow_orders}
    return found


def regret_rows(found: Mapping[str, Regrets], budgets: Sequence[float]) -> list[dict[str, object]]:
    """A row for each rule: regret and difference to the reference at each budget, and the cost of all recipes."""
    rows = []
    for name, regrets in found.items():
        row: dict[str, object] = {"rule": name}
        for j, budget in enumerate(budgets):
            own, reference = regrets.picked[FIRST][:, j], found[REFERENCE].picked[FIRST][:, j]
            mean, error = difference(own, reference)
            beside = "" if name == REFERENCE else f" ({mean:+.2f} ± {error:.2f})"
            row["all" if budget == ALL else f"{budget:g}"] = f"{own.mean():.2f}{beside}"
        if ALL in budgets:
            row["training for all"] = f"{regrets.spent[:, -1].mean():.1f}"
        rows.append(row)
    return rows


def selection_rows(
    found: Mapping[str, Regrets], budgets: Sequence[float], rules: Sequence[str]
) -> list[dict[str, object]]:
    """A row for each rule and selection score: regret at each budget; and the regret of the best finalist."""
    rows: list[dict[str, object]] = []
    for name in rules:
        for selected_by, values in found[name].picked.items():
            rows.append(_row(name, selected_by, values, budgets))
        rows.append(_row(name, f"best of the first {TOP} by the first line", found[name].top, budgets))
    return rows


def _row(rule: str, selected_by: str, values: Float64Array, budgets: Sequence[float]) -> dict[str, object]:
    means = values.mean(axis=0)
    by_budget = {"all" if b == ALL else f"{b:g}": f"{m:.2f}" for b, m in zip(budgets, means, strict=True)}
    return {"rule": rule, "picked by": selected_by, **by_budget}


def report(path: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Replay one table, print the results, and return them."""
    curves = load_table(path).drawn
    setting = prepare(
        curves,
        cost=given.cost,
        workers=given.workers,
        good_first=given.good_first,
        of_averages=given.of_averages,
    )
    orders = draw_orders(len(curves.recipes), given.orders, given.share, given.seed)
    if given.good_first:
        orders = good_recipe_first(orders, curves)
    budgets = [*given.budgets, ALL]
    found = compare(setting, orders, budgets, given.slow_orders)
    recipes, epochs = curves.metric.shape
    print(
        f"\n**{curves.name}**: {len(orders[0])} of {recipes} recipes a replay, {epochs} epochs, {given.orders} orders, "
        f"cost in {given.cost}, workers: {given.workers}"
        f"{', a good recipe first' if given.good_first else ''}. Regret by budget.\n"
    )
    print(table(regret_rows(found, budgets)))
    print()
    print(table(selection_rows(found, budgets, [REFERENCE, *given.picks])))
    return {
        "table": curves.name,
        "recipes": recipes,
        "regret": {
            name: {
                **{k: v.mean(axis=0).tolist() for k, v in regrets.picked.items()},
                "top": regrets.top.mean(0).tolist(),
            }
            for name, regrets in found.items()
        },
        "begun": {name: regrets.started.mean(axis=0).tolist() for name, regrets in found.items()},
        "spent": {name: regrets.spent.mean(axis=0).tolist() for name, regrets in found.items()},
    }


FAMILY = [
    {"reduction_factor": factor, "startup_trials": startup, "last_rung": last}
    for factor in (2, 3, 4, 6)
    for startup in (2, 3, 4)
    for last in (0.5, 1.0)
]
"""Settings of successive halving that `halves` chooses from."""
HALVES_BUDGETS = (3.0, 5.0)
"""Half a table has too few recipes for larger budgets."""


def halves(table: CurveTable, *, splits: int, orders: int, seed: int) -> dict[str, Any]:
    """Choose settings of halving on half of the recipes, and measure them on the other half.

    Returns:
        ``difference``, ``error``: mean regret minus that of the reference on the other halves, over `HALVES_BUDGETS`,
        and its standard error over splits; ``chosen``: number of times that each member of `FAMILY` was chosen;
        ``fixed``: the difference for each member of `FAMILY` without a choice.
    """
    generator = np.random.default_rng(seed)
    gains: list[float] = []
    chosen: Counter[str] = Counter()
    fixed = np.zeros(len(FAMILY))
    for split in range(splits):
        rows = generator.permutation(len(table.recipes))
        parts = [prepare(table.only(np.sort(rows[half::2]))) for half in (0, 1)]
        means = []
        for part in parts:
            drawn = draw_orders(len(part.table.recipes), orders, 1.0, split)
            rules = [{}, *FAMILY]
            found = []
            for rule in rules:
                traces = [_halving(**rule)(part, order, "") for order in drawn]
                regrets = measure(part, drawn, HALVES_BUDGETS, lambda i, budget, traces=traces: traces[i])  # type: ignore[misc]
                found.append(regrets.picked[FIRST].mean())
            means.append(np.array(found[1:]) - found[0])
        for here, there in ((0, 1), (1, 0)):
            best = int(means[here].argmin())
            chosen[", ".join(f"{name} {value:g}" for name, value in FAMILY[best].items())] += 1
            gains.append(float(means[there][best]))
            fixed += means[there] / (2 * splits)
    pairs = np.array(gains).reshape(splits, 2).mean(axis=1)
    error = float(pairs.std(ddof=1) / np.sqrt(splits)) if splits > 1 else 0.0
    return {
        "difference": float(pairs.mean()),
        "error": error,
        "chosen": dict(chosen.most_common()),
        "fixed": [{**rule, "difference": round(float(gain), 3)} for rule, gain in zip(FAMILY, fixed, strict=True)],
    }


def report_sampling(path: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Compare samplers on a surrogate of one table, print the results, and return them."""
    surrogate = Surrogate(load_table(path), given.seed)
    searches = {name: given.searches if name != "GP" else given.slow_searches for name in CONTENDERS}
    rows = compare_samplers(surrogate, checkpoints=given.trials, searches=searches, seed=given.seed)
    noise = np.sqrt(np.diag(surrogate.noise))
    print(
        f"\n**{path.stem}**: a forest that explains {surrogate.fit:.0%} of the variance of the true score of recipes "
        f"it was not fitted to; noise {noise[0]:.2f} points of accuracy, {noise[1]:.2f} of soft, {noise[2]:.2f} of "
        "calibrated soft. Regret.\n"
    )
    print(table(rows))
    return {"table": path.stem, "fit": surrogate.fit, "noise": surrogate.noise.tolist(), "samplers": rows}


def report_halves(path: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Run `halves` on one table, print the results, and return them."""
    found = halves(load_table(path).drawn, splits=given.halves, orders=given.orders, seed=given.seed)
    print(
        f"\n**{path.stem}**: settings of halving chosen on half of the recipes, regret on the other half minus that of "
        f"{REFERENCE}, mean over budgets of {' and '.join(f'{b:g}' for b in HALVES_BUDGETS)}: "
        f"{found['difference']:+.2f} ± {found['error']:.2f} ({given.halves} splits)\n"
    )
    print(table([{"chosen": name, "times": times} for name, times in found["chosen"].items()]))
    print()
    print(table(sorted(found["fixed"], key=itemgetter("difference"))))
    return {"table": path.stem, **found}


def numbers(text: str) -> list[float]:
    """Parse ascending numbers above 0, separated by commas."""
    values = [float(part) for part in text.split(",")]
    if not values or min(values) <= 0.0 or values != sorted(values):
        raise argparse.ArgumentTypeError(f"{text}: takes ascending numbers above 0, for example 3,5,8")
    return values


def whole_numbers(text: str) -> list[int]:
    """Parse as `numbers`, and round down to integers."""
    return [int(value) for value in numbers(text)]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, replay, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="*", default=[SHARED], help=f"default: {SHARED}")
    parser.add_argument("--orders", type=int, default=500, help="replays of each rule")
    parser.add_argument(
        "--slow-orders", type=int, default=100, help="replays of Optuna's own pruners; 0: leave them out"
    )
    parser.add_argument("--budgets", type=numbers, default=[2.0, 3.0, 5.0, 8.0, 12.0], help="in whole trainings")
    parser.add_argument("--share", type=float, default=SHARE, help="share of the recipes that a replay draws")
    parser.add_argument("--cost", choices=("epochs", "seconds"), default="epochs")
    parser.add_argument("--workers", type=int, default=1, help="parallel workers; more than 1 leave the slow rules out")
    parser.add_argument(
        "--good-first",
        action="store_true",
        help="every order begins with a recipe of its better third, which is never pruned",
    )
    parser.add_argument(
        "--of-averages", action="store_true", help="regret of the average of all fold models instead of one network"
    )
    parser.add_argument(
        "--picks",
        action="append",
        default=[],
        choices=[*POLICIES],
        metavar="RULE",
        help="a further rule in the table of selection scores",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="everything measured")
    parser.add_argument("--halves", type=int, default=0, metavar="SPLITS", help="choose on half of the recipes instead")
    parser.add_argument("--sampling", action="store_true", help="samplers on a surrogate instead")
    parser.add_argument("--searches", type=int, default=40, help="with --sampling: searches of each sampler")
    parser.add_argument(
        "--slow-searches", type=int, default=8, help="with --sampling: searches of the GP; 0: leave it out"
    )
    parser.add_argument(
        "--trials",
        type=whole_numbers,
        default=[20, 40, 60],
        help="with --sampling: numbers of trials after which to compare",
    )
    given = parser.parse_args(argv)
    if given.orders < 2 or given.workers < 1 or not 0.0 < given.share <= 1.0:
        parser.error("needs --orders 2 or more, --workers 1 or more and a --share above 0 and at most 1")
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the GP warns of every conditional parameter
    machine = describe_machine()
    print(one_line(machine))
    try:
        run = report_sampling if given.sampling else report_halves if given.halves else report
        results = [run(path, given) for path in given.tables]
    except CurveTableError as error:
        parser.exit(2, f"{error}\n")
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "tables": results}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
