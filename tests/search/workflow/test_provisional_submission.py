"""The provisional submission: from the first finished trial on, until the export."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from search.export.output.manifest import MANIFEST
from search.study_state.snapshot import read_snapshot
from search.worker.study_context import StudyContext
from search.worker.task import Task
from search.workflow.export.provisional_submission import ProvisionalSubmission
from storage.stores import Stores
from storage.values import WorkKind
from tests.search.instant_training import pretending
from tests.search.small_study import work_on


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
    """The classes of the best trial's stored test predictions."""
    best = read_snapshot(context.stores, "colours").ranking[0].number
    records = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    proba = context.stores.trials.prediction(next(r.id for r in records if r.number == best), "test")
    return [context.images.class_names[k] for k in proba.argmax(axis=1)]


def test_each_better_trial_replaces_it_and_it_is_announced_once(
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
    assert {path.name for path in submission.parent.iterdir()} == {"submission.csv", MANIFEST}
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


def test_a_problem_is_printed_once_and_does_not_end_the_search(
    context: StudyContext, stores: Stores, tmp_path: Path, output: io.StringIO
) -> None:
    work_on(pretending(context, lambda task: 0.7))
    foreign = replace(context.images, test_ids=("other", *context.images.test_ids[1:]))
    provisional = ProvisionalSubmission(
        stores, context.study, foreign, tmp_path / "out", Console(file=output, width=500)
    )
    for _ in range(2):
        provisional.update(read_snapshot(stores, "colours"))
    assert output.getvalue().count("no provisional submission: ") == 1 and "ids" in output.getvalue()
    assert not (tmp_path / "out").exists()


def test_a_submission_of_other_origin_is_never_overwritten(
    context: StudyContext, stores: Stores, provisional: ProvisionalSubmission, tmp_path: Path, output: io.StringIO
) -> None:
    submission = tmp_path / "out" / "submission.csv"
    submission.parent.mkdir()
    submission.write_text("my own")
    work_on(pretending(context, lambda task: 0.7))
    provisional.update(read_snapshot(stores, "colours"))
    assert submission.read_text() == "my own" and list(submission.parent.iterdir()) == [submission]
    assert "submission.csv is not of an export" in output.getvalue()


def test_a_submission_that_the_user_edits_stays(
    context: StudyContext, stores: Stores, provisional: ProvisionalSubmission, tmp_path: Path, output: io.StringIO
) -> None:
    submission = tmp_path / "out" / "submission.csv"
    for budget, quality in ((1, 0.2), (2, 0.95)):
        stores.studies.set_budget(context.study.id, budget)
        work_on(pretending(context, lambda task: quality))  # noqa: B023 - called at once
        provisional.update(read_snapshot(stores, "colours"))
        if budget == 1:
            submission.write_text("edited")
    assert submission.read_text() == "edited"
    assert "was changed after it was exported" in output.getvalue()
