"""The two contenders of `benchmarks.fleet.overhead`, each a process of its own, and the stopwatch that both carry.

Both sample with the same sampler, report every epoch and ask whether to prune, and sleep instead of training. Neither
imports torch.
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
from typing import TYPE_CHECKING, cast

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from benchmarks.fleet.study import NAME, outcome, score, soft_after, suggest
from search.runtime.heartbeat import Heartbeat, process_name
from search.runtime.home import Home
from search.runtime.signals import StopSignals
from search.study_state.study_targets import read_folds
from search.tuning.samplers import make_sampler
from search.worker.loop import work
from search.worker.study_cache import StudyCache, WorkerResources
from search.worker.study_context import StudyContext
from search.worker.task import LeaseLost, Task
from storage.database.connection import Database
from storage.database.outages import OUTAGE_TIMEOUT
from storage.optuna_storage import stored_trial
from storage.queue.items import WorkItem
from storage.queue.work_queue import WorkQueue
from storage.stores import open_stores
from storage.values import TrialOutcome
from studies.spec import SearchSettings

if TYPE_CHECKING:
    import torch

    from trainer.batches.batch_loader import BatchLoader

BUSY_TIMEOUT = 60  # seconds, for plain Optuna on SQLite: its default of 5 fails at once among many workers
MAX_ERRORS = 20  # after which a worker of plain Optuna gives up


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the trials of a cell are like."""

    sleep: float
    """Seconds in place of the training, on average."""
    spread: float
    """Each trial sleeps ``sleep`` times something between 1 - spread and 1 + spread: real trials differ, too."""
    epochs: int


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one worker process is told."""

    url: str
    place: int
    places: int
    load: Load
    settings: SearchSettings
    images: Path
    home: Path


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """One trial: from the moment its worker is free to the moment it is free again, in seconds."""

    number: int
    slept: float
    """As asked for; what the system sleeps longer counts as overhead."""
    ended: float
    """On the system's monotonic clock."""
    stages: dict[str, float]
    """``take`` the next work item; ``ask``: sample, record the recipe; ``report`` all epochs; ``store``; ``tell``."""

    @property
    def overhead(self) -> float:
        """All but the sleep."""
        return sum(self.stages.values())


@dataclass(kw_only=True)
class Report:
    """What a worker did."""

    place: int
    cycles: list[Cycle] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: int = 0
    """Outages that were waited out, and the like."""
    cpu: float = 0.0
    """Seconds of processor time, from the start signal on."""
    peak: float = 0.0
    """Largest memory, MiB."""
    torch: bool = False
    """Whether torch was imported after all."""


class Stopwatch:
    """Divides a worker's life into cycles and these into stages."""

    def __init__(self) -> None:
        self.cycles: list[Cycle] = []
        self._stages: dict[str, float] = {}
        self._slept = 0.0
        self._number: int | None = None
        self._last: float | None = None

    def free(self) -> None:
        """The worker is free: a trial under way ends, and the next cycle begins."""
        if self._last is None:
            self._last = time.monotonic()
        elif self._number is not None:
            self.lap("tell")
            self.cycles.append(
                Cycle(number=self._number, slept=self._slept, ended=self._last, stages=dict(self._stages))
            )
            self._stages, self._slept, self._number = {}, 0.0, None

    def lap(self, stage: str) -> None:
        """What passed since the last lap belongs to ``stage``."""
        now = time.monotonic()
        assert self._last is not None
        self._stages[stage] = self._stages.get(stage, 0.0) + now - self._last
        self._last = now

    def nap(self, seconds: float) -> None:
        """Sleep; this much belongs to no stage."""
        time.sleep(seconds)
        self._slept += seconds
        assert self._last is not None
        self._last += seconds

    def runs(self, number: int) -> None:
        """The trial under way has this number."""
        self._number = number


Contender = Callable[[Order, Callable[[], None], Stopwatch, Report], None]


def labour(
    name: str, order: Order, barrier: Barrier, tickets: Tickets, reports: Queue[Report], patience: float
) -> None:
    """Main of a worker process: get ready, wait for all others, work, report."""
    logging.basicConfig(level=logging.WARNING)
    report, watch = Report(place=order.place), Stopwatch()
    logging.getLogger().addHandler(_Counter(report))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    cpu = 0.0

    def ready() -> None:
        nonlocal cpu
        barrier.wait(patience)
        # As in the middle of a night: not everybody begins a trial at the same moment.
        time.sleep(order.load.sleep * order.place / order.places)
        cpu = _cpu_seconds()
        watch.free()

    try:
        if name == "retable":
            retable(order, ready, watch)
        else:
            plain_optuna(order, ready, watch, report, tickets)
    except Exception:
        report.errors.append(traceback.format_exc())
        barrier.abort()
    report.cycles = watch.cycles
    report.cpu = _cpu_seconds() - cpu
    report.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report.torch = "torch" in sys.modules
    reports.put(report)


