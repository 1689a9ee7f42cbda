"""What is known of a running study's time: the plan until its deadline or its expected end, and faster workers."""

from __future__ import annotations

import math

from rich.console import Console

from search.report.live.status_line import duration
from search.runtime.commands import completed
from search.runtime.console import loud, say
from search.statistics.member_names import trials_named
from search.study_setup.deadline import clock
from search.study_state.gpu_sharing import sharing_lines
from search.study_state.snapshot import StudySnapshot
from search.study_state.stages import search_is_over
from search.study_state.time_budget import Costs, Outline, outline
from search.study_state.time_left import expected_end, given_up_trials, read_costs
from search.study_state.training_costs import hours_to_continue, wall_seconds
from search.tuning.probing.plan import PROBE
from search.tuning.warm_starts import origins_of
from storage.stores import Stores
from storage.values import SHORTENED_NOTE, StudyState
from trainer.inference.printable import excerpt

SHORT = 120.0  # seconds; the expected end of a study that ends earlier is not printed


class ScheduleView:
    """Prints the plan of a study, or its expected end if it has no deadline: once a training is rehearsed, once one has
    ended, and again after a change of the deadline or of the first trial's length. At the end it says which planned
    trials did not run.
    """

    def __init__(self, stores: Stores, console: Console) -> None:
        self._stores, self._console = stores, console
        self._printed: tuple[float | None, bool, str] | None = None
        """Then: the deadline, whether a training had ended, and how the first one was shortened."""
        self._planned = 0  # trials of the last plan, those that had ended included

    def update(self, snapshot: StudySnapshot) -> None:
        """Print the plan of the snapshot's study, unless it is printed already or not known yet."""
        shorter = _shortened(self._stores, snapshot)
        state = snapshot.study.deadline, snapshot.counted > 0, shorter
        if self._printed == state:
            return
        line = schedule_line(self._stores, snapshot)
        if not line:
            return
        say(self._console, f"{shorter}{line}")
        self._printed = state
        plan = _read_plan(self._stores, snapshot)
        self._planned = snapshot.counted + (_trials_of(plan[1], snapshot) if plan else 0)

    def print_left_out(self, snapshot: StudySnapshot) -> None:
        """Print how many trials were planned and how many ended, if the deadline has ended the search before the rest.

        A quiet console prints it as well.
        """
        study, ran = snapshot.study, snapshot.counted
        planned = self._planned if study.budget is None else study.budget
        if study.deadline is None or study.state is StudyState.STOPPED or study.budget == 0:
            return
        if ran and ran >= planned:
            return
        if not planned:
            counts = "No trial ended"
        else:
            about = "About " if study.budget is None else ""
            trials = "1 trial was" if planned == 1 else f"{planned} trials were"
            counts = f"{about}{trials} planned, and {ran or 'none'} ended"
        given_up = next(
            (f" (trial {n}: {text})" for n, text in given_up_trials(self._stores, study).items() if text), ""
        )
        begun = {record.number for record in snapshot.records}
        origins = origins_of(self._stores, study.name)
        waiting = [n for n, origin in origins.items() if n not in begun and origin.partition(":")[0] != PROBE]
        named = f" ({trials_named(waiting)} of the planned list did not end)" * bool(waiting and ran)
        command = completed(f"search start --study {study.name} --hours +{hours_to_continue(snapshot.records)}")
        line = (
            f"{counts}{named}: the time until the deadline of {clock(study.deadline)} is too short for "
            f"{'more' if ran else 'one'}{excerpt(given_up)}. `{command}` goes on, and continues a trial that was under "
            "way."
        )
        with loud(self._console):
            say(self._console, line)


class GivenUpView:
    """Prints each trial that a worker gives up for the deadline, with the reason: it leaves no other line."""

    def __init__(self, stores: Stores, console: Console) -> None:
        self._stores, self._console = stores, console
        self._printed: set[tuple[int, float]] = set()
        """Number of the trial, and the deadline for which it was given up."""
        self._reasons: set[str] = set()
        self._seen: tuple[float | None, int, int] | None = None

    def update(self, snapshot: StudySnapshot) -> None:
        """Print what was given up since the last snapshot of the study."""
        deadline = snapshot.study.deadline
        seen = deadline, snapshot.running, snapshot.waiting
        if deadline is None or not snapshot.waiting or seen == self._seen:
            return
        self._seen = seen  # the queue is read only if a trial was given back or taken since
        for number, why in given_up_trials(self._stores, snapshot.study).items():
            if (number, deadline) not in self._printed:
                self._printed.add((number, deadline))
                reason = "" if not why else ", as above" if why in self._reasons else f": {excerpt(why)}"
                self._reasons.add(why)
                say(self._console, f"trial {number} was given up for the deadline{reason}")


class SharingView:
    """Prints once whether another worker per GPU would pay: as soon as a trial has measured how busy it kept one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_printed = False

    def update(self, snapshot: StudySnapshot) -> None:
        """Print the advice for the snapshot's study, unless it is printed already or nothing is measured yet."""
        if self._is_printed:
            return
        for line in sharing_lines(snapshot.study.name, snapshot.records):
            say(self._console, f"{line}.")
            self._is_printed = True


