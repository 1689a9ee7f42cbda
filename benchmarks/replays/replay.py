"""Replay of a search on recorded learning curves.

The recipes of a table are trained in a given order, like proposals of random search. After every epoch but the last, a
rule decides whether the trial is pruned. The result is a `Trace`: every report, with the cost up to it. A rule does not
know the budget, so one trace serves all budgets.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from benchmarks.replays.curve_tables import CurveTable, Int64Array
from trainer.common.arrays import Float64Array


@dataclass(frozen=True, kw_only=True)
class Trace:
    """All reports of one replay, oldest first."""

    spent: Float64Array
    """(reports,), ascending: total cost of all workers up to the report."""
    recipe: Int64Array
    """(reports,): number of the recipe."""
    epoch: Int64Array
    """(reports,): reported epoch, 1 .. E."""

    def finished(self, budget: float, epochs: int) -> Int64Array:
        """Recipes whose last epoch was reported within the budget, oldest first."""
        within = self.spent <= budget * (1.0 + 1e-9)  # sums of the same seconds in another order
        return np.asarray(self.recipe[within & (self.epoch == epochs)])

    def candidates(self, budget: float, epochs: int) -> Int64Array:
        """Recipes that may win: the finished ones, or else those with the latest epoch. Empty without reports."""
        done = self.finished(budget, epochs)
        within = self.spent <= budget * (1.0 + 1e-9)
        if len(done) or not within.any():
            return done
        return np.asarray(self.recipe[within & (self.epoch == self.epoch[within].max())])

    def started(self, budget: float) -> int:
        """Number of recipes that reported within the budget."""
        return len(set(self.recipe[self.spent <= budget * (1.0 + 1e-9)].tolist()))


@dataclass(kw_only=True)
class Reports:
    """All reports so far, the input of a rule."""

    table: CurveTable
    scores: Float64Array
    """(R, E): reported score in points."""
    reached: list[list[int]] = field(default_factory=list)
    """Recipes that reported each epoch, oldest first, the current one included; entry 0 is empty."""
    finished: list[int] = field(default_factory=list)

    def rivals(self, recipe: int, epoch: int) -> list[int]:
        """Other recipes that reported ``epoch``."""
        return [other for other in self.reached[epoch] if other != recipe]


class Rule(Protocol):
    """A pruning rule; each replay uses a new one."""

    def stops(self, seen: Reports, recipe: int, epoch: int) -> bool:
        """Whether to prune ``recipe``, which has just reported ``epoch`` (1-based, below the last)."""
        ...


def replay(
    table: CurveTable,
    rule: Rule,
    order: Int64Array,
    cost: Float64Array,
    *,
    scores: Float64Array,
    workers: int = 1,
    spared: int | None = None,
) -> Trace:
    """Train all recipes of ``order``; each free worker takes the next one.

    Args:
        cost: (R, E), above 0: cost of each epoch.
        scores: (R, E): reported scores in points.
        spared: a recipe that is never pruned, like trial 0 of a study.
    """
    epochs = cost.shape[1]
    seen = Reports(table=table, scores=scores, reached=[[] for _ in range(epochs + 1)])
    waiting = iter(order.tolist())
    reports: list[tuple[float, int, int]] = []
    running: list[tuple[float, int, int, int]] = []  # time, worker, recipe, epoch that ends then

    def take(now: float, worker: int) -> None:
        recipe = next(waiting, None)
        if recipe is not None:
            heapq.heappush(running, (now + cost[recipe, 0], worker, recipe, 1))

    for worker in range(workers):
        take(0.0, worker)
    while running:
        now, worker, recipe, epoch = heapq.heappop(running)
        reports.append((now * workers, recipe, epoch))
        seen.reached[epoch].append(recipe)
        if epoch == epochs:
            seen.finished.append(recipe)
            take(now, worker)
        elif recipe != spared and rule.stops(seen, recipe, epoch):
            take(now, worker)
        else:
            heapq.heappush(running, (now + cost[recipe, epoch], worker, recipe, epoch + 1))
    return trace_of(reports)


def trace_of(reports: Sequence[tuple[float, int, int]]) -> Trace:
    """A trace from (spent, recipe, epoch) of each report, oldest first."""
    return Trace(
        spent=np.array([spent for spent, _, _ in reports], dtype=np.float64),
        recipe=np.array([recipe for _, recipe, _ in reports], dtype=np.int64),
        epoch=np.array([epoch for _, _, epoch in reports], dtype=np.int64),
    )
