"""The dashboard benchmark on a small scale: every page is served, with the note and the pictures in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.fleet.dashboard import main


@pytest.mark.slow
def test_the_pages_of_a_small_study_are_measured(tmp_path: Path) -> None:
    output = tmp_path / "dashboard.json"
    main(["--trials", "8", "--json", str(output)])  # its exit code is about seconds, which a busy machine decides
    (row,) = json.loads(output.read_text())["rows"]
    assert row["trials"] == 8 and row["study MB"] > row["update MB"] > 0.0
    assert row["study again s"] > 0.0 and row["study first CPU s"] >= 0.0