def schedule_line(stores: Stores, snapshot: StudySnapshot) -> str:
    """The plan of a study until its deadline, or its expected end if it has none.

    Empty after the deadline, before a training is rehearsed or has ended, and for an end within `SHORT`.
    """
    study = snapshot.study
    if study.deadline is None:
        return _end_line(stores, snapshot)
    read = _read_plan(stores, snapshot)
    if read is None:
        return ""
    costs, plan = read
    number = _trials_of(plan, snapshot)
    parts = [f"about {number} more trial{'s' * (number != 1)} until {clock(plan.confirmation)}"] * (number > 0)
    if not number and snapshot.in_time_for_trial:
        parts = [f"no whole trial any more, but perhaps a shortened one until {clock(plan.confirmation)}"]
    if plan.confirmation < plan.refits:
        parts.append(f"confirmation until {clock(plan.refits)}")
    if plan.number_of_refits and plan.refits < plan.export:
        count = plan.number_of_refits
        parts.append(f"{count} refit{'s' * (count != 1)} until {clock(plan.export)}")
    return f"{_rehearsed(costs)}Plan: {', then '.join(parts) or 'no more trials'}; export by {clock(study.deadline)}."


def _shortened(stores: Stores, snapshot: StudySnapshot) -> str:
    """How the first trial was shortened for the deadline, a sentence and a blank; empty: it was not, or has ended."""
    if snapshot.study.deadline is None or snapshot.counted:
        return ""
    held = stores.queue.held(snapshot.study.id)
    notes = {item.trial_number: str(item.note[SHORTENED_NOTE]) for item in held if SHORTENED_NOTE in item.note}
    return next((f"Trial {number} is {excerpt(note)}. " for number, note in sorted(notes.items())), "")


def seconds_to_end(stores: Stores, snapshot: StudySnapshot) -> float | None:
    """Expected seconds until the end of the export: the rest of the search, confirmation and final trainings included.

    At most those until the deadline. None before any training gives an estimate, while no worker runs, and while no
    work is left before the export.
    """
    study, left = snapshot.study, snapshot.seconds_to_deadline
    if not snapshot.workers or snapshot.paused:
        return None
    costs = read_costs(stores, study, snapshot.ended)
    seconds = _expected_seconds(stores, snapshot, costs)
    known = [value for value in (seconds, left) if value is not None]
    return max(0.0, min(known)) if known else None


def _expected_seconds(stores: Stores, snapshot: StudySnapshot, costs: Costs) -> float | None:
    """As `seconds_to_end`, without a deadline."""
    study, final = snapshot.study, costs.final or 0.0
    if snapshot.refits_open:
        return wall_seconds(snapshot.refits_open, final, costs.workers_here) + costs.export
    if search_is_over(snapshot):
        if not snapshot.confirms_open:
            return None
        queued = wall_seconds(snapshot.confirms_open, final, costs.workers)
        refits = wall_seconds(costs.refits, final, costs.workers_here)
        return max(queued, costs.confirmation / costs.workers) + refits + costs.export
    if study.budget is None:
        return None
    now, waits = stores.database.now(), study.budget - snapshot.counted - snapshot.trials_paused
    end = expected_end(study.spec, costs, snapshot.ended, left=waits, counted=study.budget, now=now)
    return None if end is None else end.export - now


def _read_plan(stores: Stores, snapshot: StudySnapshot) -> tuple[Costs, Outline] | None:
    """The plan of a study with a deadline, and the costs that it follows from; None as for `schedule_line`."""
    study, now = snapshot.study, stores.database.now()
    if study.deadline is None or now >= study.deadline:
        return None
    costs = read_costs(stores, study, snapshot.ended)
    plan = outline(costs, now=now, deadline=study.deadline)
    return None if plan is None else (costs, plan)


def _trials_of(plan: Outline, snapshot: StudySnapshot) -> int:
    """Number of trials that a plan has left."""
    budget = snapshot.study.budget
    return plan.trials if budget is None else max(0, min(plan.trials, budget - snapshot.counted))


def _end_line(stores: Stores, snapshot: StudySnapshot) -> str:
    """When the search and the export of a study without a deadline are expected to end."""
    study = snapshot.study
    if study.budget is None or not snapshot.workers:
        return ""
    costs = read_costs(stores, study, snapshot.ended)
    left = study.budget - snapshot.counted - snapshot.trials_paused
    end = expected_end(study.spec, costs, snapshot.ended, left=left, counted=study.budget, now=stores.database.now())
    if end is None or end.export - stores.database.now() < SHORT:
        return ""
    more = f"{left} {'more ' * (snapshot.counted > 0)}trial{'s' * (left != 1)}"
    pruned = ", earlier if trials are pruned" * bool(costs.rehearsed and study.spec.search_settings.pruner != "none")
    then = "confirmation and export" if end.confirmed else "export"
    blended = ", later if several recipes are blended" * (end.refits > 0 and study.spec.final.ensemble != "none")
    return (
        f"{_rehearsed(costs)}Expected: {more} until about {_minute(end.search)}{pruned}; {then} until about "
        f"{_minute(end.export)}{blended}."
    )


def _rehearsed(costs: Costs) -> str:
    return f"One training takes about {duration(costs.rehearsed)} here. " if costs.rehearsed else ""


def _minute(seconds: float) -> str:
    """As `clock`, rounded up to a minute."""
    text = clock(60.0 * math.ceil(seconds / 60.0))
    return text[: -len(":00")] if text.count(":") > 1 else text
