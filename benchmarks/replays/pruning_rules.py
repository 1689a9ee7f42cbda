"""Pruning rules for `benchmarks.replays.replay`: Retable's, Optuna's, and alternatives.

Three functions make traces of their own: `screen` plans by the budget, `promotions` pauses trials and promotes them as
Retable does, and `fold_after_fold` trains one fold after another, as users of Optuna do.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import replace

import optuna

from benchmarks.replays.curve_tables import CurveTable, Int64Array
from benchmarks.replays.replay import Reports, Trace, trace_of
from search.tuning.promotion import AT_END, Promotion
from search.tuning.successive_halving import SuccessiveHalving
from storage.queue.items import RungValues
from storage.values import DEFAULT_TRIAL
from trainer.common.arrays import Float64Array


class Never:
    """No pruning."""

    def stops(self, seen: Reports, recipe: int, epoch: int) -> bool:
        return False


class Halving:
    """Retable's successive halving, called as in a worker."""

    def __init__(self, pruner: SuccessiveHalving) -> None:
        self._pruner = pruner

    def stops(self, seen: Reports, recipe: int, epoch: int) -> bool:
        if epoch not in self._pruner.rungs(seen.scores.shape[1]):
            return False
        rivals = [float(seen.scores[other, epoch - 1]) for other in seen.rivals(recipe, epoch)]
        return not self._pruner.survives(float(seen.scores[recipe, epoch - 1]), rivals)


class PredictedEnd:
    """Prunes a trial that is unlikely to end above the best finished one.

    The predicted final score is the current score plus the mean gain of finished trials after this epoch. Its variance
    comes from the variance of these gains, with a prior of ``PRIOR`` trials and a standard deviation of 2 points.
    """

    PRIOR = 3

    def __init__(self, *, chance: float, startup: int = 2) -> None:
        self._chance, self._startup = chance, startup

    def stops(self, seen: Reports, recipe: int, epoch: int) -> bool:
        if len(seen.finished) < self._startup:
            return False
        scores, count = seen.scores, len(seen.finished)
        epochs = scores.shape[1]
        gains = scores[seen.finished, -1] - scores[seen.finished, epoch - 1]
        prior = self.PRIOR * 2.0**2 * (1.0 - epoch / epochs)
        variance = (float(((gains - gains.mean()) ** 2).sum()) + prior) / (count - 1 + self.PRIOR)
        error = math.sqrt(variance * (1.0 + 1.0 / count))
        ahead = float(scores[recipe, epoch - 1] + gains.mean() - scores[seen.finished, -1].max())
        return 0.5 * (1.0 + math.erf(ahead / error / math.sqrt(2.0))) < self._chance


class OptunaRule:
    """One of Optuna's pruners, called through a study in memory: ask, report, `should_prune`, tell.

    It serves one worker only: it tells Optuna of a trial's end when the next trial reports for the first time.
    """

    def __init__(self, pruner: optuna.pruners.BasePruner, name: str) -> None:
        """
        Args:
            pruner: a new pruner.
            name: name of the study, by which Hyperband assigns brackets.
        """
        self._study = optuna.create_study(
            study_name=name, direction="maximize", pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0)
        )
        self._running: tuple[optuna.Trial, int, bool] | None = None  # trial, its recipe, whether it was pruned

    def stops(self, seen: Reports, recipe: int, epoch: int) -> bool:
        if epoch == 1:
            self._tell(seen)
            trial = self._study.ask()
        else:
            assert self._running is not None and self._running[1] == recipe, "one worker only"
            trial = self._running[0]
        trial.report(float(seen.scores[recipe, epoch - 1]), step=epoch)
        stops = trial.should_prune()
        self._running = (trial, recipe, stops)
        return stops

    def _tell(self, seen: Reports) -> None:
        if self._running is None:
            return
        trial, recipe, stopped = self._running
        if stopped:
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            last = float(seen.scores[recipe, -1])
            trial.report(last, step=seen.scores.shape[1])
            self._study.tell(trial, last)


