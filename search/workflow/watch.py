"""Watching a study while workers work on it."""

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
from search.report.progress import ProgressView
from search.report.summary import print_interrupted
from search.runtime.console import say
from search.runtime.errors import EXIT_INTERRUPTED
from search.runtime.home import Home
from search.runtime.signals import StopSignals
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.stages import refits_are_over, running_work
from search.study_state.study import Study, read_study
from search.tuning.warm_starts import origins_of
from search.worker.dead_workers import SWEEP_INTERVAL, sweep_all
from storage.stores import Stores

REFRESH_INTERVAL = 1.0  # seconds
MARGIN = 30.0  # seconds beyond their grace that workers have to leave after a stop was requested


class WorkersLost(RuntimeError):  # noqa: N818 - named for the fact
    """Every worker ended with an error, and work is left."""


class Interrupted(RuntimeError):  # noqa: N818 - named for the fact
    """A person asked to stop. Nothing is lost."""


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
    """Show progress until ``over``, and keep the study in order meanwhile. Without a fleet the workers are elsewhere,
    and are waited for.

    Args:
        shown: how many ended trials the person has seen already.
        on_snapshot: called with every look at the study.

    Raises:
        Interrupted: a stop was requested; the fleet has handed its work back.
        WorkersLost: the fleet is dead and work is left; says what its logs end with.
        EngineError: the fleet can never work.
    """
    default = read_study(stores, name).spec.default_recipe()
    snapshot: StudySnapshot | None = None
    swept = -SWEEP_INTERVAL
    with ProgressView(console, default, shown=shown, origins=lambda: origins_of(stores, name)) as view:
        while True:
            alive = fleet is None or fleet.poll()
            if fleet is not None:
                expire_dead_workers(stores, fleet)
            if time.monotonic() - swept >= SWEEP_INTERVAL:
                sweep_all(stores)
                swept = time.monotonic()
            snapshot = read_snapshot(stores, name, snapshot)
            view.show(snapshot, _now(stores, snapshot, fleet))
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
        say(
            console,
            f"Stopping: the epoch under way is finished and kept if it ends within {signals.grace:g} s. "
            "Ctrl-C again stops at once.",
        )
        fleet.ask_to_stop()
        fleet.wait(signals.grace + MARGIN)
    raise Interrupted(f"study {name} is interrupted; nothing is lost")


def expire_dead_workers(stores: Stores, fleet: Fleet) -> None:
    """Hand on at once what the fleet's dead workers held, instead of waiting for their leases to run out."""
    for dead in fleet.dead_workers():
        stores.recovery.expire_worker(dead)
        stores.workers.remove(dead)


def _now(stores: Stores, snapshot: StudySnapshot, fleet: Fleet | None) -> str:
    """What happens at the moment, and what keeps it from happening."""
    if snapshot.paused:
        return "paused; `search resume` goes on" + (" (trials are being handed back)" if snapshot.running else "")
    doing = running_work(stores, snapshot)
    trouble = fleet.waits_for() if fleet is not None else ""
    if fleet is None and not snapshot.workers:
        trouble = "no worker lives; `search worker` joins one"
    return " · ".join(part for part in (doing, trouble) if part)


def run_refits(
    stores: Stores, study: Study, data: Path, workers: Workers, home: Home, console: Console, *, shown: int
) -> None:
    """Have the refits done: by the workers that live and share this home, and once none does, by local ones."""
    with ExitStack() as stack:
        until = watch_with_local_workers(
            stack, stores, study, data, workers, home, console, shown=shown, nobody=no_worker_here(home)
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
    nobody: Callable[[StudySnapshot], bool],
) -> Callable[[Callable[[StudySnapshot], bool]], None]:
    """A `watch` that leaves the work to whoever lives, once ``nobody`` does to local workers, which ``stack`` ends."""
    fleet: Fleet | None = None

    def until(over: Callable[[StudySnapshot], bool]) -> None:
        nonlocal fleet
        if fleet is None:
            signals = stop_signals(None, workers)
            either = partial(either_holds, over, nobody)
            watch(stores, study.name, either, fleet=None, signals=signals, console=console, shown=shown)
            if over(read_snapshot(stores, study.name)):
                return
            here = replace(workers, engine="local", workers=workers.workers or None)
            fleet = make_fleet(plan_fleet(here), stores, study, data, here, home)
            assert fleet is not None, "there is at least one worker"
            stack.enter_context(fleet)
        signals = stop_signals(fleet, workers)
        watch(stores, study.name, over, fleet=fleet, signals=signals, console=console, shown=shown)

    return until


def either_holds(
    first: Callable[[StudySnapshot], bool], second: Callable[[StudySnapshot], bool], snapshot: StudySnapshot
) -> bool:
    return first(snapshot) or second(snapshot)


def no_worker_lives(snapshot: StudySnapshot) -> bool:
    """Whether no worker lives, while the study is not paused."""
    return not snapshot.workers and not snapshot.paused


def no_worker_here(home: Home) -> Callable[[StudySnapshot], bool]:
    """Whether no worker lives that keeps weights in this home, while the study is not paused."""
    identity = home.identity()
    return lambda snapshot: identity not in snapshot.homes and not snapshot.paused


def make_fleet(
    planned: FleetPlan, stores: Stores, study: Study, data: Path, workers: Workers, home: Home
) -> Fleet | None:
    """The workers that were asked for; None: others do the work."""
    if planned.make is None:
        return None
    command = WorkerCommand(
        study=study.name,
        storage_url=stores.database.url.render_as_string(hide_password=False),
        data=data,
        home=workers.home,
        weights=workers.weights,
        options=workers.options,
    )
    return planned.make(command, home.logs(study.name))


def stop_signals(fleet: Fleet | None, workers: Workers) -> StopSignals:
    return StopSignals(before_exit=None if fleet is None else fleet.kill, grace=workers.grace).install()
