"""The crash test on a small scale: a killed worker loses and changes no trial."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.fleet.chaos import main
from benchmarks.fleet.chaos_check import Verdict


@pytest.mark.slow
def test_a_killed_worker_changes_no_trial(tmp_path: Path) -> None:
    output = tmp_path / "chaos.json"
    arguments = ["--database", "sqlite", "--trials", "2", "--workers", "1", "--kills", "1", "--kill-every", "2"]
    assert main([*arguments, "--limit", "200", "--json", str(output)]) == 0
    measured = json.loads(output.read_text())
    assert measured["events"]["kills"] == 1
    assert measured["events"]["complete"]
    assert measured["verdict"]["compared"] == 2


def test_each_defect_makes_the_verdict_fail() -> None:
    good = Verdict(
        finished=2,
        pruned=1,
        failed=0,
        agree=True,
        left_running=0,
        other_recipes=0,
        compared=3,
        unequal=(),
        adoptions=1,
        most_attempts=2,
        tracebacks=0,
        last_words=(),
    )
    assert good.is_clean(3) and not good.is_clean(4)
    wrong = {
        "finished": 1,
        "pruned": 0,
        "failed": 1,
        "agree": False,
        "left_running": 1,
        "other_recipes": 1,
        "compared": 2,
        "unequal": ("trial 1: curves",),
        "tracebacks": 1,
    }
    for name, value in wrong.items():
        assert not dataclasses.replace(good, **{name: value}).is_clean(3), name  # type: ignore[arg-type]
