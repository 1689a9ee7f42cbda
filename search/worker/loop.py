"""A worker's life: take work, train, store, tell; stop gracefully."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from search.runtime.disk import QUOTA, TIDY_INTERVAL, tidy
from search.runtime.heartbeat import Heartbeat, process_name
from search.runtime.home import Home
from search.runtime.signals import GRACE, StopSignals
from search.runtime.worker_environment import PARENT_VARIABLE, SHARE_VARIABLE
from search.study_setup.data_folder import DataMismatch, NoData
from search.study_state.study import Study, read_study
from search.worker.dead_workers import SWEEP_INTERVAL, orphans_of, sweep_all
from search.worker.deadline_guard import DeadlineGuard
from search.worker.lease import LEASE
from search.worker.run_item import run_item
from search.worker.study_cache import StudyCache, WorkerResources
from search.worker.study_context import StudyContext
from storage.database.outages import OUTAGE_TIMEOUT, retry
from storage.queue.items import WorkItem
from storage.records.studies import StoredStudy
from storage.stores import Stores, open_stores
from storage.values import StudyState, WorkKind
from studies.errors import StudyError
from trainer.common.environment import check_torch_pair, usable_cores
from trainer.common.errors import DataError
from trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from trainer.training.results import EpochReport

POLL_INTERVAL = 2.0  # seconds between looks at the queue while others still work
AGAIN_AFTER = 300.0  # seconds after which a study whose images were not found is looked at once more
START_TIMEOUT = 300.0  # seconds that a worker waits at its start for a database that does not answer

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerRequest:
    """``search worker``."""

    storage_url: str
    study: str | None
    """None: every running study of the database."""
    folders: Sequence[Path]
    home: Path
    weights: Path | None = None
    stay: bool = False
    """Wait for further work where none is left."""
    grace: float = GRACE
    """Seconds, see `search.runtime.signals`."""
    quota: float = QUOTA
    """GiB, see `search.runtime.disk`."""
    lease: float = LEASE
    """Seconds, see `search.worker.lease`."""


def run_worker(request: WorkerRequest) -> None:
    """Work until nothing is left to do or a stop is requested (then the trial in hand goes back).

    Raises:
        StorageError, DataMismatch, DataError, NoData, StudyError: nothing was begun.
        WorkerLeaves: something is wrong with this host; the trial in hand is taken care of.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    signals = StopSignals(parent=int(parent) if parent else None, grace=request.grace).install()
    stores = retry(partial(open_stores, request.storage_url, outage_timeout=OUTAGE_TIMEOUT), START_TIMEOUT)
    only = None if request.study is None else stores.study(request.study)
    check_torch_pair(thorough=True)
    name, home = process_name(), Home(root=request.home)
    with _equip(request, stores, home, name) as tools:
        study_cache = StudyCache(tools)
        if only is not None:
            study_cache.context(only)  # what is wrong with its images is told at once
        device = str(tools.device)
        with Heartbeat(stores.workers, name, device=device, home=home.identity()) as heartbeat:
            work(
                stores,
                study_cache.context,
                signals,
                only=only,
                home=home,
                # Whoever started this worker also ends it.
                linger=request.stay or parent is not None,
                quota=request.quota,
                at=heartbeat.at,
            )


@contextmanager
def _equip(request: WorkerRequest, stores: Stores, home: Home, name: str) -> Iterator[WorkerResources]:
    import torch

    from trainer.batches.batch_loader import BatchLoader, fitting_workers
    from trainer.training.gpu_memory import limit_memory

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
    share = os.environ.get(SHARE_VARIABLE)
    if share and device.type == "cuda":
        limit_memory(float(share))
    cores = int(threads) if threads else usable_cores() // max(1, torch.cuda.device_count())
    with BatchLoader(fitting_workers(device.type, cores)) as loader:
        yield WorkerResources(
            worker=name,
            stores=stores,
            home=home,
            folders=tuple(request.folders),
            device=device,
            loader=loader,
            weights_dir=request.weights,
            lease=request.lease,
        )


def work(
    stores: Stores,
    bench_of: Callable[[StoredStudy], StudyContext],
    signals: StopSignals,
    *,
    home: Home,
    only: StoredStudy | None = None,
    linger: bool = False,
    quota: float = QUOTA,
    at: Callable[[int | None], None] = lambda study_id: None,
) -> None:
    """Take and run work items of all studies, or of ``only`` one, until none is left for anybody or a stop is
    requested; with ``linger``, only the latter.

    Args:
        bench_of: opens a study; what it raises about its images or its pruner is passed on for ``only``, else the study
            is left to others.
        at: told which study is being worked on.

    Raises:
        WorkerLeaves: see `search.runtime.failures`.
    """
    _Shift(stores, bench_of, signals, home, only, quota, at).run(linger)


