"""The memory benchmark measures a real training in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.training.gpu_memory import Cell, main, measure


def test_a_small_measurement_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "memory.json"
    small = ["--backbone", "test_resnet", "--image-size", "32", "--batch-size", "8", "--folds", "2"]
    assert main([*small, "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "| cpu | test_resnet | 32 | 8 | 2 |" in out
    assert "planned MiB" not in out, "nothing is planned on a CPU"
    (result,) = json.loads(file.read_text())["results"]
    assert result["micro_batch"] == 8 and result["parked"] is False and result["device_peak"] is None
    assert result["baseline"] > 100, "torch alone takes more"
    # Two folds of weights, averages and two moments each; gradients and activations of one come on top.
    assert result["resident"] > 2 * 4 * result["weights"] > 0


def test_a_failed_measurement_raises(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="died with exit code 1"):
        measure(Cell(device="cpu", backbone="no_such_backbone", image_size=32, batch_size=8, folds=1))
