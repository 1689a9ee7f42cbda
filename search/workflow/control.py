"""The verbs that change how a study goes on: pause, resume, stop, retry."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console

from search.runtime.console import open_console, say
from search.runtime.heartbeat import SEEN_WITHIN
from search.study_state.study import read_study
from search.tuning.retry import retry_failed
from storage.records.workers import Role
from storage.stores import Stores, open_stores
from storage.values import StudyState


def pause(name: str | None, url: str) -> None:
    """Hand nothing out any more, and have the trials under way handed back after their epoch."""
    stores, console = open_stores(url), open_console()
    study = stores.study(name)
    stores.studies.set_state(study.id, StudyState.PAUSED, "paused by hand")
    held = len(stores.queue.held(study.id))
    say(
        console,
        f"Study {study.name} is paused"
        + (f"; {held} training(s) are handed back after their epoch, with a checkpoint" if held else "")
        + f". `search resume --study {study.name}` goes on.",
    )


def resume(name: str | None, url: str) -> None:
    """Go on with a paused or stopped study; failures from before no longer count."""
    stores, console = open_stores(url), open_console()
    study = stores.study(name)
    stores.studies.set_state(study.id, StudyState.RUNNING)
    say(console, f"Study {study.name} goes on.")
    say_who_works(stores, console, study.id)


def stop(name: str | None, url: str) -> bool:
    """End the search: trials under way are handed back after their epoch and none begins.

    Returns:
        Whether a `start` somewhere waits for that, and exports.
    """
    stores, console = open_stores(url), open_console()
    study = stores.study(name)
    stores.studies.set_state(study.id, StudyState.STOPPED, "stopped by hand")
    waiting = [
        process
        for process in stores.workers.alive(SEEN_WITHIN)
        if process.role is Role.SUPERVISOR and process.study_id == study.id
    ]
    say(console, f"The search of study {study.name} ends after the epochs under way.")
    for process in waiting:
        say(console, f"`search start` on {process.host} (process {process.pid}) exports it.")
    return bool(waiting)


def retry(name: str | None, url: str, numbers: Collection[int] | None) -> None:
    """Queue failed trainings once more.

    Args:
        numbers: of the trials; None: all that failed, and the refits.

    Raises:
        NotFailed: a number is not that of a failed trial.
    """
    stores, console = open_stores(url), open_console()
    study = read_study(stores, name)
    again = retry_failed(stores, study, numbers)
    if study.state is StudyState.STOPPED and again.total:
        stores.studies.set_state(study.id, StudyState.RUNNING)
    say(console, again.sentence(study.name))
    if again.total:
        say_who_works(stores, console, study.id)
    if again.trials and not stores.queue.may_begin(study.id):
        say(
            console,
            f"The budget of {study.budget} trials is used up, so they wait for a larger one: "
            f"`search start --study {study.name} --trials {(study.budget or 0) + again.trials}`.",
        )


def say_who_works(stores: Stores, console: Console, study_id: int) -> None:
    """Whether anybody lives to do it, and what to type if not."""
    alive = [process for process in stores.workers.alive(SEEN_WITHIN) if process.role is Role.WORKER]
    count = sum(process.study_id in (study_id, None) for process in alive)
    if count:
        say(console, f"{count} worker(s) at hand.")
    else:
        say(console, "No worker lives: `search start` with the same study, or `search worker`.")
