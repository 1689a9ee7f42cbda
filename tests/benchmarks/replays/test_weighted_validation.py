"""The simulation of weighted validation on a small scale: weighting reduces the error of the score."""

from __future__ import annotations

import pytest

from benchmarks.replays.weighted_validation import main, simulate


def test_weighted_scores_are_nearer_to_the_test_score() -> None:
    row = simulate(0.3, 0.9, images=300, taste=0.02, repeats=20, seed=0)
    assert row.errors[1] < row.errors[0] / 1.5
    assert 0.3 < row.effective < 0.5 and row.area == pytest.approx(0.8)
    same = simulate(0.5, 0.5, images=300, taste=0.02, repeats=5, seed=0)
    assert same.effective == pytest.approx(1.0) and same.errors[0] == pytest.approx(same.errors[1])
    assert same.regrets[0] == same.regrets[1]


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--images", "100", "--repeats", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 7 and all(line.count("|") == 10 for line in lines)
    assert lines[5].endswith("| no |") and lines[2].endswith("| yes |")
