"""The replay of a search on recorded curves.

Recipes of a table are taken in a given order, as random search would propose them, and a rule is asked after every
epoch but the last whether the trial goes on. What comes of it is a `Trace`: every report with what had been spent by
then. A rule does not know the budget, so one trace answers for all budgets.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from benchmarks.replays.curve_tables import CurveTable, Floats, Ints


@dataclass(frozen=True, kw_only=True)
class Trace:
    """All reports of one replay, oldest first."""

    spent: Floats
    """(reports,), ascending: total cost of everything trained until then, all workers together."""
    recipe: Ints
    """(reports,): which recipe."""
    epoch: Ints
    """(reports,): its epoch, 1 .. E."""

    def finished(self, budget: float, epochs: int) -> Ints:
        """Recipes whose last epoch was reported within the budget, oldest first."""
        within = self.spent <= budget * (1.0 + 1e-9)  # sums of the same seconds in another order
        return np.asarray(self.recipe[within & (self.epoch == epochs)])

    def candidates(self, budget: float, epochs: int) -> Ints:
        """What a winner may be picked from: the finished, or else whatever got furthest. Empty if nothing reported."""
        done = self.finished(budget, epochs)
        within = self.spent <= budget * (1.0 + 1e-9)
        if len(done) or not within.any():
            return done
        return np.asarray(self.recipe[within & (self.epoch == self.epoch[within].max())])

    def started(self, budget: float) -> int:
        """How many recipes reported within the budget."""
        return len(set(self.recipe[self.spent <= budget * (1.0 + 1e-9)].tolist()))


@dataclass(kw_only=True)
class Seen:
    """What a rule may look at: the reports so far."""

    table: CurveTable
    scores: Floats
    """(R, E): what trials report, in points."""
    reached: list[list[int]] = field(default_factory=list)
    """By epoch (0 stays empty): the recipes that reported it, oldest first, this one included."""
    finished: list[int] = field(default_factory=list)

    def rivals(self, recipe: int, epoch: int) -> list[int]:
        """The others that reported ``epoch``."""
        return [other for other in self.reached[epoch] if other != recipe]


class Rule(Protocol):
    """Fresh for every replay."""

    def stops(self, seen: Seen, recipe: int, epoch: int) -> bool:
        """Whether ``recipe``, which has just reported ``epoch`` (1-based, below the last), is given up."""
        ...


def replay(
    table: CurveTable,
    rule: Rule,
    order: Ints,
    cost: Floats,
    *,
    scores: Floats,
    workers: int = 1,
    spared: int | None = None,
) -> Trace:
    """Train the recipes in ``order``; each free worker takes the next. Ends when the table has no more.

    Args:
        cost: (R, E), above 0: what each epoch costs.
        scores: (R, E): what trials report.
        spared: the recipe that is never given up, as trial 0 of a study is not; the rule is not asked about it.
    """
    epochs = cost.shape[1]
    seen = Seen(table=table, scores=scores, reached=[[] for _ in range(epochs + 1)])
    waiting = iter(order.tolist())
    reports: list[tuple[float, int, int]] = []
    running: list[tuple[float, int, int, int]] = []  # when, worker, recipe, the epoch that is done then

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
    """From (spent, recipe, epoch) of each report, oldest first."""
    return Trace(
        spent=np.array([spent for spent, _, _ in reports], dtype=np.float64),
        recipe=np.array([recipe for _, recipe, _ in reports], dtype=np.int64),
        epoch=np.array([epoch for _, _, epoch in reports], dtype=np.int64),
    )
