"""`search report`: where the file goes, what it replaces, and that every export has one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from search.export.plan import plan_export, queue_refits
from search.page.command import REPORT, ReportNotWritable, add_to_export, remove_from_export, report
from search.runtime.output_files import FileNotOurs
from search.worker.study_context import StudyContext
from search.workflow.export.export_best import finish_export
from storage.errors import UnknownStudyError
from storage.stores import Stores
from tests.search.instant_training import pretending
from tests.search.page.html_reader import read_html, section
from tests.search.page.made_up import end_trials, lay_study, noisy
from tests.search.small_study import work_on


@pytest.fixture
def searched(stores: Stores, tmp_path: Path) -> Stores:
    study = lay_study(stores, tmp_path)
    y = stores.datasets.get(study.fingerprint).y
    end_trials(stores, study, 2, lambda number, _: noisy(y, 3, 0.7, number))
    return stores


def test_the_report_goes_to_the_folder_of_the_study(searched: Stores, url: str, tmp_path: Path) -> None:
    for name in (None, "made_up"):
        report(name, url, tmp_path / "home", None)
    written = tmp_path / "home" / "made_up" / REPORT
    assert "Report of study made_up" in read_html(written.read_text(encoding="utf-8")).text
    assert [path.name for path in written.parent.iterdir()] == [REPORT], "nothing temporary is left"


def test_a_report_replaces_a_report_and_nothing_else(searched: Stores, url: str, tmp_path: Path) -> None:
    own, link, about = tmp_path / "own.html", tmp_path / "link.html", tmp_path / "about.html"
    own.write_text("<p>my notes</p>")
    about.write_text("<!DOCTYPE html>\n<p>my notes on Retable (search)</p>")
    link.symlink_to(tmp_path / "elsewhere.html")
    for path in (own, link, about):
        with pytest.raises(FileNotOurs, match="no report that Retable wrote"):
            report("made_up", url, tmp_path, path)
    assert own.read_text() == "<p>my notes</p>" and not (tmp_path / "elsewhere.html").exists()
    (tmp_path / REPORT).write_text("mine")
    assert not add_to_export(searched, "made_up", tmp_path)
    assert (tmp_path / REPORT).read_text() == "mine"


def test_an_earlier_report_is_removed_and_nothing_else(searched: Stores, tmp_path: Path) -> None:
    remove_from_export(tmp_path)
    assert add_to_export(searched, "made_up", tmp_path)
    remove_from_export(tmp_path)
    assert not (tmp_path / REPORT).exists()
    (tmp_path / REPORT).write_text("mine")
    remove_from_export(tmp_path)
    assert (tmp_path / REPORT).read_text() == "mine"


@pytest.mark.parametrize("name", ["report.pdf", "report", "report.html.txt"])
def test_another_format_is_refused(searched: Stores, url: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(ReportNotWritable, match="has to end in"):
        report("made_up", url, tmp_path, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_folder_that_cannot_be_written_is_named(searched: Stores, url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportNotWritable, match="file is a file, not a folder"):
        report("made_up", url, tmp_path, tmp_path / "file" / "report.html")


def test_an_unknown_study_is_named(searched: Stores, url: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownStudyError, match="other"):
        report("other", url, tmp_path, None)


@pytest.mark.slow
def test_every_export_has_a_report(context: StudyContext, stores: Stores, tmp_path: Path) -> None:
    work_on(context)
    output, folder = io.StringIO(), tmp_path / "out"
    console = Console(file=output, width=200)
    for _ in range(2):  # the second export replaces the first one and its report
        plan = plan_export(stores, context.study, seeds=None, full_data=False, home=context.home)
        ids = queue_refits(stores, plan, context.home)
        finish_export(console, stores, plan, ids, context.images, context.home, folder, None)
    root = read_html((folder / REPORT).read_text(encoding="utf-8"))
    export = stores.exports.all(context.study.id)[-1]
    assert export.forecast is not None
    assert f"accuracy {export.forecast['expected']:.4f}" in section(root, "answer").text
    assert str(folder.resolve() / "submission.csv") in section(root, "answer").text
    assert "report.html (open it in a browser)" in output.getvalue()


def test_a_confirmed_study_shows_its_fresh_splits(context: StudyContext, stores: Stores, tmp_path: Path) -> None:
    from search.study_state.confirmation import freeze_split
    from storage.values import TRIAL_NOTE, WorkKind

    pretended = pretending(context, lambda task: 0.9 if task.item.kind is WorkKind.CONFIRM else 0.8)
    work_on(pretended)
    freeze_split(stores, context.study, 1, context.images)
    for record in stores.trials.records(context.study.id, kind=WorkKind.SEARCH)[:2]:
        stores.queue.add(
            context.study.id,
            WorkKind.CONFIRM,
            split=1,
            seed=1,
            recipe=record.recipe or {},
            note={TRIAL_NOTE: record.number},
        )
    work_on(pretended)
    add_to_export(stores, context.study.name, tmp_path)
    root = read_html((tmp_path / REPORT).read_text(encoding="utf-8"))
    header, *rows = section(root, "finalists").all("table")[0].rows()
    assert header == ["recipe", "accuracy", "gap to the leader", "chance best", "settings"]
    assert len(rows) == 2 and rows[0][2] == "leads"
    assert sum(int(row[3].rstrip("%")) for row in rows) == pytest.approx(100, abs=1)
