"""``search status``: where a study is stored, and how much its files take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from search.report.status import show_status
from search.report.study_list import show_studies
from search.runtime.home import Home
from storage.database.urls import shown_url
from storage.stores import Stores, open_stores
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
