"""A valid submission from the first finished trial on."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from search.study_state.snapshot import read_snapshot
from search.worker.study_context import StudyContext
from search.worker.task import Task
from search.workflow.provisional_submission import ProvisionalSubmission
from storage.stores import Stores
from storage.values import WorkKind
from tests.search.colours import work_on
from tests.search.untrained import pretending


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def provisional(context: StudyContext, stores: Stores, tmp_path: Path, output: io.StringIO) -> ProvisionalSubmission:
    console = Console(file=output, width=1000)
    return ProvisionalSubmission(stores, context.study, context.images, tmp_path / "out", console)


def labels(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return [row[1] for row in list(csv.reader(file))[1:]]


def expected(context: StudyContext) -> list[str]:
    """The classes that the best trial's stored test predictions say."""
    best = read_snapshot(context.stores, "colours").ranking[0].number
    records = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    proba = context.stores.trials.prediction(next(r.id for r in records if r.number == best), "test")
    return [context.images.class_names[k] for k in proba.argmax(axis=1)]


def test_each_new_best_trial_replaces_it_and_it_is_told_once(
    context: StudyContext, stores: Stores, provisional: ProvisionalSubmission, tmp_path: Path, output: io.StringIO
) -> None:
    submission = tmp_path / "out" / "submission.csv"
    provisional.update(read_snapshot(stores, "colours"))
    assert not submission.exists() and output.getvalue() == ""
    seen = []
    for budget, quality in ((1, 0.2), (2, 0.95), (3, 0.1)):
        stores.studies.set_budget(context.study.id, budget)
        work_on(pretending(context, lambda task: quality))  # noqa: B023 - called at once
        provisional.update(read_snapshot(stores, "colours"))
        assert labels(submission) == expected(context)
        seen.append(submission.read_bytes())
    assert seen[0] != seen[1] == seen[2]
    assert output.getvalue().count(str(submission)) == 1
    assert [path.name for path in submission.parent.iterdir()] == ["submission.csv"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []


def test_an_export_is_never_overwritten(
    context: StudyContext, stores: Stores, tmp_path: Path, output: io.StringIO
) -> None:
    (tmp_path / "out" / "model").mkdir(parents=True)
    (tmp_path / "out" / "submission.csv").write_text("exported")
    work_on(pretending(context, lambda task: 0.7))
    console = Console(file=output)
    ProvisionalSubmission(stores, context.study, context.images, tmp_path / "out", console).update(
        read_snapshot(stores, "colours")
    )
    assert (tmp_path / "out" / "submission.csv").read_text() == "exported"


def test_without_test_predictions_nothing_is_written(
    context: StudyContext, stores: Stores, provisional: ProvisionalSubmission, tmp_path: Path
) -> None:
    ready = pretending(context, lambda task: 0.7)

    def without(context: StudyContext, task: Task) -> object:
        outcome = ready.train(context, task)
        assert outcome is not None
        return replace(outcome, predictions={"oof": outcome.predictions["oof"]})

    work_on(replace(context, train=without))  # type: ignore[arg-type]
    provisional.update(read_snapshot(stores, "colours"))
    assert not (tmp_path / "out").exists()


def test_what_keeps_it_from_being_written_is_told_once_and_the_search_goes_on(
    context: StudyContext, stores: Stores, tmp_path: Path, output: io.StringIO
) -> None:
    work_on(pretending(context, lambda task: 0.7))
    foreign = replace(context.images, test_ids=("other", *context.images.test_ids[1:]))
    provisional = ProvisionalSubmission(
        stores, context.study, foreign, tmp_path / "out", Console(file=output, width=500)
    )
    for _ in range(2):
        provisional.update(read_snapshot(stores, "colours"))
    assert output.getvalue().count("no provisional submission: the predictions have other ids") == 1
    assert list((tmp_path / "out").iterdir()) == []
