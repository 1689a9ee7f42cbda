"""The benchmark of shared CPU cores: real trainings on a small scale, and processes that end with it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from benchmarks.training.shared_cpus import (
    DROPOUT,
    SITUATIONS,
    WAYS,
    Cell,
    Training,
    busy_processes,
    rows,
    time_training,
)

TINY = Training(folds="one by one", threads=2, images=20, image_size=32, seconds=0.0)


@pytest.mark.slow
def test_a_training_beside_another_is_timed() -> None:
    assert 0 < time_training(TINY, "sleeping", SITUATIONS[2], busy=1) < 60


@pytest.mark.slow
def test_a_training_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="exit code 1"):
        time_training(replace(TINY, folds="nowhere"), "sleeping", "alone", 0)


def test_busy_processes_end_with_their_block() -> None:
    with busy_processes(2) as running:
        assert all(Path(f"/proc/{process}").exists() for process in running)
    assert not any(Path(f"/proc/{process}").exists() for process in running)


def test_ratios_are_those_of_one_round() -> None:
    seconds = {
        Cell(folds=folds, waiting=waiting, situation=situation): [1.0, 2.0, 4.0]
        for folds, waiting, situation in product(DROPOUT, WAYS, SITUATIONS)
    }
    seconds[Cell(folds="one by one", waiting="spinning", situation=SITUATIONS[1])] = [3.0, 8.0, 4.0]
    table = list(rows(seconds))
    assert len(table) == len(DROPOUT) * len(WAYS)
    (row,) = (row for row in table if row["folds"] == "one by one" and row["waiting"] == "spinning")
    assert row["alone s"] == 2.0 and row[f"{SITUATIONS[1]} s"] == 4.0 and row[f"{SITUATIONS[1]} / alone"] == 3.0
