"""``search pause``, ``resume``, ``stop`` and ``retry``."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console

from search.runtime.console import open_console, say
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.stages import confirmations_are_over, refits_are_over, search_is_over
from search.study_state.study import Study, read_study
from search.study_state.training_costs import hours_to_continue
from search.tuning.retry import retry_failed
from search.worker.pausing import end_all
from storage.records.study_rows import StoredStudy
from storage.records.workers import SEEN_WITHIN, Role
from storage.stores import Stores, open_stores
from storage.values import StudyState


def pause(name: str | None, url: str) -> None:
    """Start no more trials, and make running ones end after their epoch with a checkpoint.

    A study that is done stays as it is.
    """
    stores, console = open_stores(url), open_console()
    study = stores.study(name)
    snapshot = read_snapshot(stores, study.name)
    if _is_done(stores, snapshot):
        say(console, f"Nothing of study {study.name} is left to pause. {_remedy(snapshot)}")
        return
    stores.studies.set_state(study.id, StudyState.PAUSED, "paused by hand")
    held = len(stores.queue.held(study.id))
    say(
        console,
        f"Study {study.name} is paused"
        + (f"; {held} training(s) stop after the current epoch, with a checkpoint" if held else "")
        + f". `search resume --study {study.name}` continues the study.",
    )


def resume(name: str | None, url: str) -> None:
    """Continue a paused or stopped study. Earlier failures no longer count toward stopping it."""
    stores, console = open_stores(url), open_console()
    study = stores.study(name)
    stores.studies.set_state(study.id, StudyState.RUNNING)
    snapshot = read_snapshot(stores, study.name)
    if _is_done(stores, snapshot):
        say(console, f"Nothing of study {study.name} is left to continue. {_remedy(snapshot)}")
        return
    say(console, f"Study {study.name} continues.")
    print_available_workers(stores, console, study)


def _is_done(stores: Stores, snapshot: StudySnapshot) -> bool:
    """Whether no work of a study is left for workers, and no ``search start`` waits that would queue some."""
    waiting = any(process.study_id == snapshot.study.id for process in stores.workers.alive(SEEN_WITHIN))
    is_over = search_is_over(snapshot) and confirmations_are_over(snapshot) and refits_are_over(snapshot)
    return is_over and not waiting


def _remedy(snapshot: StudySnapshot) -> str:
    """Why a study is done, and what continues it."""
    study = snapshot.study
    if study.second is not None or study.is_pretraining:
        return f"Its training is over: `{study.continuing}` shows the result."
    if study.state is StudyState.STOPPED:
        return f"Its search is stopped: `search resume --study {study.name}` continues it."
    if not snapshot.in_time_for_trial:
        hours = hours_to_continue(snapshot.records)
        return f"No time is left before its deadline: `{study.continuing} --hours +{hours}` continues it."
    more = (study.budget or 0) + 10
    if study.budget == 0:
        return f"All backbones are probed: `{study.continuing} --trials {more}` fine-tunes the best of them."
    return f"Its {study.budget} trials have ended: `{study.continuing} --trials {more}` continues it with ten more."


def stop(name: str | None, url: str) -> bool:
    """End the search: running trials end after their epoch, and no more start.

    Returns:
        Whether no export is needed: a live ``search start`` will export the study, or it is over and exported.
    """
    stores, console = open_stores(url), open_console()
    study = stores.study(name)
    exports = stores.exports.all(study.id)
    if exports and search_is_over(read_snapshot(stores, study.name)):
        say(console, f"The search of study {study.name} is over already. Its export is in {exports[-1].folder}.")
        return True
    stores.studies.set_state(study.id, StudyState.STOPPED, "stopped by hand")
    end_all(stores, read_study(stores, study.name), None)
    waiting = [
        process
        for process in stores.workers.alive(SEEN_WITHIN)
        if process.role is Role.SUPERVISOR and process.study_id == study.id
    ]
    say(console, f"The search of study {study.name} ends after the current epochs.")
    for process in waiting:
        say(console, f"`search start` on {process.host} (process {process.pid}) exports it.")
    return bool(waiting)


def retry(name: str | None, url: str, numbers: Collection[int] | None) -> None:
    """Queue failed trainings again.

    Args:
        numbers: trials to run again; None: all failed trials and refits.

    Raises:
        NotFailed: a number does not belong to a failed trial.
    """
    stores, console = open_stores(url), open_console()
    study = read_study(stores, name)
    again = retry_failed(stores, study, numbers)
    if study.state is StudyState.STOPPED and again.total:
        stores.studies.set_state(study.id, StudyState.RUNNING)
    say(console, again.sentence(study.name))
    if again.total:
        print_available_workers(stores, console, study)
    if again.trials and not stores.queue.may_begin(study.id):
        say(
            console,
            f"The budget of {study.budget} trials is used up. A larger one runs them: "
            f"`search start --study {study.name} --trials {(study.budget or 0) + again.trials}`.",
        )


def print_available_workers(stores: Stores, console: Console, study: Study | StoredStudy) -> None:
    """Print the number of live workers for a study; without any, the commands that start one."""
    alive = [process for process in stores.workers.alive(SEEN_WITHIN) if process.role is Role.WORKER]
    count = sum(process.study_id in (study.id, None) for process in alive)
    if count:
        say(console, f"{count} worker(s) are available.")
    else:
        say(console, f"No worker is running. `search worker --study {study.name}` starts one.")
