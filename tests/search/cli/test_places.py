"""Places of a search that cannot be written to are named in one error, before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search.cli.early_checks import PlacesNotWritable, check_places


@pytest.mark.parametrize(
    ("home", "database", "output", "options"),
    [
        ("locked/home", "locked/x.db", None, ["--home", "--storage"]),
        ("locked/home", "locked/x.db", "locked/out", ["--home", "--storage", "--output"]),
        ("home", "locked/x.db", "out", ["--storage"]),
        ("home", "x.db", "locked/out", ["--output"]),
        ("file/home", "x.db", None, ["--home"]),
        ("home", "x.db", "out", []),
    ],
)
def test_one_error_names_all_places(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    home: str,
    database: str,
    output: str | None,
    options: list[str],
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    (tmp_path / "file").touch()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: (path != locked or mode == os.F_OK) and allowed(path, mode))

    def check() -> None:
        check_places(tmp_path / home, f"sqlite:///{tmp_path / database}", None if output is None else tmp_path / output)

    if not options:
        check()
        return
    with pytest.raises(PlacesNotWritable) as caught:
        check()
    assert [word for word in str(caught.value).split() if word.startswith("--")] == options


def test_a_database_server_needs_no_folder(tmp_path: Path) -> None:
    check_places(tmp_path, "postgresql://ann@host/retable", None)
