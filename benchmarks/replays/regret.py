"""How far from the best recipe replays end, picked in several ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.replays.curve_tables import CurveTable, Floats, Ints, calibrated_soft
from benchmarks.replays.replay import Rule, Trace, replay
from search.statistics.ranking import averaging_gain, objective
from trainer.evaluation.ambiguity import expected_average
from trainer.evaluation.targets import Targets

FIRST = "as the service ranks"
"""How winners are picked in the tables of rules."""
SHARE = 2 / 3
"""Of a table's recipes in each replay, so that no single recipe is the best of all replays."""
TOP = 3
"""Finalists whose best counts as found, where the search is followed by a confirmation."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What replays of one table have in common."""

    table: CurveTable
    cost: Floats
    """(R, E), in average whole trainings."""
    workers: int
    good_first: bool = False
    """Whether the first of an order is never given up, see `begin_well`."""
    judged: dict[str, Floats]
    """By what a winner may be picked, see `judgements`."""
    truth: Floats
    """(R,), in points: what regrets are of."""

    @cached_property
    def calibrated(self) -> Floats:
        """(R, E), in points: the soft score at the best temperature after every epoch.

        Raises:
            ValueError: the table does not hold the probabilities of every epoch.
        """
        if self.table.oof_by_epoch is None:
            raise ValueError(f"{self.table.name} holds no probabilities of every epoch")
        return np.array(
            [[100.0 * calibrated_soft(self.table.y, proba) for proba in curve] for curve in self.table.oof_by_epoch]
        )

    def train(self, rule: Rule, order: Ints, scores: Floats | None = None) -> Trace:
        """One replay of a rule; trials report the soft score unless told otherwise."""
        scores = self.table.soft if scores is None else scores
        spared = int(order[0]) if self.good_first else None
        return replay(self.table, rule, order, self.cost, scores=scores, workers=self.workers, spared=spared)


def judgements(table: CurveTable) -> dict[str, Floats]:
    """By what a winner may be picked among the finished: each ``(R,)``, in points; `FIRST` is the one to use."""
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


def draw_orders(recipes: int, count: int, share: float, seed: int) -> list[Ints]:
    """``count`` random orders of ``share`` of the recipes each, at least two."""
    generator = np.random.default_rng(seed)
    size = max(2, round(share * recipes))
    return [generator.permutation(recipes)[:size].astype(np.int64) for _ in range(count)]


def begin_well(orders: Sequence[Ints], table: CurveTable) -> list[Ints]:
    """The same orders, each with the first of its better third at its front: a study's default recipe is good."""
    moved = []
    for order in orders:
        good = table.truth[order] >= np.quantile(table.truth[order], 2 / 3)
        first = int(np.argmax(good))
        moved.append(np.concatenate([order[first : first + 1], np.delete(order, first)]))
    return moved


def unit_costs(table: CurveTable, by: str) -> Floats:
    """(R, E): what each epoch costs in average whole trainings, by ``"epochs"`` or by ``"seconds"``."""
    epochs = np.ones_like(table.seconds)
    raw = table.seconds if by == "seconds" else epochs
    return np.asarray(raw / raw.sum(axis=1).mean())


def prepare(
    table: CurveTable, *, cost: str = "epochs", workers: int = 1, good_first: bool = False, of_averages: bool = False
) -> Setting:
    """What replays of ``table`` need; ``cost`` as `unit_costs` takes it, the others as `Setting` has them.

    Args:
        of_averages: whether regrets are of what is exported, the average of all fold models, not of one network.
    """
    return Setting(
        table=table,
        cost=unit_costs(table, cost),
        workers=workers,
        good_first=good_first,
        judged=judgements(table),
        truth=table.exported if of_averages else table.truth,
    )


@dataclass(frozen=True, kw_only=True)
class Regrets:
    """One rule's replays of one table."""

    picked: dict[str, Floats]
    """By judgement: (orders, budgets), points."""
    top: Floats
    """(orders, budgets), points: of the best of the `TOP` finalists by the first judgement."""
    started: Floats
    """(orders, budgets): recipes trained for one epoch at least."""
    spent: Floats
    """(orders, budgets): in average whole trainings; less than the budget where no recipes are left."""


def measure(
    setting: Setting, orders: Sequence[Ints], budgets: Sequence[float], trace: Callable[[int, float], Trace]
) -> Regrets:
    """Regrets of what ``trace`` (number of the order, budget) did."""
    judged = setting.judged
    truth, epochs = setting.truth, setting.table.metric.shape[1]
    shape = (len(orders), len(budgets))
    picked = {name: np.empty(shape) for name in judged}
    top, started, spent = np.empty(shape), np.empty(shape), np.empty(shape)
    first = judged[FIRST]
    for i, order in enumerate(orders):
        best = truth[order].max()
        for j, budget in enumerate(budgets):
            done = trace(i, budget)
            candidates = done.candidates(budget, epochs)
            if not len(candidates):
                candidates = order[:1]  # nothing was trained: take the first
            for name, values in judged.items():
                picked[name][i, j] = best - truth[candidates[values[candidates].argmax()]]
            finalists = candidates[np.argsort(-first[candidates], kind="stable")[:TOP]]
            top[i, j] = best - truth[finalists].max()
            started[i, j] = done.started(budget)
            spent[i, j] = done.spent[done.spent <= budget].max(initial=0.0)
    return Regrets(picked=picked, top=top, started=started, spent=spent)


def difference(own: Floats, reference: Floats) -> tuple[float, float]:
    """Mean paired difference of two rules' regrets at one budget, ``(orders,)`` each, and its standard error."""
    pairs = own - reference[: len(own)]
    return float(pairs.mean()), float(pairs.std(ddof=1) / np.sqrt(len(pairs))) if len(pairs) > 1 else 0.0
