"""``search status``: where a study is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.report.status import show_status
from search.report.study_list import show_studies
from storage.database.urls import shown_url
from storage.stores import open_stores
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
