"""`search start` after the deadline exports what has finished and starts no worker."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from search.cli.app import app
from search.export.files import write_export
from search.export.final_model import gather_refits
from search.export.plan import plan_export, queue_refits
from search.runtime.home import Home
from search.statistics.ranking import NothingFinished
from search.study_setup.create_study import create_study
from search.study_setup.deadline import DeadlineTooShort
from search.worker.lease import LEASE
from search.worker.run_item import run_item
from storage.stores import Stores
from storage.values import TrialStatus
from tests.search.small_study import make_context, study_plan, work_on

Start = Callable[..., str]


@pytest.fixture
def start(
    study_file: Path, competition_folder: Path, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> Start:
    """Continues the study with ``--hours`` and returns what is printed; it must not start a worker."""

    def no_fleet(*arguments: object) -> None:
        raise AssertionError("a worker starts")

    monkeypatch.setattr("search.workflow.start.make_fleet", no_fleet)

    def run(*options: str) -> str:
        home = ("--home", str(tmp_path / "home"))
        arguments = ("--study", str(study_file), "--data", str(competition_folder), "--storage", url, *home, *options)
        done = CliRunner().invoke(app, ["start", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    return run


def begin(
    stores: Stores,
    study_file: Path,
    folder: Path,
    home: Path,
    *,
    trained: bool,
    hours_ago: float = 5.0,
    exported_seeds: int | None = None,
    paused: int = 0,
) -> None:
    """The study, with finished trials or not, whose time began some hours ago.

    Args:
        exported_seeds: trainings of the best recipe in an export; None: there is none.
        paused: trials that are paused at a rung, beside trial 0.
    """
    promotion = ("search.pruner=promotion", "search.reduction_factor=16", "search.last_rung=1.0")
    study = create_study(
        stores, study_plan(study_file, folder, *promotion, budget=60) if paused else study_plan(study_file, folder)
    )
    context = make_context(stores, study, folder, home)
    if paused:
        for _ in range(1 + paused):
            item = stores.queue.take(study.id, context.worker, LEASE)
            assert item is not None
            run_item(context, item, lambda: False)
        assert stores.queue.count_paused(study.id) == paused
    elif trained:
        work_on(context)
    if exported_seeds is not None:
        plan = plan_export(stores, study, seeds=exported_seeds, full_data=False, home=context.home)
        ids = queue_refits(stores, plan, context.home)
        work_on(context)
        refits = gather_refits(stores, plan, ids)
        write_export(stores, plan, refits, context.images, context.home, context.home.exports(study.name), None)
    context.loader.close()
    now = stores.database.now()
    stores.studies.set_deadline(study.id, now - 3600.0, hours=1.0, period_began=now - hours_ago * 3600.0)


@pytest.mark.slow
def test_what_has_finished_is_exported_without_a_worker(
    start: Start, stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path
) -> None:
    begin(stores, study_file, competition_folder, tmp_path / "home", trained=True)
    output = start("--hours", "1")
    assert "nothing more is trained" in output and "--hours +1" in output
    assert "No worker starts" in output and "Hand in" in output
    folder = Home(root=tmp_path / "home").exports("colours")
    assert (folder / "submission.csv").is_file()
    assert len(stores.trials.records(stores.study("colours").id)) == 3
    quiet = start("--hours", "1", "--quiet")
    assert "Hand in" in quiet, "the same command again exports the same"
    assert "No worker starts" in quiet and "Doubts" in quiet
    for progress in ("continues", "training and 6 test images", "trial 0 finished", "The search is over", "onfirm"):
        assert progress in output and progress not in quiet.partition("Recipe")[0]


@pytest.mark.slow
def test_paused_trials_end_as_pruned_when_the_time_is_over(
    start: Start, stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path
) -> None:
    begin(stores, study_file, competition_folder, tmp_path / "home", trained=True, paused=2)
    output = start("--hours", "1", "--set", "search.pruner=promotion")
    assert "The search is over: 1 finished, 2 pruned" in output and "Hand in" in output
    assert output.count("after 1 epoch") == 2
    study = stores.study("colours")
    statuses = [record.status for record in stores.trials.records(study.id)]
    assert statuses == [TrialStatus.FINISHED, TrialStatus.PRUNED, TrialStatus.PRUNED]
    assert all(trial.state.is_finished() for trial in stores.optuna_study("colours").get_trials())


@pytest.mark.slow
def test_a_deadline_that_leaves_time_for_the_export_alone(
    start: Start, stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path
) -> None:
    begin(stores, study_file, competition_folder, tmp_path / "home", trained=True, hours_ago=1.0)
    hours = 1.0 + 60.0 / 3600.0
    output = start("--hours", f"{hours}")
    assert "No worker starts" in output and "`--hours +2` continues" in output and "Hand in" in output


@pytest.mark.slow
def test_an_export_with_more_networks_stays(
    start: Start, stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path
) -> None:
    begin(stores, study_file, competition_folder, tmp_path / "home", trained=True, exported_seeds=7)
    submission = Home(root=tmp_path / "home").exports("colours") / "submission.csv"
    before = submission.stat()
    output = start("--hours", "1")
    assert (
        "stays" in output
        and "averages 28 networks" in output
        and "`search export-best --study colours --seeds 7" in output
    )
    assert submission.stat() == before and len(stores.exports.all(stores.study("colours").id)) == 1


@pytest.mark.slow
def test_a_report_stays_where_there_is_no_time_for_the_next_one(
    start: Start,
    stores: Stores,
    study_file: Path,
    competition_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin(stores, study_file, competition_folder, tmp_path / "home", trained=True)
    assert "report.html" in start("--hours", "1")
    report = Home(root=tmp_path / "home").exports("colours") / "report.html"
    before = report.stat()
    monkeypatch.setattr("search.workflow.export.export_best.is_time_for_report", lambda *given, **options: False)
    output = start("--hours", "1")
    assert "stays" in output and "Its report stays as well" in output and "left out" not in output
    assert report.stat() == before and len(stores.exports.all(stores.study("colours").id)) == 1


@pytest.mark.slow
def test_without_a_finished_training_there_is_nothing_to_export(
    start: Start, stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path
) -> None:
    begin(stores, study_file, competition_folder, tmp_path / "home", trained=False)
    with pytest.raises(DeadlineTooShort, match=r"--hours \+1"):
        start("--hours", "1")


@pytest.mark.slow
def test_another_home_without_networks_says_what_trains_them_again(
    start: Start, stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    begin(stores, study_file, competition_folder, tmp_path / "home", trained=True)
    other = tmp_path / "other"
    with pytest.raises(NothingFinished, match="holds the networks of no finished training") as caught:
        start("--hours", "1", "--home", str(other))
    assert "For the final model" not in capsys.readouterr().out

    advised = re.search(r"`search (export-best [^`]+)`", str(caught.value))
    assert advised is not None and f"--home {other}" in advised[1]
    done = CliRunner().invoke(app, shlex.split(advised[1]), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (Home(root=other).exports("colours") / "submission.csv").is_file()
