"""The benchmark of the change of folds on a small scale: both ways read every batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.training.fold_changes import PausingLoader, main
from trainer.batches.batch_loader import BatchStream

SMALL = ["--images", "60", "--folds", "3", "--epochs", "1", "--batch", "8", "--size", "16", "--rounds", "1"]


def test_both_ways_read_every_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, submitted = 0, 0
    following, submit = BatchStream.__next__, PausingLoader.submit

    def count_read(self: BatchStream) -> Any:
        nonlocal read
        batch = following(self)
        read += 1
        return batch

    def count_submitted(self: PausingLoader, *arguments: Any) -> Any:
        nonlocal submitted
        submitted += 1
        return submit(self, *arguments)

    monkeypatch.setattr(BatchStream, "__next__", count_read)
    monkeypatch.setattr(PausingLoader, "submit", count_submitted)
    output = tmp_path / "changes.json"
    main([*SMALL, "--processes", "4", "--no-real", "--json", str(output)])
    (result,) = json.loads(output.read_text())["results"]
    assert read == submitted == 5 + 5 + 2 * 3 * 5, "the start, the speed, and three folds of five batches in two ways"
    assert len(result["one_stream"]) == len(result["stream_a_fold"]) == 1


@pytest.mark.slow
def test_real_processes_are_measured_too(tmp_path: Path) -> None:
    output = tmp_path / "changes.json"
    main([*SMALL, "--processes", "2", "--json", str(output)])
    kinds = [result["row"]["processes"].partition(", ")[2] for result in json.loads(output.read_text())["results"]]
    assert kinds == ["real", "modelled"]
