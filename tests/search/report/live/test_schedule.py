"""What is printed about the time of a study: its plan, its expected end, and the trials that did not run."""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from search.report.live.schedule import GivenUpView, ScheduleView, schedule_line
from search.report.status import show_status
from search.runtime.console import open_console
from search.runtime.heartbeat import Heartbeat
from search.study_state.snapshot import read_snapshot
from search.study_state.time_budget import Costs
from search.study_state.time_left import EndedTrainings, expected_end
from search.worker.lease import LEASE
from search.worker.limits.deadline_guard import DeadlineGuard
from search.worker.study_context import StudyContext
from storage.stores import Stores
from storage.values import (
    GIVEN_UP_NOTE,
    PREDICTED_NOTE,
    SHORTENED_NOTE,
    TOO_LATE_NOTE,
    StudyState,
    TrialOutcome,
    TrialStatus,
    WorkKind,
)
from studies.load_study import load_study
from tests.search.instant_training import pretending
from tests.search.small_study import work_on
from trainer.recipe.recipe import Recipe


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def minutes(text: str) -> float:
    """Minutes from now to a time of day."""
    now = datetime.datetime.now()
    then = datetime.datetime.combine(now.date(), datetime.time.fromisoformat(text))
    return ((then - now).total_seconds() / 60.0) % 1440.0


