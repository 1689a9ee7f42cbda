"""The progress of a running search: lines of ended trials and the status line."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from search.report.live.progress import (
    EPOCHS_INTERVAL,
    ProgressView,
    print_trial,
    recipe_difference,
)
from search.report.live.status_line import best_fact, duration, status_line
from search.runtime.console import LOG_INTERVAL
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.stages import running_work, search_is_over
from search.study_state.study import Study
from search.tuning.suggest import sample
from search.worker.study_context import StudyContext
from storage.stores import Stores
from storage.values import PROBE_NOTE
from tests.search.end_trials import end_next
from tests.search.small_study import work_on


@pytest.mark.slow
def test_a_study_from_beginning_to_end(context: StudyContext, stores: Stores) -> None:
    snapshot = read_snapshot(stores, "colours")
    assert (snapshot.counted, snapshot.seconds_left()) == (0, None)
    assert not search_is_over(snapshot)
    assert "0/3 trials" in status_line(snapshot, "")

    work_on(context)
    snapshot = read_snapshot(stores, "colours")
    assert (snapshot.counted, snapshot.running, snapshot.seconds_left()) == (3, 0, 0.0)
    assert search_is_over(snapshot)
    best = snapshot.ranking[0]
    assert best.value == max(record.value or 0 for record in snapshot.records)
    assert f"best: trial {best.number}, accuracy {best.value:.4f} ± {best.standard_error:.4f}" in status_line(
        snapshot, ""
    )

    output = io.StringIO()
    with ProgressView(Console(file=output, width=200), context.spec.default_recipe()) as view:
        view.show(snapshot, "")
        view.show(snapshot, "")
    text = output.getvalue()
    assert text.count("trial   0") == 1, "a trial that has ended is printed once"
    assert "the default recipe" in text
    assert " label_smoothing=0." in text


def test_a_leader_without_the_highest_score_is_no_best(stores: Stores, stored: Study) -> None:
    for value in (0.8, 0.7):
        end_next(stores, stored, value)
    snapshot = read_snapshot(stores, stored.name)
    highest, second = snapshot.ranking
    fact = best_fact(
        replace(
            snapshot,
            ended=replace(
                snapshot.ended,
                trials=tuple(
                    replace(record, brier=0.1) if record.number == second.number else record
                    for record in snapshot.records
                ),
            ),
        )
    )
    assert fact.startswith(f"leads: trial {second.number}, accuracy 0.7000 ± ")
    assert fact.endswith(f" · highest accuracy: trial {highest.number}, 0.8000")


@pytest.mark.slow
def test_trainings_that_a_deadline_shortened_are_shown_as_they_were(context: StudyContext, stores: Stores) -> None:
    work_on(context)
    first = min(read_snapshot(stores, "colours").records, key=lambda record: record.number or 0)
    default = context.spec.default_recipe()
    recipe = {**(first.recipe or {}), "epochs": 1, "image_size": 16}
    short = replace(first, recipe=recipe, reason="shortened from 32 to 16 pixels for the deadline")
    assert recipe_difference(first, default) == "the default recipe"
    assert recipe_difference(short, default) == "the default recipe with epochs=1 image_size=16"

    output = io.StringIO()
    probe = replace(short, number=7, note={**short.note, PROBE_NOTE: True})
    print_trial(Console(file=output, width=200), probe, default, "probe: test_resnet at 32 px, 0.5 M parameters")
    assert "from 32 to 16 pixels for the deadline; test_resnet at 16 px, 0.5 M parameters" in output.getvalue()


def test_the_epoch_under_way_is_never_beyond_the_last(context: StudyContext, stores: Stores) -> None:
    item = stores.queue.take(context.study.id, "w", 60.0)
    assert item is not None
    trial = context.optuna_study.ask()
    assert stores.queue.assign_trial(item, trial.number, sample(trial, context.spec).to_flat()) is not None
    epochs = trial.user_attrs[EPOCHS_ATTRIBUTE]
    shown = [running_work(stores, read_snapshot(stores, "colours"))]
    for epoch in range(1, epochs + 1):
        trial.report(0.5, epoch)
        shown.append(running_work(stores, read_snapshot(stores, "colours")))
    assert shown == [f"trial 0 epoch {min(epoch, epochs)}/{epochs}" for epoch in range(1, epochs + 2)]


def test_a_trial_that_waits_after_an_interruption_does_not_run(context: StudyContext, stores: Stores) -> None:
    """In Optuna it still does."""
    items = []
    for worker in ("a", "b"):
        item = stores.queue.take(context.study.id, worker, 60.0)
        assert item is not None
        trial = context.optuna_study.ask()
        items.append(stores.queue.assign_trial(item, trial.number, sample(trial, context.spec).to_flat()))
    assert items[0] is not None and stores.queue.release(items[0])
    trial.set_user_attr(EPOCHS_ATTRIBUTE, 4)
    assert running_work(stores, read_snapshot(stores, "colours")) == "trial 1 epoch 1/4"


class Log:
    """The progress of a study in a file, and the time that passes between two looks."""

    def __init__(self, context: StudyContext) -> None:
        self.now = 0.0
        self.output = io.StringIO()
        console = Console(file=self.output, width=60)
        self.view = ProgressView(console, context.spec.default_recipe(), monotonic=lambda: self.now)

    def after(self, seconds: float, snapshot: StudySnapshot, now: str) -> list[str]:
        """The new lines after a look at the study ``seconds`` later, without the time of day."""
        self.now += seconds
        before = len(self.output.getvalue())
        with self.view:
            self.view.show(snapshot, now)
        lines = self.output.getvalue()[before:].splitlines()
        assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in lines)
        return [line[10:] for line in lines]


def test_a_log_has_a_line_for_each_change_but_not_too_many(context: StudyContext, stores: Stores) -> None:
    log, begun = Log(context), read_snapshot(stores, "colours")
    assert log.after(1.0, begun, "workers are starting") == []
    assert log.after(LOG_INTERVAL, begun, "workers are starting") == ["0/3 trials · workers are starting"]
    working = replace(begun, workers=1)
    assert log.after(1.0, working, "trial 0 epoch 1/9") == [], "too soon"
    assert log.after(LOG_INTERVAL, working, "trial 0 epoch 2/9") == ["0/3 trials · trial 0 epoch 2/9"]
    assert log.after(LOG_INTERVAL, working, "trial 0 epoch 3/9") == [], "epochs alone come once a minute"
    assert log.after(EPOCHS_INTERVAL, working, "trial 0 epoch 4/9") == ["0/3 trials · trial 0 epoch 4/9"]
    assert log.after(3600.0, working, "trial 0 epoch 4/9") == [], "nothing has changed"
    confirming = replace(working, confirms_waiting=2)
    assert log.after(LOG_INTERVAL, confirming, "confirming 1 of 2") == ["0/3 trials · confirming 1 of 2"]
    refitting = replace(working, confirms_done=2, refits_open=1)
    assert log.after(LOG_INTERVAL, refitting, "refit 1 of 1") == ["0/3 trials · refit 1 of 1"]
    text = log.output.getvalue()
    assert "\x1b" not in text and "\r" not in text and "#" not in text


def test_a_hostile_name_puts_no_control_character_into_a_log(context: StudyContext, stores: Stores) -> None:
    log = Log(context)
    log.after(LOG_INTERVAL, read_snapshot(stores, "colours"), "\x1b[2Jworker\r")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", log.output.getvalue())


def test_a_terminal_gets_a_line_that_is_redrawn_and_no_log(context: StudyContext, stores: Stores) -> None:
    output = io.StringIO()
    console = Console(file=output, width=100, force_terminal=True, _environ={"TERM": "xterm"})
    now = iter(range(0, 10_000, 1000))
    with ProgressView(console, context.spec.default_recipe(), monotonic=lambda: float(next(now))) as view:
        view.show(read_snapshot(stores, "colours"), "trial 0 epoch 1/9")
    text = output.getvalue()
    assert "[....." in text and not re.search(r"\d\d:\d\d:\d\d  ", text)


def test_durations_as_text() -> None:
    assert [duration(s) for s in (0, 59.6, 61, 3605, 360000)] == [
        "0 s",
        "1 min 00 s",
        "1 min 01 s",
        "1 h 00 min",
        "100 h 00 min",
    ]
