"""A search as users write it by hand with Optuna: folds one after another; the score of the best trial is reported.

Two processes share one study in a journal file, as Optuna's documentation recommends for one host. Each trains one
trial at a time. After every fold, the process reports the mean score of the folds so far and asks the pruner. A trial's
value is the mean of its folds' scores after the last epoch. At the end, the saved fold models of the best trial are
averaged, so that nothing is trained again.
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
    PARALLEL_TRIALS,
    Contest,
    FinishedTrial,
    OutOfTimeError,
    RivalResult,
    best_result,
    save_trial,
    time_is_up_after,
    train,
    warm_up,
)
from search.tuning.suggest import sample
from trainer.batches.batch_loader import BatchLoader

NAME = "rival"
STARTING_TIME = 300.0  # seconds for the processes to import everything
LEAVING_TIME = 30.0  # seconds for a process to exit after the time limit


def run_optuna(contest: Contest) -> RivalResult:
    """Search by TPE and MedianPruner with Optuna's defaults, and the constant liar for parallel processes.

    Raises:
        RivalError: a process of the search ended with an error.
    """
    return _run(contest, prune=True)


def run_random(contest: Contest) -> RivalResult:
    """Random search without a pruner; raises as `run_optuna`."""
    return _run(contest, prune=False)


class RivalError(RuntimeError):
    """A rival ended with an error, so its score is invalid."""


class Objective:
    """One trial: the folds one after another."""

    def __init__(self, contest: Contest, loader: BatchLoader, out_of_time: Callable[[], bool]) -> None:
        self._contest, self._loader, self._out_of_time = contest, loader, out_of_time

    def __call__(self, trial: optuna.Trial) -> float:
        """
        Raises:
            OutOfTimeError: the time limit passed.
            optuna.TrialPruned: the pruner stopped the trial, or its loss is not finite.
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
        save_trial(
            self._contest,
            f"trial-{trial.number:05}",
            FinishedTrial(value=value, recipe=recipe.to_flat(), models=models),
        )
        return value


def open_study(contest: Contest, process: int, *, prune: bool) -> optuna.Study:
    """The shared study, with this process's own sampler."""
    # Otherwise Optuna logs a traceback for each trial that is lost at the time limit.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seed = contest.seed * PARALLEL_TRIALS + process
    # Without Retable's options group and multivariate, which are not Optuna's defaults.
    sampler = (
        optuna.samplers.TPESampler(seed=seed, constant_liar=True) if prune else optuna.samplers.RandomSampler(seed=seed)
    )
    return optuna.create_study(
        study_name=NAME,
        storage=JournalStorage(JournalFileBackend(str(_journal(contest.work_dir)))),
        sampler=sampler,
        pruner=optuna.pruners.MedianPruner() if prune else optuna.pruners.NopPruner(),
        direction="maximize",
        load_if_exists=True,
    )


def search_one(contest: Contest, process: int, prune: bool, ready: Barrier | None) -> None:
    """Main of each process: warm up, wait for the others, and search until the time limit."""
    with contest.loader() as loader:
        warm_up(contest, loader)
        study = open_study(contest, process, prune=prune)
        if ready is not None:
            ready.wait(STARTING_TIME)
        objective = Objective(contest, loader, time_is_up_after(contest.seconds))
        study.optimize(objective, timeout=contest.seconds, catch=(OutOfTimeError,))


def collect(contest: Contest, begun: datetime) -> RivalResult:
    """The best result of all processes; ``begun`` is the start of the clock."""
    trials = open_study(contest, 0, prune=True).get_trials(deepcopy=False)
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
    return best_result(
        contest,
        trials=sum(trial.state is not TrialState.WAITING for trial in trials),
        seconds=(max(ends, default=begun) - begun).total_seconds(),
    )


def _run(contest: Contest, *, prune: bool) -> RivalResult:
    study = open_study(contest, 0, prune=prune)
    if contest.default_first:
        study.enqueue_trial(dict(contest.spec.default_params()))
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(PARALLEL_TRIALS + 1)
    processes = [
        context.Process(target=search_one, args=(contest, process, prune, ready)) for process in range(PARALLEL_TRIALS)
    ]
    for process in processes:
        process.start()
    try:
        ready.wait(STARTING_TIME)
        begun, end = (
            datetime.now(),
            time.monotonic() + contest.seconds + LEAVING_TIME,
        )  # local time, as Optuna stores it
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
        codes = [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.join()
    if any(codes):
        raise RivalError(f"processes of the search ended with {codes}; their log says why")
    return collect(contest, begun)


def _journal(work_dir: Path) -> Path:
    return work_dir / "journal.log"
