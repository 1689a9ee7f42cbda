"""Waits for a condition on a study while workers run: shows progress, recovers the work of dead workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from search.engines.interface import Fleet, WorkerCommand
from search.engines.plan import FleetPlan, Workers, plan_fleet
from search.report.live.activity import ActivityReader
from search.report.live.progress import ProgressView
from search.report.live.schedule import seconds_to_end
from search.report.summary import print_interrupted
from search.runtime.console import loud, say
from search.runtime.errors import EXIT_INTERRUPTED, SearchError
from search.runtime.gpus.listing import DeviceError
from search.runtime.heartbeat import Heartbeat
from search.runtime.home import Home
from search.runtime.process_names import process_name
from search.runtime.signals import StopSignals
from search.study_setup.weights_folder import weights_folder
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.stages import refits_are_over, running_work, search_is_over
from search.study_state.study import Study, read_study
from search.tuning.warm_starts import origins_of
from search.worker.dead_workers import SWEEP_INTERVAL, expire_worker, sweep_all
from storage.database.urls import url_text
from storage.records.workers import Role
from storage.stores import Stores

REFRESH_INTERVAL = 1.0  # seconds
MARGIN = 30.0  # seconds that workers may take beyond their grace period after a stop was requested


class WorkersLost(SearchError):
    """All workers ended with an error before the work was done."""


class Interrupted(SearchError):
    """Ctrl-C or a signal requested a stop. Nothing is lost."""


def watch(
    stores: Stores,
    name: str,
    over: Callable[[StudySnapshot], bool],
    *,
    fleet: Fleet | None,
    signals: StopSignals,
    console: Console,
    shown: int = 0,
    on_snapshot: Callable[[StudySnapshot], None] | None = None,
) -> None:
    """Show progress until ``over`` holds, and return the work of dead workers to the queue meanwhile.

    Args:
        fleet: the workers to supervise; None: workers elsewhere do the work.
        shown: number of ended trials that were printed before.
        on_snapshot: called with each snapshot of the study, about once a second.

    Raises:
        Interrupted: a stop was requested; the fleet has returned its work to the queue.
        WorkersLost: the fleet is dead and work is left; quotes the end of its logs.
        EngineError: the fleet can never work.
    """
    default = read_study(stores, name).spec.default_recipe()
    snapshot: StudySnapshot | None = None
    swept = -SWEEP_INTERVAL
    activity = ActivityReader(stores, seconds_to_end=partial(seconds_to_end, stores))
    with ProgressView(
        console, default, shown=shown, origins=lambda: origins_of(stores, name), activity=activity.read
    ) as view:
        while True:
            alive = fleet is None or fleet.poll()
            if fleet is not None:
                expire_dead_workers(stores, fleet)
            if time.monotonic() - swept >= SWEEP_INTERVAL:
                sweep_all(stores)
                swept = time.monotonic()
            snapshot = read_snapshot(stores, name, snapshot)
            view.show(snapshot, *_now(stores, snapshot, fleet))
            if on_snapshot is not None:
                on_snapshot(snapshot)
            if over(snapshot):
                return
            if signals.requested:
                break
            if not alive and fleet is not None:
                raise WorkersLost(fleet.crash_report() or "the workers left before the work was done")
            time.sleep(REFRESH_INTERVAL)
    if fleet is not None:
        line = f"Stopping: the current epoch is kept if it ends within {signals.grace:g} s. Ctrl-C again stops at once."
        with loud(console):
            say(console, line)
        fleet.ask_to_stop()
        fleet.wait(signals.grace + MARGIN)
        view.show_ended(read_snapshot(stores, name, snapshot))  # a trial may have ended with its last epoch
    raise Interrupted(f"study {name} is interrupted; nothing is lost")


def expire_dead_workers(stores: Stores, fleet: Fleet) -> None:
    """Return the work of the fleet's dead workers to the queue at once, instead of waiting for their leases to end."""
    for dead in fleet.dead_workers():
        expire_worker(stores, dead)


def _now(stores: Stores, snapshot: StudySnapshot, fleet: Fleet | None) -> tuple[str, str]:
    """What runs at the moment, and what keeps it from running, as text."""
    if snapshot.paused:
        stopping = " (trials stop after their epoch)" if snapshot.running else ""
        return "", f"paused; `search resume --study {snapshot.study.name}` continues{stopping}"
    doing = running_work(stores, snapshot)
    trouble = fleet.waits_for() if fleet is not None else ""
    if fleet is None and not snapshot.workers:
        trouble = f"no worker is running; `search worker --study {snapshot.study.name}` starts one"
    return doing, trouble


def supervising(stores: Stores, study: Study, home: Home) -> Heartbeat:
    """The heartbeat of a command that supervises the workers of a study."""
    return Heartbeat(
        stores.workers,
        process_name(),
        device="",
        home=home.identity(),
        role=Role.SUPERVISOR,
        study_id=study.id,
    )


