"""The loop of a worker: choose a study, take a work item from its queue, run it; until no work is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from search.runtime.disk import CACHE_QUOTA, QUOTA, TIDY_INTERVAL, tidy
from search.runtime.home import Home
from search.runtime.signals import StopSignals
from search.study_setup.data_folder import DataMismatch, NoData
from search.study_setup.rules import AgainstTheRules, LearnedLabels
from search.study_setup.weights_folder import NoWeights
from search.study_state.study import read_study
from search.tuning.promotion import ALL, AT_END
from search.tuning.restore_optuna import ForeignOptunaStudy
from search.worker.dead_workers import SWEEP_INTERVAL, orphaned_trials, sweep_all
from search.worker.limits.deadline_guard import DeadlineGuard
from search.worker.limits.gpu_wait import REST, GpuBusy
from search.worker.pausing import end_when_over, is_last_phase
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from storage.queue.items import WorkItem
from storage.records.study_rows import StoredStudy
from storage.stores import Stores
from storage.values import StudyState, WorkKind
from studies.errors import StudyError
from trainer.common.errors import BackboneError, DataError

POLL_INTERVAL = 2.0  # seconds between two looks at an empty queue
REOPEN_INTERVAL = 300.0  # seconds after which a study that could not be opened is tried again

CANNOT_OPEN = (
    *(NoData, NoWeights, AgainstTheRules, LearnedLabels, BackboneError),
    *(DataMismatch, DataError, StudyError, ForeignOptunaStudy),
)
"""Errors for which a worker leaves a study to others: their data, weights or Optuna study may be in order."""

log = logging.getLogger(__name__)


def work(
    stores: Stores,
    open_context: Callable[[StoredStudy], StudyContext],
    signals: StopSignals,
    *,
    home: Home,
    only: StoredStudy | None = None,
    linger: bool = False,
    quota: float = QUOTA,
    cache_quota: float = CACHE_QUOTA,
    on_study: Callable[[int | None], None] = lambda study_id: None,
    device: str | None = None,
) -> None:
    """Take and run work items until no worker has any left or a stop is requested.

    Args:
        open_context: opens a study for training. If it fails (`CANNOT_OPEN`), the study is left to other workers; for
            the study ``only`` the error is raised.
        only: the study to serve; None: all studies.
        linger: wait for further work until a stop is requested.
        quota: GiB for checkpoints, see `search.runtime.disk.QUOTA`.
        cache_quota: GiB for decoded images and features, see `search.runtime.disk.CACHE_QUOTA`.
        on_study: called with the study's id before an item runs, and with None when there is no work.
        device: model of the device (`search.worker.limits.deadline_guard.device_name`), whose training times decide
            what still fits before a deadline; None: those of the fastest device.

    Raises:
        WorkerLeaves: see `search.runtime.failures`.
    """
    clean_up = partial(tidy, stores, home, quota=quota, cache_quota=cache_quota)
    _WorkerLoop(stores, open_context, signals, home, only, clean_up, on_study, device).run(linger)


class _WorkerLoop:
    """The loop of `work`, with the state that it keeps between items."""

    def __init__(
        self,
        stores: Stores,
        open_context: Callable[[StoredStudy], StudyContext],
        signals: StopSignals,
        home: Home,
        only: StoredStudy | None,
        clean_up: Callable[[], object],
        on_study: Callable[[int | None], None],
        device: str | None,
    ) -> None:
        self._stores, self._open_context, self._signals, self._home = stores, open_context, signals, home
        self._only, self._clean_up, self._on_study = only, clean_up, on_study
        self._identity = home.identity()
        self._deadline_guard = DeadlineGuard(stores, device)
        self._failed_at: dict[int, float] = {}  # by study id, when opening the study failed last
        self._searched_at: dict[int, float] = {}  # by study id, when orphaned trials were looked for last
        self._swept_at = self._tidied_at = self._rests_until = -float("inf")
        self._logged_study: int | None = None  # id of the study that the log named last

    def run(self, linger: bool) -> None:
        while not self._signals.requested:
            self._run_maintenance()
            if self._run_next_item():
                continue
            self._on_study(None)
            # Another worker may die and leave an item to adopt, and its results may lead to further items.
            if not linger and not self._others_work():
                return
            time.sleep(POLL_INTERVAL)

    def _run_next_item(self) -> bool:
        """Run one item, of the first study in order that can be opened and has one. Returns whether there was one."""
        if time.monotonic() < self._rests_until:
            self._on_study(None)
            time.sleep(POLL_INTERVAL)
            return True
        for study in self._studies_with_work():
            context = self._try_to_open(study)
            if context is None:
                continue
            orphans = self._orphans(study)
            item = self._take(context)
            if item is not None:
                self._announce(study)
                if self._run(context, item, orphans):
                    return True
                # If a probe seems to wait nevertheless, it is orphaned: a later search item takes it.
                self._searched_at.pop(study.id, None)
                time.sleep(POLL_INTERVAL)
                return True
        return False

    def _run(self, context: StudyContext, item: WorkItem, orphans: set[int]) -> bool:
        """`run_item`, after which this process keeps no memory of the GPU and rests if others hold it."""
        study = read_study(self._stores, context.study.name)
        try:
            return run_item(
                context,
                item,
                self._stop_test(item),
                orphans,
                overdue=lambda: self._signals.overdue,
                limit=self._deadline_guard.limit(
                    study, item, partial(context.artifacts.has_checkpoint, study.name, item.id)
                ),
                is_time_for_trial=partial(self._deadline_guard.is_time_for_trial, study),
            )
        except GpuBusy:
            self._rests_until = time.monotonic() + REST
            return True
        finally:
            context.release_memory()

    def _announce(self, study: StoredStudy) -> None:
        if study.id != self._logged_study:
            log.info("working on study %s", study.name)
            self._logged_study = study.id
        self._on_study(study.id)

    def _studies_with_work(self) -> list[StoredStudy]:
        ids = self._stores.queue.studies_with_work(home=self._identity)
        if self._only is not None:
            return [self._only] if self._only.id in ids else []
        if not ids:
            return []
        studies = {study.id: study for study in self._stores.studies.all()}
        return [studies[study_id] for study_id in ids if study_id in studies]

    def _try_to_open(self, study: StoredStudy) -> StudyContext | None:
        """The context of a study; None if it cannot be opened, now or less than `REOPEN_INTERVAL` ago."""
        if time.monotonic() - self._failed_at.get(study.id, -REOPEN_INTERVAL) < REOPEN_INTERVAL:
            return None
        try:
            return self._open_context(study)
        except CANNOT_OPEN as problem:
            if self._only is not None:
                raise
            log.warning("study %s is left to other workers: %s", study.name, problem)
            self._failed_at[study.id] = time.monotonic()
            return None

    def _orphans(self, study: StoredStudy) -> set[int]:
        """Orphaned trials of the study; empty if they were looked for less than `SWEEP_INTERVAL` ago.

        Called before an item is taken: an item of this worker without a trial number would hide them.
        """
        now = time.monotonic()
        if now - self._searched_at.get(study.id, -SWEEP_INTERVAL) < SWEEP_INTERVAL:
            return set()
        self._searched_at[study.id] = now
        return orphaned_trials(self._stores, study)

    def _take(self, context: StudyContext) -> WorkItem | None:
        queue, study_id = self._stores.queue, context.study.id
        study = read_study(self._stores, context.study.name)  # read again, since its deadline may have changed
        kinds = self._deadline_guard.kinds_to_begin(study)
        skip = self._deadline_guard.given_up(study)

        def take(at_least: int) -> WorkItem | None:
            rule, homes = context.promotion, {self._identity}
            promote = None if rule is None else partial(rule.choose, homes=homes, skip=skip, at_least=at_least)
            return queue.take(
                study_id, context.worker, context.lease, kinds, home=self._identity, skip=skip, promote=promote
            )

        # A new trial that cannot end in time gains less than the best of the paused.
        item = take(0 if self._deadline_guard.is_time_for_whole_trial(study) else ALL)
        if item is None and is_last_phase(self._stores, study_id):
            item = take(AT_END)
            if item is None:
                end_when_over(context)
        return item

    def _stop_test(self, item: WorkItem) -> Callable[[], bool]:
        """Test whether to stop after the epoch: a stop is requested, or the study is paused or its search stopped."""

        def stop() -> bool:
            if self._signals.requested:
                return True
            state = self._stores.studies.state(item.study_id)
            return state is StudyState.PAUSED or (state is StudyState.STOPPED and item.kind is WorkKind.SEARCH)

        return stop

    def _run_maintenance(self) -> None:
        """Recover the work of dead workers and remove unneeded files, each at its interval."""
        now = time.monotonic()
        if now - self._swept_at >= SWEEP_INTERVAL:
            sweep_all(self._stores)
            self._swept_at = now
        if now - self._tidied_at >= TIDY_INTERVAL:
            self._clean_up()
            self._tidied_at = now

    def _others_work(self) -> bool:
        """Whether a worker holds an item of the served studies."""
        studies = [self._only] if self._only is not None else self._stores.studies.all()
        return any(self._stores.queue.held(study.id) for study in studies)
