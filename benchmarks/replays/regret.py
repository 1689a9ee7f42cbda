"""Regret of replays: distance between the chosen recipe and the best one, for several selection scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.replays.curve_tables import CurveTable, Int64Array, calibrated_soft
from benchmarks.replays.replay import Rule, Trace, replay
from search.statistics.ranking import averaging_gain, objective
from trainer.common.arrays import Float64Array
from trainer.evaluation.ambiguity import expected_average
from trainer.evaluation.targets import Targets

FIRST = "as the service ranks"
"""Name of the selection score in the tables of rules."""
SHARE = 2 / 3
"""Share of a table's recipes in each replay, so that the best recipe differs between replays."""
TOP = 3
"""Finalists of a perfect confirmation, which finds the best of them."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Input of all replays of one table."""

    table: CurveTable
    cost: Float64Array
    """(R, E): cost of each epoch in average full trainings."""
    workers: int
    good_first: bool = False
    """Whether the first recipe of an order is never pruned, see `good_recipe_first`."""
    selection_scores: dict[str, Float64Array]
    """Scores by which a winner may be chosen, see `selection_scores_of`."""
    truth: Float64Array
    """(R,), in points: true score, from which regrets are computed."""

    @cached_property
    def calibrated(self) -> Float64Array:
        """(R, E), in points: calibrated soft score after every epoch.

        Raises:
            ValueError: the table does not hold the probabilities of every epoch.
        """
        if self.table.oof_by_epoch is None:
            raise ValueError(f"{self.table.name} holds no probabilities of every epoch")
        return np.array(
            [[100.0 * calibrated_soft(self.table.y, proba) for proba in curve] for curve in self.table.oof_by_epoch]
        )

    def train(self, rule: Rule, order: Int64Array, scores: Float64Array | None = None) -> Trace:
        """Replay a rule once; trials report ``scores``, by default the soft score."""
        scores = self.table.soft if scores is None else scores
        spared = int(order[0]) if self.good_first else None
        return replay(self.table, rule, order, self.cost, scores=scores, workers=self.workers, spared=spared)


def selection_scores_of(table: CurveTable) -> dict[str, Float64Array]:
    """Scores by which a winner may be chosen among finished recipes, by name: each ``(R,)``, in points."""
    accuracy, recipes = table.metric[:, -1], range(len(table.recipes))
    averages = [table.average(row) for row in recipes]
    alone = [expected_average(Targets(table.y), table.oof[row, 0], []) for row in recipes]
    averaged = [
        own + averaging_gain("accuracy", own, average.brier, average.ambiguity)
        for own, average in zip(accuracy, averages, strict=True)
    ]
    objectives = {
        FIRST: [objective("accuracy", score, average.brier) for score, average in zip(averaged, averages, strict=True)],
        "as one network": [objective("accuracy", own, one.brier) for own, one in zip(accuracy, alone, strict=True)],
        "accuracy of the average": averaged,
        "Brier score of the average": [1.0 - average.brier for average in averages],
        "calibrated soft": [calibrated_soft(table.y, proba) for proba in table.oof[:, 0]],
        "soft": table.soft[:, -1] / 100.0,
        "accuracy": accuracy,
    }
    return {name: 100.0 * np.asarray(values, dtype=np.float64) for name, values in objectives.items()}


def draw_orders(recipes: int, count: int, share: float, seed: int) -> list[Int64Array]:
    """``count`` random orders, each of a ``share`` of the recipes and of at least two."""
    generator = np.random.default_rng(seed)
    size = max(2, round(share * recipes))
    return [generator.permutation(recipes)[:size].astype(np.int64) for _ in range(count)]


def good_recipe_first(orders: Sequence[Int64Array], table: CurveTable) -> list[Int64Array]:
    """Move the first recipe of the better third to the front of each order, like a good default recipe."""
    moved = []
    for order in orders:
        good = table.truth[order] >= np.quantile(table.truth[order], 2 / 3)
        first = int(np.argmax(good))
        moved.append(np.concatenate([order[first : first + 1], np.delete(order, first)]))
    return moved


def unit_costs(table: CurveTable, by: str) -> Float64Array:
    """(R, E): cost of each epoch in average full trainings, by ``"epochs"`` or by ``"seconds"``."""
    epochs = np.ones_like(table.seconds)
    raw = table.seconds if by == "seconds" else epochs
    return np.asarray(raw / raw.sum(axis=1).mean())


def prepare(
    table: CurveTable, *, cost: str = "epochs", workers: int = 1, good_first: bool = False, of_averages: bool = False
) -> Setting:
    """The `Setting` of a table; ``cost`` is an argument of `unit_costs`.

    Args:
        of_averages: whether the true score is that of the average of all fold models instead of one network.
    """
    return Setting(
        table=table,
        cost=unit_costs(table, cost),
        workers=workers,
        good_first=good_first,
        selection_scores=selection_scores_of(table),
        truth=table.exported if of_averages else table.truth,
    )


@dataclass(frozen=True, kw_only=True)
class Regrets:
    """Regrets of one rule on one table."""

    picked: dict[str, Float64Array]
    """(orders, budgets), in points: regret of the winner, by name of the selection score."""
    top: Float64Array
    """(orders, budgets), in points: regret of the best of the `TOP` finalists by `FIRST`."""
    started: Float64Array
    """(orders, budgets): recipes trained for at least one epoch."""
    spent: Float64Array
    """(orders, budgets): spent average full trainings; below the budget if no recipes are left."""


def measure(
    setting: Setting, orders: Sequence[Int64Array], budgets: Sequence[float], trace: Callable[[int, float], Trace]
) -> Regrets:
    """Regrets of the traces that ``trace`` returns for the number of an order and a budget."""
    selection_scores = setting.selection_scores
    truth, epochs = setting.truth, setting.table.metric.shape[1]
    shape = (len(orders), len(budgets))
    picked = {name: np.empty(shape) for name in selection_scores}
    top, started, spent = np.empty(shape), np.empty(shape), np.empty(shape)
    first = selection_scores[FIRST]
    for i, order in enumerate(orders):
        best = truth[order].max()
        for j, budget in enumerate(budgets):
            done = trace(i, budget)
            candidates = done.candidates(budget, epochs)
            if not len(candidates):
                candidates = order[:1]  # nothing was trained: choose the first
            for name, values in selection_scores.items():
                picked[name][i, j] = best - truth[candidates[values[candidates].argmax()]]
            finalists = candidates[np.argsort(-first[candidates], kind="stable")[:TOP]]
            top[i, j] = best - truth[finalists].max()
            started[i, j] = done.started(budget)
            spent[i, j] = done.spent[done.spent <= budget].max(initial=0.0)
    return Regrets(picked=picked, top=top, started=started, spent=spent)


def difference(own: Float64Array, reference: Float64Array) -> tuple[float, float]:
    """Mean paired difference of two rules' regrets at one budget, ``(orders,)`` each, and its standard error."""
    pairs = own - reference[: len(own)]
    return float(pairs.mean()), float(pairs.std(ddof=1) / np.sqrt(len(pairs))) if len(pairs) > 1 else 0.0
