"""Watching a study while workers work on it."""

from __future__ import annotations

import time
from collections.abc import Callable

from optuna.trial import TrialState
from rich.console import Console

from search.engines.local import LocalFleet
from search.ledger import Ledger
from search.patience import patiently
from search.progress import ProgressView
from search.pruning import EPOCHS_ATTRIBUTE
from search.standing import Standing, read_standing
from search.stopping import StopSignals
from storage.values import StudyState
from studies.spec import StudySpec

REFRESH_INTERVAL = 1.0  # seconds
GRACE = 600.0  # seconds that workers have to finish their epoch after a stop was requested


class WorkersLost(RuntimeError):  # noqa: N818 - named for the fact
    """Every worker ended with an error, and work is left."""


class Interrupted(RuntimeError):  # noqa: N818 - named for the fact
    """A person asked to stop. Nothing is lost."""


def search_is_over(standing: Standing) -> bool:
    """Whether no further trial will begin and none is under way."""
    study = standing.study
    if standing.running:
        return False
    if study.state is not StudyState.RUNNING or not standing.in_time:
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
    fleet: LocalFleet | None,
    signals: StopSignals,
    console: Console,
    shown: int = 0,
) -> None:
    """Show progress until ``over``. Without a fleet the workers are elsewhere, and are waited for.

    Args:
        shown: how many ended trials the person has seen already.

    Raises:
        Interrupted: a stop was requested; the fleet has handed its work back.
        WorkersLost: the fleet is dead and work is left; says what its logs end with.
    """
    default = StudySpec.from_dict(ledger.studies.get(name).spec).default_recipe()
    with ProgressView(console, default, shown=shown) as view:
        while True:
            alive = fleet is None or fleet.tend()
            standing = patiently(lambda: read_standing(ledger, name))
            view.show(standing, what_runs(ledger, standing))
            if over(standing):
                return
            if signals.requested:
                break
            if not alive and fleet is not None:
                raise WorkersLost(fleet.crash_report() or "the workers left before the work was done")
            time.sleep(REFRESH_INTERVAL)
    if fleet is not None:
        console.print("Stopping: the epoch under way is finished and kept. Ctrl-C again stops at once.")
        fleet.ask_to_stop()
        fleet.wait(GRACE)
    raise Interrupted(f"study {name} is interrupted; nothing is lost")


def what_runs(ledger: Ledger, standing: Standing) -> str:
    """The trials under way with their epochs, or the refits."""
    if standing.refits_open:
        total = standing.refits_done + standing.refits_open
        return f"refit {standing.refits_done + 1} of {total}"
    if not standing.running:
        return "workers are starting" if not standing.workers else ""
    study = ledger.optuna_study(standing.study.name)
    trials = patiently(lambda: study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
    return ", ".join(
        f"trial {t.number} epoch {(t.last_step or 0) + 1}/{t.user_attrs.get(EPOCHS_ATTRIBUTE, '?')}" for t in trials
    )
