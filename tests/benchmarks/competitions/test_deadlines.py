"""The table of deadlines, and the check of an export."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from benchmarks.competitions import deadlines
from benchmarks.competitions.deadlines import Run
from tests.search.small_study import write_competition

IN_TIME = Run(
    budget=600.0,
    took=590.0,
    exit_code=0,
    problem="",
    trained=480.0,
    trials=5,
    confirmations=2,
    refits=1,
    shortened=1,
    score=0.91234,
)


def test_a_late_run_and_a_bad_export_are_visible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    late = dataclasses.replace(IN_TIME, took=601.0, score=None, problem="exit code 2")
    results = {60.0: IN_TIME, 61.0: late}
    monkeypatch.setattr(deadlines, "run", lambda seconds, *_: results[seconds])
    arguments = ["--data", str(tmp_path), "--json", str(tmp_path / "runs.json"), "--seconds"]
    assert deadlines.main([*arguments, "60"]) == 0
    assert deadlines.main([*arguments, "60,61"]) == 1
    assert "exit code 2" in (tmp_path / "runs.json").read_text()
    row = deadlines._row(late)
    assert row["took"] == "601 s LATE" and row["export"] == "exit code 2"
    assert row["in trainings"] == "80 %" and row["of the time taken"] == "80 %"
    assert deadlines._row(IN_TIME)["score"] == "0.9123" and deadlines._row(IN_TIME)["export"] == "valid"


def test_an_export_without_a_submission_or_a_model_is_not_valid(tmp_path: Path) -> None:
    data, export = write_competition(tmp_path), tmp_path / "export"
    assert "submission.csv" in deadlines._problem(export, data, "accuracy")
    export.mkdir()
    shutil.copy(data / "sample_submission.csv", export / "submission.csv")
    assert "model" in deadlines._problem(export, data, "accuracy")