def fold_after_fold(
    table: CurveTable, order: Int64Array, cost: Float64Array, pruner: optuna.pruners.BasePruner, name: str
) -> Trace:
    """One of Optuna's pruners on folds that are trained one after another, each reporting its final accuracy.

    The pruner is asked after every fold but the last. In the trace, a recipe's epoch is the trained share of its folds
    times the number of epochs, rounded down.
    """
    study = optuna.create_study(
        study_name=name, direction="maximize", pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    epochs, folds = cost.shape[1], table.fold_metrics.shape[2]
    reports: list[tuple[float, int, int]] = []
    spent = 0.0
    for recipe in order.tolist():
        trial = study.ask()
        values = 100.0 * table.fold_metrics[recipe, -1]
        for fold, value in enumerate(values):
            spent += float(cost[recipe].sum()) / folds
            reports.append((spent, recipe, epochs * (fold + 1) // folds))
            trial.report(float(value), step=fold)
            if fold + 1 < folds and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, float(values.mean()))
    return trace_of(reports)


def screen(order: Int64Array, cost: Float64Array, budget: float, keep: int, *, scores: Float64Array) -> Trace:
    """Train as many recipes as the budget allows for one epoch, then the best ``keep`` of them to the end.

    The plan uses the mean cost of a recipe. Training stops before an epoch that would exceed the budget.
    """
    epochs = cost.shape[1]
    first, rest = float(cost[:, 0].mean()), float(cost[:, 1:].sum(axis=1).mean())
    width = min(len(order), max(keep, int((budget - keep * rest + 1e-9) / first)))
    reports: list[tuple[float, int, int]] = []
    spent = 0.0
    for recipe in order[:width].tolist():
        spent += float(cost[recipe, 0])
        reports.append((spent, recipe, 1))
    best = sorted(order[:width].tolist(), key=lambda recipe: -scores[recipe, 0])[:keep]
    for recipe in best:
        for epoch in range(2, epochs + 1):
            spent += float(cost[recipe, epoch - 1])
            reports.append((spent, recipe, epoch))
    return trace_of([report for report in reports if report[0] <= budget * (1.0 + 1e-9)])


def promotions(
    order: Int64Array,
    cost: Float64Array,
    rule: Promotion,
    *,
    scores: Float64Array,
    workers: int = 1,
    spared: int | None = None,
) -> Trace:
    """Replay Retable's promotion of paused trials (`search.tuning.promotion`); each free worker asks the rule first.

    Args:
        cost, scores: (R, E), as in `benchmarks.replays.replay.replay`.
        spared: a recipe that never pauses, like trial 0 of a study.
    """
    epochs = cost.shape[1]
    # Numbers begin with 1, because the product's trial 0 never pauses.
    trials = {
        recipe: RungValues(
            work_id=recipe,
            number=DEFAULT_TRIAL if recipe == spared else place,
            epochs=epochs,
            values={},
            paused_after=None,
            home=None,
        )
        for place, recipe in enumerate(order.tolist(), 1)
    }
    waiting = order.tolist()[::-1]
    reports: list[tuple[float, int, int]] = []
    running: list[tuple[float, int, int, int]] = []  # time, worker, recipe, epoch that ends then
    idle: list[int] = []

    def take(now: float, worker: int) -> None:
        recipe = rule.choose(list(trials.values()), {None}, at_least=0 if waiting or running else AT_END)
        if recipe is not None:
            epoch = trials[recipe].paused_after
            assert epoch is not None, "only paused trials are chosen"
            trials[recipe] = replace(trials[recipe], paused_after=None)
            heapq.heappush(running, (now + cost[recipe, epoch], worker, recipe, epoch + 1))
        elif waiting:
            recipe = waiting.pop()
            heapq.heappush(running, (now + cost[recipe, 0], worker, recipe, 1))
        else:
            idle.append(worker)

    for worker in range(workers):
        take(0.0, worker)
    while running:
        now, worker, recipe, epoch = heapq.heappop(running)
        reports.append((now * workers, recipe, epoch))
        trial = trials[recipe]
        pauses = rule.pauses_at(trial, epoch)
        if rule.is_rung(trial, epoch):
            values = {**trial.values, epoch: float(scores[recipe, epoch - 1])}
            trials[recipe] = replace(trial, values=values, paused_after=epoch if pauses else None)
        if epoch < epochs and not pauses:
            heapq.heappush(running, (now + cost[recipe, epoch], worker, recipe, epoch + 1))
            continue
        free, idle[:] = [worker, *idle], []
        for one in free:
            take(now, one)
    return trace_of(reports)
