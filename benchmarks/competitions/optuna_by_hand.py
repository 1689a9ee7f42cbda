"""The search that one writes by hand with Optuna: folds one after another, and the best trial is believed.

Two processes share one study in a journal file, as Optuna's documentation has it for one host. Each trains one trial
at a time. After every fold the mean of the folds so far is reported, and the pruner asked; a trial's value is the mean
of its folds' scores after the last epoch. At the end the fold models of ``best_trial`` are averaged. They were kept, so
that the retraining which others need costs nothing here.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from datetime import datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from benchmarks.competitions.contest import (
    AT_ONCE,
    Contest,
    Found,
    KeptTrial,
    OutOfTime,
    clock_of,
    found,
    keep,
    train,
    warm_up,
)
from search.tuning.suggest import sample
from trainer.batches.batch_loader import BatchLoader

NAME = "rival"
STARTING_TIME = 300.0  # seconds for the processes to import everything
LEAVING_TIME = 30.0  # seconds for a process to leave once the clock has run out


def run_optuna(contest: Contest) -> Found:
    """TPE and MedianPruner, both with Optuna's defaults; the liar that parallel processes need is set.

    Raises:
        RivalFailed: a process of it ended with an error.
    """
    return _run(contest, prune=True)


def run_random(contest: Contest) -> Found:
    """Random search, where every trial runs to its end; raises as `run_optuna`."""
    return _run(contest, prune=False)


class RivalFailed(RuntimeError):
    """A rival broke, so its score would mean nothing."""


class Objective:
    """One trial: the folds one after another."""

    def __init__(self, contest: Contest, loader: BatchLoader, out_of_time: Callable[[], bool]) -> None:
        self._contest, self._loader, self._out_of_time = contest, loader, out_of_time

    def __call__(self, trial: optuna.Trial) -> float:
        """
        Raises:
            OutOfTime: the clock ran out.
            optuna.TrialPruned: it is given up, or its loss is no number.
        """
        recipe = sample(trial, self._contest.spec)
        scores: list[float] = []
        models: list[dict[str, torch.Tensor]] = []
        for fold in range(self._contest.num_folds):
            result = train(self._contest, recipe, fold, self._loader, self._out_of_time)
            if result.status != "finished":
                raise optuna.TrialPruned(result.reason)
            scores.append(result.reports[-1].metric)
            models += result.models
            trial.report(float(np.mean(scores)), fold)
            if fold + 1 < self._contest.num_folds and trial.should_prune():
                raise optuna.TrialPruned
        value = float(np.mean(scores))
        keep(self._contest, f"trial-{trial.number:05}", KeptTrial(value=value, recipe=recipe.to_flat(), models=models))
        return value


def open_study(contest: Contest, process: int, *, prune: bool) -> optuna.Study:
    """The shared study, with a sampler of this process's own."""
    # Trials that are lost when the time is over would be told with a traceback each.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seed = contest.seed * AT_ONCE + process
    # Not group and multivariate, as Retable has them: these are not what plain Optuna does.
    sampler = (
        optuna.samplers.TPESampler(seed=seed, constant_liar=True) if prune else optuna.samplers.RandomSampler(seed=seed)
    )
    return optuna.create_study(
        study_name=NAME,
        storage=JournalStorage(JournalFileBackend(str(_journal(contest.place)))),
        sampler=sampler,
        pruner=optuna.pruners.MedianPruner() if prune else optuna.pruners.NopPruner(),
        direction="maximize",
        load_if_exists=True,
    )


def search_one(contest: Contest, process: int, prune: bool, ready: Barrier | None) -> None:
    """What each process does: get ready, wait for the others, and search until the time is over."""
    with contest.loader() as loader:
        warm_up(contest, loader)
        study = open_study(contest, process, prune=prune)
        if ready is not None:
            ready.wait(STARTING_TIME)
        objective = Objective(contest, loader, clock_of(contest.seconds))
        study.optimize(objective, timeout=contest.seconds, catch=(OutOfTime,))


def collect(contest: Contest, begun: datetime) -> Found:
    """The best of what the processes found since the clock started."""
    trials = open_study(contest, 0, prune=True).get_trials(deepcopy=False)
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
    return found(
        contest,
        trials=sum(trial.state is not TrialState.WAITING for trial in trials),
        seconds=(max(ends, default=begun) - begun).total_seconds(),
    )


def _run(contest: Contest, *, prune: bool) -> Found:
    study = open_study(contest, 0, prune=prune)
    if contest.default_first:
        study.enqueue_trial(dict(contest.spec.default_params()))
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(AT_ONCE + 1)
    processes = [
        context.Process(target=search_one, args=(contest, process, prune, ready)) for process in range(AT_ONCE)
    ]
    for process in processes:
        process.start()
    try:
        ready.wait(STARTING_TIME)
        begun, end = datetime.now(), time.monotonic() + contest.seconds + LEAVING_TIME  # as Optuna has it
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
        codes = [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.join()
    if any(codes):
        raise RivalFailed(f"processes of the search ended with {codes}; what they printed says why")
    return collect(contest, begun)


def _journal(place: Path) -> Path:
    return place / "journal.log"
