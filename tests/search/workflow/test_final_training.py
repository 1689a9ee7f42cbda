"""What is exported when a deadline leaves time for all refits, some or none."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search.engines.plan import Workers
from search.export.plan import ExportPlan, missing_refits, plan_export, queue_refits
from search.statistics.ranking import NothingFinished
from search.study_setup.create_study import create_study
from search.study_state.snapshot import read_snapshot
from search.study_state.study import Study, read_study
from search.study_state.time_budget import EXPORT_SECONDS, MARGIN
from search.worker.study_context import StudyContext
from search.worker.task import Task
from search.workflow.export.export_best import ExportRequest, export_best, is_time_for_report
from search.workflow.export.final_training import (
    SEEDS_IN_LEFT_TIME,
    export_is_due,
    plan_in_time,
    plan_of_finished,
    say_refits,
)
from storage.artifacts import ArtifactFolder
from storage.stores import Stores
from storage.values import WorkKind
from tests.search.instant_training import SECONDS, pretending
from tests.search.small_study import STUDY, make_context, study_plan, work_on
from trainer.formats.submission import SubmissionError

FINAL = '\n[final]\nepochs = 6\nseeds = 2\nensemble = "none"\n'
REFIT = 2 * SECONDS
"""Seconds of a refit: twice the epochs of a trial."""


@pytest.fixture
def searched(stores: Stores, competition_folder: Path, tmp_path: Path) -> Iterator[StudyContext]:
    """A study with three finished trials, all with networks. Its refits take no time and have networks too."""
    (tmp_path / "colours.toml").write_text(STUDY + FINAL)
    stored = create_study(stores, study_plan(tmp_path / "colours.toml", competition_folder))
    real = make_context(stores, stored, competition_folder, tmp_path / "home")

    def quality(task: Task) -> float:
        folder = ArtifactFolder(real.home.artifacts).weights(stored.name, task.item.id)
        for fold in range(stored.protocol.folds):
            (folder / f"fold{fold}.safetensors").write_bytes(b"weights")
        return 0.8

    context = pretending(real, quality)
    context.stores.studies.set_deadline(stored.id, stores.database.now() + 1e6)
    work_on(context)
    assert len(stores.trials.records(stored.id, kind=WorkKind.SEARCH)) == 3
    yield context
    real.loader.close()


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def with_time(context: StudyContext, seconds: float | None) -> Study:
    """The study with this many seconds until its export has to begin."""
    stores = context.stores
    deadline = None if seconds is None else stores.database.now() + EXPORT_SECONDS + seconds
    stores.studies.set_deadline(context.study.id, deadline, period_began=stores.database.now())
    return read_study(stores, context.study.name)


def planned(context: StudyContext, seconds: float | None) -> tuple[ExportPlan, str]:
    study, out = with_time(context, seconds), console()
    return plan_in_time(context.stores, study, context.home, out), printed(out)


def test_without_a_deadline_the_export_is_as_the_study_wants_it(searched: StudyContext) -> None:
    plan, notes = planned(searched, None)
    assert (plan.seeds, plan.leader.recipe.epochs, notes) == (2, 6, "")


def test_time_that_is_left_trains_further_seeds(searched: StudyContext) -> None:
    plan, notes = planned(searched, MARGIN * REFIT * 4 + 5.0)
    assert (plan.seeds, plan.leader.recipe.epochs) == (4, 6) and "4 times instead of 2" in notes
    plan, _ = planned(searched, 1000 * REFIT)
    assert plan.seeds == SEEDS_IN_LEFT_TIME


def test_with_less_time_there_are_fewer_seeds(searched: StudyContext) -> None:
    plan, notes = planned(searched, MARGIN * REFIT + 5.0)
    assert (plan.seeds, plan.leader.recipe.epochs) == (1, 6) and "1 of 2" in notes


def test_without_time_the_networks_of_the_search_are_exported(searched: StudyContext) -> None:
    plan, notes = planned(searched, 1.0)
    assert (plan.leader.recipe.epochs, missing_refits(searched.stores, plan, searched.home)) == (3, 0)
    assert "final.epochs = 6" in notes
    ids = queue_refits(searched.stores, plan, searched.home)
    assert ids == [(plan.leader.trial.work_id,)] and not searched.stores.queue.waiting(
        searched.study.id, WorkKind.REFIT
    )


def test_the_length_of_the_final_trainings_is_said(searched: StudyContext) -> None:
    """The study trains its finalists for 6 epochs, its trials for 3."""
    plan, _ = planned(searched, None)
    out = console()
    say_refits(searched.stores, plan, searched.home, out)
    size = plan.leader.recipe.image_size
    length = f"6 epochs at {size} px (final.epochs = 6).\n"
    name, folds = plan.leader.name, searched.study.protocol.folds
    assert printed(out) == (
        f"For the final model, 2 more trainings of {name} make {2 * folds} networks, one a fold in each: {length}"
    )
    once: dict[str, Any] = {"seeds": 1}
    for changed, said in (
        (once, f"1 more training of {name} makes {folds} networks, one a fold: {length}"),
        (once | {"full_data": True}, f"1 more training of {name} makes 1 network of all images: {length}"),
    ):
        out = console()
        say_refits(searched.stores, replace(plan, **changed), searched.home, out)
        assert printed(out) == f"For the final model, {said}"
    ready, _ = planned(searched, 1.0)
    out = console()
    say_refits(searched.stores, ready, searched.home, out)
    assert printed(out) == "", "nothing is trained"


def test_refits_that_the_deadline_cut_off_are_withdrawn_and_the_others_exported(searched: StudyContext) -> None:
    stores, home = searched.stores, searched.home
    plan = plan_export(stores, with_time(searched, 1e6), seeds=1, full_data=False, home=home)
    first = queue_refits(stores, plan, home)
    work_on(searched)
    whole = plan_export(stores, searched.study, seeds=2, full_data=False, home=home)
    ids = queue_refits(stores, whole, home)
    assert len(stores.queue.waiting(searched.study.id, WorkKind.REFIT)) == 1
    out = console()
    fewer, left = plan_of_finished(stores, whole, ids, home, out)
    assert fewer.seeds == 1 and left == first
    assert not stores.queue.waiting(searched.study.id, WorkKind.REFIT) and "deadline" in printed(out)


def test_if_all_refits_are_cut_off_the_networks_of_the_search_are_exported(searched: StudyContext) -> None:
    stores, home = searched.stores, searched.home
    plan = plan_export(stores, searched.study, seeds=2, full_data=False, home=home)
    ids = queue_refits(stores, plan, home)
    fewer, left = plan_of_finished(stores, plan, ids, home, console())
    assert fewer.leader.recipe.epochs == 3 and left == [(fewer.leader.trial.work_id,)]


def test_a_plan_whose_refits_have_ended_stays(searched: StudyContext) -> None:
    stores, home = searched.stores, searched.home
    plan = plan_export(stores, searched.study, seeds=2, full_data=False, home=home)
    ids = queue_refits(stores, plan, home)
    work_on(searched)
    out = console()
    assert plan_of_finished(stores, plan, ids, home, out) == (plan, ids) and printed(out) == ""
    assert missing_refits(stores, plan, home) == 0, "finished refits are not missing"


def test_without_any_networks_there_is_nothing_to_export(searched: StudyContext) -> None:
    stores = searched.stores
    artifacts = ArtifactFolder(searched.home.artifacts)
    for record in stores.trials.records(searched.study.id):
        artifacts.remove_weights(searched.study.name, record.work_id)
    plan, _ = planned(searched, 1.0)
    assert (plan.seeds, plan.leader.recipe.epochs) == (1, 6), "one refit is tried"
    ids = queue_refits(stores, plan, searched.home)
    with pytest.raises(NothingFinished):
        plan_of_finished(stores, plan, ids, searched.home, console())


def test_the_export_is_due_shortly_before_the_deadline(searched: StudyContext) -> None:
    due = export_is_due(searched.stores)
    for seconds, expected in ((None, False), (60.0, False), (-1.0, True)):
        with_time(searched, seconds)
        assert due(read_snapshot(searched.stores, searched.study.name)) is expected


@pytest.mark.parametrize(
    ("seconds", "is_time"), [(None, True), (60.0, True), (-EXPORT_SECONDS + 2.0, False), (-EXPORT_SECONDS - 1.0, True)]
)
def test_the_report_is_left_out_where_it_would_end_after_the_deadline(
    searched: StudyContext, seconds: float | None, is_time: bool
) -> None:
    """After a missed deadline there is no hurry any more."""
    with_time(searched, seconds)
    assert is_time_for_report(searched.stores, searched.study.name) is is_time


@pytest.mark.parametrize("kind", ["foo", "integer"])
def test_a_kind_that_does_not_fit_is_refused_before_any_refit(
    searched: StudyContext, url: str, competition_folder: Path, tmp_path: Path, kind: str
) -> None:
    request = ExportRequest(
        studies=(),
        data=competition_folder,
        storage_url=url,
        output=tmp_path / "out",
        seeds=None,
        full_data=False,
        submission_kind=kind,
        workers=Workers(workers=0, home=tmp_path / "home"),
    )
    with pytest.raises(SubmissionError, match=kind if kind == "foo" else "whole numbers"):
        export_best(request)
    assert sum(searched.stores.queue.counts(searched.study.id)[WorkKind.REFIT].values()) == 0
