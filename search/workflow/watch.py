"""Watching a study while workers work on it."""

from __future__ import annotations

import time
from collections.abc import Callable

from optuna.trial import TrialState
from rich.console import Console

from search.engines.interface import Fleet
from search.report.progress import ProgressView
from search.runtime.console import say
from search.runtime.signals import StopSignals
from search.study_state.finalists import TRIAL_NOTE
from search.study_state.snapshot import Standing, read_standing
from search.tuning.successive_halving import EPOCHS_ATTRIBUTE
from search.tuning.warm_starts import origins_of
from search.worker.dead_workers import SWEEP_INTERVAL, sweep_all
from storage.database.outages import patiently
from storage.queue.items import HeldItem
from storage.stores import Ledger
from storage.values import StudyState, WorkKind
from studies.spec import StudySpec

REFRESH_INTERVAL = 1.0  # seconds
MARGIN = 30.0  # seconds beyond their grace that workers have to leave after a stop was requested


class WorkersLost(RuntimeError):  # noqa: N818 - named for the fact
    """Every worker ended with an error, and work is left."""


class Interrupted(RuntimeError):  # noqa: N818 - named for the fact
    """A person asked to stop. Nothing is lost."""


def search_is_over(standing: Standing) -> bool:
    """Whether no further trial will begin and none is under way. A paused search is not over: it waits."""
    study = standing.study
    if standing.running or standing.paused:
        return False
    if study.state is StudyState.STOPPED or not standing.in_time:
        return True
    return not standing.waiting and study.budget is not None and standing.counted >= study.budget


def refits_are_over(standing: Standing) -> bool:
    """Whether every refit that was asked for has ended."""
    return standing.refits_open == 0


def watch(
    ledger: Ledger,
    name: str,
    over: Callable[[Standing], bool],
    *,
    fleet: Fleet | None,
    signals: StopSignals,
    console: Console,
    shown: int = 0,
    on_standing: Callable[[Standing], None] | None = None,
) -> None:
    """Show progress until ``over``, and keep the study in order meanwhile. Without a fleet the workers are elsewhere,
    and are waited for.

    Args:
        shown: how many ended trials the person has seen already.
        on_standing: called with every look at the study.

    Raises:
        Interrupted: a stop was requested; the fleet has handed its work back.
        WorkersLost: the fleet is dead and work is left; says what its logs end with.
        EngineError: the fleet can never work.
    """
    stored = patiently(lambda: ledger.studies.get(name))
    default = StudySpec.from_dict(stored.spec).default_recipe()
    standing: Standing | None = None
    swept = -SWEEP_INTERVAL
    with ProgressView(
        console, default, shown=shown, origins=lambda: patiently(lambda: origins_of(ledger, name))
    ) as view:
        while True:
            alive = fleet is None or fleet.tend()
            if fleet is not None:
                bury(ledger, fleet)
            if time.monotonic() - swept >= SWEEP_INTERVAL:
                sweep_all(ledger)
                swept = time.monotonic()
            standing = patiently(lambda: read_standing(ledger, name, standing))  # noqa: B023 - called at once
            view.show(standing, _now(ledger, standing, fleet))
            if on_standing is not None:
                on_standing(standing)
            if over(standing):
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


def bury(ledger: Ledger, fleet: Fleet) -> None:
    """Hand on at once what the fleet's dead workers held, instead of waiting for their leases to run out."""
    for dead in fleet.buried():
        patiently(lambda: ledger.recovery.expire_worker(dead))  # noqa: B023 - called at once
        patiently(lambda: ledger.workers.bury(dead))  # noqa: B023


def _now(ledger: Ledger, standing: Standing, fleet: Fleet | None) -> str:
    """What happens at the moment, and what keeps it from happening."""
    if standing.paused:
        return "paused; `search resume` goes on" + (" (trials are being handed back)" if standing.running else "")
    doing = what_runs(ledger, standing)
    trouble = fleet.waits_for() if fleet is not None else ""
    if fleet is None and not standing.workers:
        trouble = "no worker lives; `search worker` joins one"
    return " · ".join(part for part in (doing, trouble) if part)


def confirmation_at(item: HeldItem) -> str:
    """A confirmation for people: which trial's recipe, on which fresh split."""
    return f"trial {item.note.get(TRIAL_NOTE, '?')} on split {item.split}"


def what_runs(ledger: Ledger, standing: Standing) -> str:
    """The trials under way with their epochs, or the confirmations, or the refits."""
    if standing.refits_open:
        total = standing.refits_done + standing.refits_open
        return f"refit {standing.refits_done + 1} of {total}"
    if standing.confirms_open:
        total = standing.confirms_done + standing.confirms_open
        held = patiently(lambda: ledger.queue.held(standing.study.id))
        at = [confirmation_at(item) for item in held if item.kind is WorkKind.CONFIRM]
        return f"confirming {standing.confirms_done + 1} of {total}" + (": " + ", ".join(at) if at else "")
    if not standing.running:
        return "workers are starting" if not standing.workers else ""
    trials = patiently(
        lambda: ledger.optuna_study(standing.study.name).get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    )
    return ", ".join(
        f"trial {t.number} epoch {(t.last_step or 0) + 1}/{t.user_attrs.get(EPOCHS_ATTRIBUTE, '?')}" for t in trials
    )
