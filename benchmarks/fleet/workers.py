"""Worker processes of `benchmarks.fleet.overhead`, of Retable and of plain Optuna, and their stopwatch.

Both use the same sampler, report every epoch, ask whether to prune, and sleep instead of training. Neither imports
torch.
"""

from __future__ import annotations

import logging
import multiprocessing
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from benchmarks.fleet.study import NAME, outcome, score, suggest, true_probability_after
from search.runtime.heartbeat import Heartbeat
from search.runtime.home import Home
from search.runtime.process_names import process_name
from search.runtime.signals import StopSignals
from search.study_state.study_targets import read_folds
from search.tuning.samplers import make_sampler
from search.worker.loop import work
from search.worker.study_cache import StudyCache, WorkerResources
from search.worker.study_context import StudyContext
from search.worker.task import LeaseLost, Task
from storage.database.connection import Database
from storage.database.outages import OUTAGE_TIMEOUT
from storage.optuna_storage.optuna_trials import stored_trial
from storage.queue.items import WorkItem
from storage.queue.work_queue import WorkQueue
from storage.stores import open_stores
from storage.values import TrialOutcome
from studies.spec import SearchSettings

if TYPE_CHECKING:
    import torch

    from trainer.batches.batch_loader import BatchLoader

BUSY_TIMEOUT = 60  # seconds, for plain Optuna on SQLite: its default of 5 fails with many workers
MAX_ERRORS = 20  # after which a worker of plain Optuna stops


@dataclass(frozen=True, kw_only=True)
class Load:
    """Duration of a cell's trials."""

    sleep: float
    """Mean sleep of a trial in seconds."""
    spread: float
    """Each trial sleeps ``sleep`` times a random factor from 1 - spread to 1 + spread."""
    epochs: int


@dataclass(frozen=True, kw_only=True)
class WorkerTask:
    """Input of one worker process."""

    url: str
    index: int
    num_workers: int
    load: Load
    settings: SearchSettings
    images: Path
    home: Path


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """One trial, from the moment its worker is free until it is free again. Times in seconds."""

    number: int
    slept: float
    """Requested sleep; oversleeping counts as overhead."""
    ended: float
    """End on the system's monotonic clock."""
    stages: dict[str, float]
    """``take`` the next work item; ``ask``: sample, record the recipe; ``report`` all epochs; ``store``; ``tell``."""

    @property
    def overhead(self) -> float:
        """Duration without the sleep."""
        return sum(self.stages.values())


@dataclass(kw_only=True)
class WorkerReport:
    """Measurements of one worker."""

    index: int
    cycles: list[Cycle] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: int = 0
    """Number of logged warnings, for example of outages."""
    cpu: float = 0.0
    """Processor time in seconds since the start signal."""
    peak: float = 0.0
    """Peak memory in MiB."""
    torch: bool = False
    """Whether torch was imported."""


class Stopwatch:
    """Divides a worker's time into cycles, and cycles into stages."""

    def __init__(self) -> None:
        self.cycles: list[Cycle] = []
        self._stages: dict[str, float] = {}
        self._slept = 0.0
        self._number: int | None = None
        self._last: float | None = None

    def worker_is_free(self) -> None:
        """End the current cycle, if it ran a trial, and begin the next one."""
        if self._last is None:
            self._last = time.monotonic()
        elif self._number is not None:
            self.lap("tell")
            self.cycles.append(
                Cycle(number=self._number, slept=self._slept, ended=self._last, stages=dict(self._stages))
            )
            self._stages, self._slept, self._number = {}, 0.0, None

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to ``stage``."""
        now = time.monotonic()
        assert self._last is not None
        self._stages[stage] = self._stages.get(stage, 0.0) + now - self._last
        self._last = now

    def sleep(self, seconds: float) -> None:
        """Sleep; ``seconds`` count for no stage."""
        time.sleep(seconds)
        self._slept += seconds
        assert self._last is not None
        self._last += seconds

    def set_trial(self, number: int) -> None:
        """Set the trial number of the current cycle."""
        self._number = number


Contender = Callable[[WorkerTask, Callable[[], None], Stopwatch, WorkerReport], None]


def run_worker(
    name: str, task: WorkerTask, barrier: Barrier, budget: TrialBudget, reports: Queue[WorkerReport], timeout: float
) -> None:
    """Main of a worker process: prepare, wait for all others, work, report."""
    logging.basicConfig(level=logging.WARNING)
    report, watch = WorkerReport(index=task.index), Stopwatch()
    logging.getLogger().addHandler(_Counter(report))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    cpu = 0.0

    def ready() -> None:
        nonlocal cpu
        barrier.wait(timeout)
        # Starts are spread over one trial, as in the middle of a long search.
        time.sleep(task.load.sleep * task.index / task.num_workers)
        cpu = _cpu_seconds()
        watch.worker_is_free()

    try:
        if name == "retable":
            retable(task, ready, watch)
        else:
            plain_optuna(task, ready, watch, report, budget)
    except Exception:
        report.errors.append(traceback.format_exc())
        barrier.abort()
    report.cycles = watch.cycles
    report.cpu = _cpu_seconds() - cpu
    report.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report.torch = "torch" in sys.modules
    reports.put(report)


def retable(task: WorkerTask, ready: Callable[[], None], watch: Stopwatch) -> None:
    """Retable's worker loop with a training that sleeps."""
    stores = open_stores(task.url, outage_timeout=OUTAGE_TIMEOUT)
    stores = replace(stores, queue=_TimedQueue(stores.database, watch))
    home, study = Home(root=task.home), stores.study(NAME)
    resources = WorkerResources(
        worker=process_name(),
        stores=stores,
        home=home,
        folders=(task.images,),
        # No training runs: neither torch nor a loader is needed.
        device=cast("torch.device", SimpleNamespace(type="cpu")),
        loader=cast("BatchLoader", None),
    )
    train = partial(_sleep_instead, load=task.load, watch=watch)
    context = replace(StudyCache(resources).context(study), train=train)
    with Heartbeat(stores.workers, resources.worker, device="none", home=home.identity()) as heartbeat:
        ready()
        work(stores, lambda _: context, StopSignals(), home=home, only=study, on_study=heartbeat.set_study)