def retable(order: Order, ready: Callable[[], None], watch: Stopwatch) -> None:
    """The real worker loop, with a context whose training sleeps."""
    stores = open_stores(order.url, outage_timeout=OUTAGE_TIMEOUT)
    stores = replace(stores, queue=_TimedQueue(stores.database, watch))
    home, study = Home(root=order.home), stores.study(NAME)
    tools = WorkerResources(
        worker=process_name(),
        stores=stores,
        home=home,
        folders=(order.images,),
        # Nothing here is trained.
        device=cast("torch.device", None),
        loader=cast("BatchLoader", None),
    )
    train = partial(_pretend, load=order.load, watch=watch)
    context = replace(StudyCache(tools).context(study), train=train)
    with Heartbeat(stores.workers, tools.worker, device="none", home=home.identity()) as heartbeat:
        ready()
        work(stores, lambda _: context, StopSignals(), home=home, only=study, at=heartbeat.at)


class _TimedQueue(WorkQueue):
    """A queue that tells the stopwatch."""

    def __init__(self, database: Database, watch: Stopwatch) -> None:
        super().__init__(database)
        self._watch = watch

    def studies_with_work(self, *, home: str | None = None) -> list[int]:
        self._watch.free()
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


def _pretend(context: StudyContext, task: Task, *, load: Load, watch: Stopwatch) -> TrialOutcome | None:
    """All that `search.worker.train_item.train` asks of the database, and naps instead of epochs."""
    watch.lap("ask")
    trial, item = task.trial, task.item
    assert trial is not None and item.trial_number is not None
    watch.runs(item.trial_number)
    reported: set[int] = set()
    if item.attempt > 1:
        reported = set(stored_trial(trial).intermediate_values)
    read_folds(context.stores, context.study, item.split)
    value, seconds = score(trial.params), _seconds(load, item.trial_number)
    for epoch in range(1, load.epochs + 1):
        watch.nap(seconds / load.epochs)
        if not task.lease.check():
            raise LeaseLost
        if epoch not in reported:
            soft = soft_after(epoch, load.epochs, value)
            trial.report(soft, epoch)
        if task.stop_requested():
            return None
        trial.should_prune()
    return outcome(value, load.epochs, seconds, seed=item.trial_number)


def plain_optuna(order: Order, ready: Callable[[], None], watch: Stopwatch, report: Report, tickets: Tickets) -> None:
    """``study.optimize`` as a careful user writes it: RDBStorage with patience, one study and one sampler a process.

    The budget is kept outside of the database, by ``tickets``, which costs nothing. Predictions are not stored, and a
    worker that dies leaves its trial behind: what Optuna does not do is not charged to it.
    """
    if order.url.startswith("sqlite"):
        engine_kwargs: dict[str, object] = {"connect_args": {"timeout": BUSY_TIMEOUT}}
    else:
        engine_kwargs = {"pool_size": 2, "max_overflow": 2, "pool_pre_ping": True}
    storage = optuna.storages.RDBStorage(order.url, engine_kwargs=engine_kwargs, skip_table_creation=True)
    study = optuna.load_study(
        study_name=NAME,
        storage=storage,
        sampler=make_sampler(order.settings, seed=order.place, budget=order.settings.trials),
        pruner=optuna.pruners.NopPruner(),
    )
    study.get_trials(deepcopy=False)
    ready()

    def objective(trial: optuna.Trial) -> float:
        value = score(suggest(trial))
        watch.lap("ask")
        watch.runs(trial.number)
        seconds = _seconds(order.load, trial.number)
        for epoch in range(1, order.load.epochs + 1):
            watch.nap(seconds / order.load.epochs)
            trial.report(soft_after(epoch, order.load.epochs, value), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        watch.lap("report")
        return value

    def go_on(study: optuna.Study, _trial: FrozenTrial) -> None:
        watch.free()
        if not tickets.draw():
            study.stop()

    while tickets.draw() and len(report.errors) < MAX_ERRORS:
        try:
            study.optimize(objective, callbacks=[go_on])
        except Exception:
            report.errors.append(traceback.format_exc())
            tickets.give_back()
        else:
            return


class Tickets:
    """As many as trials are to be run."""

    def __init__(self, count: int) -> None:
        self._left = multiprocessing.get_context("spawn").Value("i", count)

    def draw(self) -> bool:
        """Whether another trial may begin."""
        with self._left.get_lock():
            self._left.value -= 1
            return bool(self._left.value >= 0)

    def give_back(self) -> None:
        """The trial came to nothing."""
        with self._left.get_lock():
            self._left.value += 1


class _Counter(logging.Handler):
    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        self._report.warnings += 1


def _seconds(load: Load, number: int) -> float:
    return load.sleep * float(np.random.default_rng(number).uniform(1 - load.spread, 1 + load.spread))


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
