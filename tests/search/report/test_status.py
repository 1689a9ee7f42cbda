"""``search status``: where a study is stored, and how much its files take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from search.report.status import show_status
from search.report.study_list import show_studies
from search.runtime.home import Home
from search.study_state.study import Study
from storage.database.urls import shown_url
from storage.queue.items import WorkItem
from storage.stores import Stores, open_stores
from storage.values import TrialOutcome, TrialStatus
from tests.search.page.made_up import lay_study


def test_the_file_of_the_database_is_shown_as_it_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    folder = tmp_path / "12_50% off?"
    folder.mkdir()
    given = f"sqlite:///{str(folder).replace('%', '%25').replace('?', '%3F')}/retable.db"
    stores = open_stores(given, create=True)
    assert shown_url(stores.database.url) == given
    lay_study(stores, tmp_path)
    show_status("made_up", given, tmp_path / "home")
    show_studies(given)
    out = capsys.readouterr().out
    assert f"in {folder}/retable.db" in out
    assert "%25" not in out


def test_the_sizes_of_all_files_of_a_home_add_up(
    stores: Stores, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    lay_study(stores, tmp_path)
    home, mib = Home(root=tmp_path / "home"), 2**20
    for folder, size in (
        (home.pixels, 1),
        (home.artifacts / "weights" / "made_up", 2),
        (home.exports("made_up") / "model", 3),
        (home.root / "made_up@12345678", 4),
        (home.weights, 5),
        (home.logs("made_up"), 6),
    ):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(bytes(size * mib))
    show_status("made_up", url, home.root)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "for all studies" in line]
    total, *parts = map(float, re.findall(r"([0-9.]+) MiB", line.partition("the database")[0]))
    assert total == sum(parts) == 21
    assert "exports 7.0 MiB, other files 11.0 MiB" in line


def interrupt(stores: Stores, stored: Study, *, seconds: float) -> None:
    """A second period of a study, of which a trial of 40 s had ended and an export was written: Ctrl-C during another
    trial, some seconds before the deadline.
    """
    recipe, optuna_study = stored.spec.default_recipe(), stores.optuna_study(stored.name)

    def begin() -> WorkItem:
        item = stores.queue.take(stored.id, "test", 60.0)
        assert item is not None
        assigned = stores.queue.assign_trial(item, optuna_study.ask().number, recipe)
        assert assigned is not None
        return assigned

    scores = {"value": 0.8, "value_se": 0.01, "mean_true_probability": 0.5, "brier": 0.5, "ambiguity": 0.0}
    outcome = TrialOutcome(status=TrialStatus.FINISHED, **scores, temperature=1.0, epochs_done=3, seconds=40.0)
    assert stores.queue.store(begin(), outcome)
    stores.exports.add(stored.id, folder="a", recipe=recipe, score=0.8, score_se=0.01, notes={})
    assert stores.queue.release(begin())
    now = stores.database.now() + 1e-3
    stores.studies.set_deadline(stored.id, now + seconds, hours=seconds / 3600.0, period_began=now)


@pytest.mark.parametrize("seconds", [150.0, 20.0])
def test_a_continued_study_that_was_interrupted_names_the_command_that_goes_on(
    stores: Stores, stored: Study, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], seconds: float
) -> None:
    interrupt(stores, stored, seconds=seconds)
    show_status(stored.name, url, tmp_path / "home")
    output = " ".join(capsys.readouterr().out.split())
    assert "1 trial waits for a worker" in output
    assert f"No worker runs. `search start --study {stored.name}` continues" in output
    assert ("Study colours, done" in output) is (seconds < 60.0), "there is time for the trial"


def test_exports_that_are_not_listed_are_counted_and_those_with_a_public_score_are(
    stores: Stores, stored: Study, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def exports(everything: bool = False) -> str:
        show_status(stored.name, url, tmp_path / "home", everything=everything)
        return capsys.readouterr().out.partition("Exports")[2].partition("disk:")[0]

    ids = [
        stores.exports.add(stored.id, folder=f"f{i}", recipe={}, score=0.8, score_se=0.01, notes={}) for i in range(5)
    ]
    stores.exports.record_scores(ids[0], public=0.625)
    shown = exports()
    assert [f"f{i}" in shown for i in range(5)] == [True, False, True, True, True] and "0.6250" in shown
    assert "… and 1 earlier: `search submissions --study colours` lists every export" in " ".join(shown.split())
    assert all(f"f{i}" in exports(everything=True) for i in range(5))


def test_the_heading_says_that_no_worker_runs(
    stores: Stores, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    lay_study(stores, tmp_path)

    show_status("made_up", url, tmp_path / "home")

    out = capsys.readouterr().out
    assert out.startswith("Study made_up, unfinished, no worker runs, in ") and "No worker runs. `search start" in out