def run_search(
    stores: Stores, study: Study, planned: FleetPlan, data: Path, workers: Workers, home: Home, console: Console
) -> None:
    """Start the planned workers, and show their progress until the trials of the study are over.

    Raises:
        NoWeights: as `make_fleet`.
        WorkersLost: as `watch`.
        SystemExit: a stop was requested; the same command continues.
    """
    with ExitStack() as stack:
        stack.enter_context(supervising(stores, study, home))
        fleet = make_fleet(planned, stores, study, data, workers, home)
        if fleet is not None:
            stack.enter_context(fleet)
        signals = stop_signals(fleet, workers)
        try:
            watch(stores, study.name, search_is_over, fleet=fleet, signals=signals, console=console)
        except Interrupted:
            print_interrupted(console, study.name)
            raise SystemExit(EXIT_INTERRUPTED) from None


def run_refits(
    stores: Stores, study: Study, data: Path, workers: Workers, home: Home, console: Console, *, shown: int
) -> None:
    """Wait for the refits: live workers that share this home do them; once there is none, local workers start."""
    with ExitStack() as stack:
        until = watch_with_local_workers(
            stack, stores, study, data, workers, home, console, shown=shown, start_local_workers=no_worker_here(home)
        )
        try:
            until(refits_are_over)
        except Interrupted:
            print_interrupted(console, study.name)
            raise SystemExit(EXIT_INTERRUPTED) from None


def watch_with_local_workers(
    stack: ExitStack,
    stores: Stores,
    study: Study,
    data: Path,
    workers: Workers,
    home: Home,
    console: Console,
    *,
    shown: int,
    start_local_workers: Callable[[StudySnapshot], bool],
) -> Callable[[Callable[[StudySnapshot], bool]], None]:
    """A `watch` that leaves the work to live workers elsewhere, and starts local workers if there are none.

    Args:
        stack: ends the local workers when it closes.
        start_local_workers: whether the workers elsewhere are gone, so that local ones have to start.
    """
    fleet: Fleet | None = None

    def until(over: Callable[[StudySnapshot], bool]) -> None:
        nonlocal fleet
        if fleet is None:
            signals = stop_signals(None, workers)
            either = partial(either_holds, over, start_local_workers)
            watch(stores, study.name, either, fleet=None, signals=signals, console=console, shown=shown)
            if over(read_snapshot(stores, study.name)):
                return
            local = replace(workers, engine="local", workers=workers.workers or None)
            fleet = make_fleet(_planned_here(local, study.name), stores, study, data, local, home)
            assert fleet is not None, "there is at least one worker"
            stack.enter_context(fleet)
        signals = stop_signals(fleet, workers)
        watch(stores, study.name, over, fleet=fleet, signals=signals, console=console, shown=shown)

    return until


def _planned_here(local: Workers, study: str) -> FleetPlan:
    """Plan local workers long after the command began.

    Raises:
        DeviceError: as `plan_fleet`; names the command that goes on from here with the option for GPUs.
    """
    try:
        return plan_fleet(local)
    except DeviceError as problem:
        raise DeviceError(
            f"the work that is left needs workers on this machine: {problem}. Nothing is lost; "
            f"`search export-best --study {study} --gpus none`, for instance, goes on from here"
        ) from problem


def either_holds(
    first: Callable[[StudySnapshot], bool], second: Callable[[StudySnapshot], bool], snapshot: StudySnapshot
) -> bool:
    """Whether one of two conditions holds for a snapshot."""
    return first(snapshot) or second(snapshot)


def no_worker_lives(snapshot: StudySnapshot) -> bool:
    """Whether the study has no live worker and is not paused."""
    return not snapshot.workers and not snapshot.paused


def no_worker_here(home: Home) -> Callable[[StudySnapshot], bool]:
    """A condition: no live worker keeps its weights in this home, and the study is not paused."""
    identity = home.identity()
    return lambda snapshot: identity not in snapshot.homes and not snapshot.paused


def make_fleet(
    planned: FleetPlan, stores: Stores, study: Study, data: Path, workers: Workers, home: Home
) -> Fleet | None:
    """The planned workers; None if workers elsewhere do the work.

    Raises:
        NoWeights: local workers would lack the study's weights.
    """
    if planned.make is None:
        return None
    if workers.engine == "local":
        weights_folder(study.stored, study.spec, workers.weights)  # raises now, instead of in every worker
    command = WorkerCommand(
        study=study.name,
        storage_url=url_text(stores.database.url),
        data=data,
        home=workers.home,
        weights=workers.weights,
        tracking=workers.tracking,
        options=workers.options,
    )
    return planned.make(command, home.logs(study.name))


def stop_signals(fleet: Fleet | None, workers: Workers) -> StopSignals:
    """Install signal handlers: the first signal requests a stop, the second kills the fleet and ends the process."""
    return StopSignals(before_exit=None if fleet is None else fleet.kill, grace=workers.grace).install()