class _TimedQueue(WorkQueue):
    """A work queue that records laps of the stopwatch."""

    def __init__(self, database: Database, watch: Stopwatch) -> None:
        super().__init__(database)
        self._watch = watch

    def studies_with_work(self, *, home: str | None = None) -> list[int]:
        self._watch.worker_is_free()
        return super().studies_with_work(home=home)

    def take(self, *args: object, **options: object) -> WorkItem | None:
        item = super().take(*args, **options)  # type: ignore[arg-type]
        if item is not None:
            self._watch.lap("take")
        return item

    def store(self, item: WorkItem, outcome: TrialOutcome) -> bool:
        self._watch.lap("report")
        stored = super().store(item, outcome)
        self._watch.lap("store")
        return stored


def _sleep_instead(context: StudyContext, task: Task, *, load: Load, watch: Stopwatch) -> TrialOutcome | None:
    """All database calls of `search.worker.training.train_item.train`, with sleeps instead of epochs."""
    watch.lap("ask")
    trial, item = task.trial, task.item
    assert trial is not None and item.trial_number is not None
    watch.set_trial(item.trial_number)
    reported: set[int] = set()
    if item.attempt > 1:
        reported = set(stored_trial(trial).intermediate_values)
    read_folds(context.stores, context.study, item.split)
    value, seconds = score(trial.params), _seconds(load, item.trial_number)
    for epoch in range(1, load.epochs + 1):
        watch.sleep(seconds / load.epochs)
        if not task.lease.check():
            raise LeaseLost
        if epoch not in reported:
            probability = true_probability_after(epoch, load.epochs, value)
            trial.report(probability, epoch)
        if task.stop_requested():
            return None
        trial.should_prune()
    return outcome(value, load.epochs, seconds, seed=item.trial_number)


def plain_optuna(
    task: WorkerTask, ready: Callable[[], None], watch: Stopwatch, report: WorkerReport, budget: TrialBudget
) -> None:
    """``study.optimize`` with an RDBStorage that waits for locks, and one study and one sampler per process.

    ``budget`` counts trials outside of the database, at no cost. Predictions are not stored, and the trials of dead
    workers are not adopted: the comparison does not charge Optuna for what it does not do.
    """
    if task.url.startswith("sqlite"):
        engine_kwargs: dict[str, object] = {"connect_args": {"timeout": BUSY_TIMEOUT}}
    else:
        engine_kwargs = {"pool_size": 2, "max_overflow": 2, "pool_pre_ping": True}
    storage = optuna.storages.RDBStorage(task.url, engine_kwargs=engine_kwargs, skip_table_creation=True)
    study = optuna.load_study(
        study_name=NAME,
        storage=storage,
        sampler=make_sampler(task.settings, seed=task.index, budget=task.settings.trials),
        pruner=optuna.pruners.NopPruner(),
    )
    study.get_trials(deepcopy=False)
    ready()

    def objective(trial: optuna.Trial) -> float:
        value = score(suggest(trial))
        watch.lap("ask")
        watch.set_trial(trial.number)
        seconds = _seconds(task.load, trial.number)
        for epoch in range(1, task.load.epochs + 1):
            watch.sleep(seconds / task.load.epochs)
            trial.report(true_probability_after(epoch, task.load.epochs, value), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        watch.lap("report")
        return value

    def after_trial(study: optuna.Study, _trial: FrozenTrial) -> None:
        watch.worker_is_free()
        if not budget.take():
            study.stop()

    while budget.take() and len(report.errors) < MAX_ERRORS:
        try:
            study.optimize(objective, callbacks=[after_trial])
        except Exception:
            report.errors.append(traceback.format_exc())
            budget.put_back()
        else:
            return


class TrialBudget:
    """Number of trials that may still begin, shared between processes."""

    def __init__(self, count: int) -> None:
        self._left = multiprocessing.get_context("spawn").Value("i", count)

    def take(self) -> bool:
        """Take one trial from the budget; false if none is left."""
        with self._left.get_lock():
            self._left.value -= 1
            return bool(self._left.value >= 0)

    def put_back(self) -> None:
        """Return a trial that failed."""
        with self._left.get_lock():
            self._left.value += 1


class _Counter(logging.Handler):
    def __init__(self, report: WorkerReport) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        self._report.warnings += 1


def _seconds(load: Load, number: int) -> float:
    return load.sleep * float(np.random.default_rng(number).uniform(1 - load.spread, 1 + load.spread))


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