class _Shift:
    """The loop of `work` and what it keeps from turn to turn."""

    def __init__(
        self,
        stores: Stores,
        bench_of: Callable[[StoredStudy], StudyContext],
        signals: StopSignals,
        home: Home,
        only: StoredStudy | None,
        quota: float,
        at: Callable[[int | None], None],
    ) -> None:
        self._stores, self._bench_of, self._signals, self._home = stores, bench_of, signals, home
        self._only, self._quota, self._at = only, quota, at
        self._identity = home.identity()
        self._not_here: dict[int, float] = {}  # studies whose images are elsewhere, and when that was found
        self._deadline_guard = DeadlineGuard(stores)
        self._searched: dict[int, float] = {}  # by study, when orphans were last looked for
        self._swept = self._tidied = -float("inf")
        self._latest: int | None = None  # study that the log spoke of last

    def run(self, linger: bool) -> None:
        while not self._signals.requested:
            self._keep_house()
            if self._serve_one():
                continue
            self._turn_to(None)
            if not linger and not self._others_work():
                return
            # Somebody may yet die and leave a trial to adopt, and `start` may yet want refits.
            time.sleep(POLL_INTERVAL)

    def _serve_one(self) -> bool:
        """Run one item of the study that deserves it most; False: there is none."""
        for study in self._offering():
            context = self._open(study)
            if context is None:
                continue
            orphans = self._orphans(study)
            item = self._take(context)
            if item is not None:
                self._turn_to(study)
                run_item(
                    context,
                    item,
                    self._stop_test(item),
                    orphans,
                    overdue=lambda: self._signals.overdue,
                    out_of_time=self._time_test(context.study, item),
                )
                return True
        return False

    def _turn_to(self, study: StoredStudy | None) -> None:
        if study is not None and study.id != self._latest:
            log.info("now at study %s", study.name)
            self._latest = study.id
        self._at(None if study is None else study.id)

    def _offering(self) -> list[StoredStudy]:
        ids = self._stores.queue.studies_with_work(home=self._identity)
        if self._only is not None:
            return [self._only] if self._only.id in ids else []
        if not ids:
            return []
        studies = {study.id: study for study in self._stores.studies.all()}
        return [studies[study_id] for study_id in ids if study_id in studies]

    def _open(self, study: StoredStudy) -> StudyContext | None:
        if time.monotonic() - self._not_here.get(study.id, -AGAIN_AFTER) < AGAIN_AFTER:
            return None
        try:
            return self._bench_of(study)
        except (NoData, DataMismatch, DataError, StudyError) as problem:
            if self._only is not None:
                raise
            log.warning("study %s is left to other workers: %s", study.name, problem)
            self._not_here[study.id] = time.monotonic()
            return None

    def _orphans(self, study: StoredStudy) -> set[int]:
        """Looked for now and then, before an item is taken: a claim of ours without a trial number would hide them."""
        now = time.monotonic()
        if now - self._searched.get(study.id, -SWEEP_INTERVAL) < SWEEP_INTERVAL:
            return set()
        self._searched[study.id] = now
        return orphans_of(self._stores, study)

    def _take(self, context: StudyContext) -> WorkItem | None:
        queue, study_id = self._stores.queue, context.study.id
        study = read_study(self._stores, context.study.name)  # its deadline as it is now
        kinds = self._deadline_guard.kinds_to_begin(study)
        skip = self._deadline_guard.given_up(study)
        return queue.take(study_id, context.worker, context.lease, kinds, home=self._identity, skip=skip)

    def _stop_test(self, item: WorkItem) -> Callable[[], bool]:
        """Whether to stop after an epoch: this process is to end, or the study is paused or its search stopped."""

        def stop() -> bool:
            if self._signals.requested:
                return True
            state = self._stores.studies.state(item.study_id)
            return state is StudyState.PAUSED or (state is StudyState.STOPPED and item.kind is WorkKind.SEARCH)

        return stop

    def _time_test(self, study: Study, item: WorkItem) -> Callable[[Recipe, EpochReport], bool]:
        """Whether a training would end too late for the study's deadline."""
        return lambda recipe, report: self._deadline_guard.is_too_late(study, item, recipe, report)

    def _keep_house(self) -> None:
        now = time.monotonic()
        if now - self._swept >= SWEEP_INTERVAL:
            sweep_all(self._stores)
            self._swept = now
        if now - self._tidied >= TIDY_INTERVAL:
            tidy(self._stores, self._home, quota=self._quota)
            self._tidied = now

    def _others_work(self) -> bool:
        studies = [self._only] if self._only is not None else self._stores.studies.all()
        return any(self._stores.queue.held(study.id) for study in studies)