def test_without_a_deadline_the_expected_end_is_printed_before_and_after_the_first_trial(
    context: StudyContext, stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    stores.studies.set_budget(context.study.id, 40)
    view = ScheduleView(stores, open_console())

    def shown() -> str:
        view.update(read_snapshot(stores, "colours"))
        view.update(read_snapshot(stores, "colours"))
        return said(capsys)

    with Heartbeat(stores.workers, context.worker, device="cpu", home="h", study_id=context.study.id):
        assert shown() == "", "nothing is known yet"
        item = stores.queue.take(context.study.id, context.worker, LEASE)
        assert item is not None
        note = {**item.note, PREDICTED_NOTE: 30.0}
        assert stores.queue.assign_trial(item, 0, context.spec.default_recipe(), note) is not None
        found = re.fullmatch(
            r"One training takes about 30 s here\. Expected: 40 trials until about (\S+); "
            r"confirmation and export until about (\S+)\.",
            shown(),
        )
        assert found is not None
        assert 19.5 <= minutes(found[1]) <= 21.5 and minutes(found[2]) > minutes(found[1])
        stores.queue.release(item)
        stores.studies.set_budget(context.study.id, 1)
        work_on(pretending(context, lambda task: 0.5))
        assert shown() == "", "an end within two minutes is not printed"
        stores.studies.set_budget(context.study.id, 40)
        assert "Expected: 39 more trials until about" in shown()
    assert schedule_line(stores, read_snapshot(stores, "colours")) == "", "no worker runs"


def test_the_expected_end_adds_up(study_file: Path) -> None:
    spec = load_study(study_file)
    costs = Costs(workers=2, workers_here=2, rehearsed=100.0, needed_refits=0, export=20.0)
    end = expected_end(spec, costs, EndedTrainings(), left=21, counted=21, now=1000.0)
    assert end is not None and end.confirmed
    assert end.search == 1000.0 + math.ceil(21 / 2) * 100.0
    longest = spec.confirm.share / (1 - spec.confirm.share) * 2100.0
    assert end.search + 20.0 < end.export <= end.search + longest / 2 + 20.0
    after_probe = expected_end(spec, replace(costs, final=2.0), EndedTrainings(), left=21, counted=21, now=1000.0)
    assert after_probe == end, "a probe does not show how long a confirmation takes"
    few = expected_end(spec, costs, EndedTrainings(), left=2, counted=2, now=0.0)
    assert few is not None and (few.search, few.export, few.confirmed) == (100.0, 120.0, False)
    elsewhere = expected_end(spec, replace(costs, needed_refits=1), EndedTrainings(), left=2, counted=2, now=0.0)
    assert elsewhere is not None and elsewhere.export == 220.0, "one refit"
    assert expected_end(spec, Costs(workers=1), EndedTrainings(), left=2, counted=2, now=0.0) is None


def test_a_first_trial_that_is_shortened_is_in_the_plan_before_it_has_ended(
    context: StudyContext, stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    now = stores.database.now()
    stores.studies.set_deadline(context.study.id, now + 600.0, hours=1 / 6, period_began=now)
    view = ScheduleView(stores, open_console())

    def shown(note: dict[str, object]) -> str:
        nonlocal item
        item = stores.queue.assign_trial(item, 0, context.spec.default_recipe(), note)
        assert item is not None
        for _ in range(2):
            view.update(read_snapshot(stores, "colours"))
        return said(capsys)

    with Heartbeat(stores.workers, context.worker, device="cpu", home="h", study_id=context.study.id):
        item = stores.queue.take(context.study.id, context.worker, LEASE)
        assert item is not None
        assert shown({**item.note, PREDICTED_NOTE: 90.0}).startswith(
            "One training takes about 1 min 30 s here. Plan: about"
        )
        reason = "shortened from 3 to 2 epochs for the deadline"
        found = shown({**item.note, PREDICTED_NOTE: 60.0, SHORTENED_NOTE: reason})
        assert found.startswith(f"Trial 0 is {reason}. One training takes about 1 min 00 s here. Plan: about")
        assert found.count("Plan:") == 1


@pytest.mark.parametrize("budget", [None, 20])
def test_planned_trials_that_did_not_run_are_named_with_the_reason(
    context: StudyContext, stores: Stores, capsys: pytest.CaptureFixture[str], budget: int | None
) -> None:
    stores.studies.set_budget(context.study.id, 2)
    work_on(pretending(context, lambda task: 0.5))
    stores.studies.set_budget(context.study.id, budget)
    now = stores.database.now()
    stores.studies.set_deadline(context.study.id, now + 600.0, hours=0.2, period_began=now)
    view = ScheduleView(stores, open_console())
    snapshot = read_snapshot(stores, "colours")
    view.update(snapshot)
    planned = re.search(r"about (\d+) more trials", said(capsys))
    assert planned is not None
    total = budget or 2 + int(planned[1])
    view.print_left_out(snapshot)
    output = said(capsys)
    assert (
        f"{'About ' * (budget is None)}{total} trials were planned, and 2 ended" in output
        and "is too short for more" in output
    )
    assert "`search start --study colours --hours +1` goes on" in output
    stored = snapshot.study.stored
    for other in (
        replace(stored, state=StudyState.STOPPED),
        replace(stored, deadline=None),
        replace(stored, budget=2),
    ):
        view.print_left_out(replace(snapshot, study=replace(snapshot.study, stored=other)))
        assert said(capsys) == ""


def test_a_search_without_a_trial_says_why(
    context: StudyContext, stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only probes have ended, and no plan was printed: no training was ever known to fit."""
    stores.studies.set_budget(context.study.id, None)
    now = stores.database.now()
    stores.studies.set_deadline(context.study.id, now + 60.0, hours=1 / 60, period_began=now)
    snapshot = read_snapshot(stores, "colours")
    ScheduleView(stores, open_console(quiet=True)).print_left_out(snapshot)
    output = said(capsys)
    assert "No trial ended: the time until the deadline of" in output and "is too short for one" in output
    assert "`search start --study colours --hours +1` goes on" in output
    for other in (replace(snapshot.study.stored, deadline=None), replace(snapshot.study.stored, budget=0)):
        view = ScheduleView(stores, open_console())
        view.print_left_out(replace(snapshot, study=replace(snapshot.study, stored=other)))
        assert said(capsys) == ""


@pytest.mark.parametrize("late", [False, True])
def test_a_trial_that_was_given_up_is_named_with_the_reason(
    context: StudyContext, stores: Stores, url: str, capsys: pytest.CaptureFixture[str], late: bool
) -> None:
    now = stores.database.now()
    deadline = now - 1.0 if late else now + 60.0
    item = stores.queue.take(context.study.id, context.worker, 60.0)
    assert item is not None
    item = stores.queue.assign_trial(item, 0, context.spec.default_recipe())
    assert item is not None
    stores.studies.set_deadline(context.study.id, deadline, hours=0.1, period_began=now - 300.0)
    why = "one epoch takes about 183 s, and 42 s were left for the trial"
    assert stores.queue.release(item, note={TOO_LATE_NOTE: [deadline, now - 30.0, 0], GIVEN_UP_NOTE: why})
    view = GivenUpView(stores, open_console())
    for printed in (f"trial 0 was given up for the deadline: {why}", ""):
        view.update(read_snapshot(stores, "colours"))
        assert said(capsys) == printed, "once"
    ScheduleView(stores, open_console()).print_left_out(read_snapshot(stores, "colours"))
    assert f"is too short for one (trial 0: {why}). `search start" in said(capsys)
    show_status("colours", url, context.home.root)
    output = said(capsys)
    assert f"trial 0 was given up for the deadline ({why})" in output and "wait" not in output
    assert ("the deadline has passed, and `search start --study colours --hours +1` continues" in output) is late
    stores.studies.set_deadline(context.study.id, now + 7200.0)
    show_status("colours", url, context.home.root)
    output = said(capsys)
    assert "given up" not in output and "1 trial waits for a worker" in output


def test_trials_are_rehearsed_until_one_has_ended_but_probes_never(context: StudyContext, stores: Stores) -> None:
    guard, default = DeadlineGuard(stores, "cpu"), context.spec.default_recipe()
    probe, trial = (
        Recipe.from_flat({**default, "init": "pretrained", "method": "linear_probe"}),
        Recipe.from_flat(default),
    )

    def end(number: int, recipe: Recipe) -> bool:
        """End a training at once; returns whether it would have been rehearsed."""
        item = stores.queue.take(context.study.id, context.worker, LEASE)
        assert item is not None
        limit = guard.limit(context.study, item, lambda: False)
        limit.fit(recipe)
        is_rehearsed = limit.is_unknown(recipe)
        named = stores.queue.assign_trial(item, number, recipe.to_flat())
        assert named is not None
        outcome = TrialOutcome(
            status=TrialStatus.FINISHED, value=0.5, brier=0.5, ambiguity=0.0, epochs_done=3, seconds=1.0
        )
        assert stores.queue.store(named, outcome)
        return is_rehearsed

    assert [end(0, probe), end(1, trial), end(2, trial)] == [False, True, False]


@pytest.mark.slow
def test_the_first_trial_is_rehearsed_without_a_deadline_and_no_other(context: StudyContext, stores: Stores) -> None:
    work_on(context)
    records = stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    assert [PREDICTED_NOTE in record.note for record in records] == [True, False, False]
    assert 0.0 < records[0].note[PREDICTED_NOTE] < 60.0


def test_a_reason_is_printed_once(context: StudyContext, stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    now = stores.database.now()
    stores.studies.set_deadline(context.study.id, now + 60.0, hours=0.1, period_began=now - 300.0)
    view = GivenUpView(stores, open_console())
    why = "one epoch takes about 183 s"
    given_up: list[int] = []
    for number, printed in enumerate((f": {why}", ", as above")):
        item = stores.queue.take(context.study.id, context.worker, 60.0, skip=given_up)
        assert item is not None
        item = stores.queue.assign_trial(item, number, context.spec.default_recipe())
        assert item is not None
        assert stores.queue.release(item, note={TOO_LATE_NOTE: [now + 60.0, now, 0], GIVEN_UP_NOTE: why})
        given_up.append(item.id)

        view.update(read_snapshot(stores, "colours"))

        assert said(capsys) == f"trial {number} was given up for the deadline{printed}"
