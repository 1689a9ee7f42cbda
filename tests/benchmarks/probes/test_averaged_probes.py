"""The benchmark of averaged probes: its table, and a run on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.probes.averaged_probes import Run, errors_fall, gain_rows, main, measure
from benchmarks.probes.probe_draws import Draw
from tests.benchmarks.training.shape_folders import write_shapes


def made_up(seed: int, *, gained: float) -> Run:
    return Run(
        data="d", seed=seed, labelled=100, cv=0.8, predicted=0.02, single=0.8, gained=gained, brier=0.3,
        brier_fell=0.03,
    )  # fmt: skip


def test_the_table_compares_relative_decreases() -> None:
    runs = [made_up(1, gained=0.01), made_up(2, gained=0.03)]
    (row,) = gain_rows(runs)
    assert (row["draws"], row["one head"], row["predicted"], row["gained"]) == (2, "80.0", "2.0 ± 0.0", "2.0 ± 1.0")
    assert row["errors fall"] == "1.00", "a tenth of the errors and a tenth of the Brier score"
    assert errors_fall([made_up(1, gained=0.0)]) == 0.0


def test_the_average_of_heads_has_a_lower_brier_score() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(600, dtype=np.int64) % 3
    features = (2.0 * np.eye(3, 20)[y] + rng.normal(0, 1, (600, 20))).astype(np.float32)
    labelled = np.arange(600) < 90
    drawn = Draw(train=features[labelled], y=y[labelled], test=features[~labelled], test_y=y[~labelled], num_classes=3)
    run = measure("made", drawn, folds=5, seed=1)
    assert 0.6 < run.single < 0.95 and run.labelled == 90
    assert 0.0 < run.brier_fell < run.brier
    assert 0.0 < run.predicted < 0.1 and abs(run.gained) < 0.05


@pytest.mark.slow
def test_a_small_run_measures_every_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, results = write_shapes(tmp_path / "shapes"), tmp_path / "out.json"
    small = ["--init", "scratch", "--backbone", "test_resnet", "--size", "32", "--draws", "2", "--labelled", "20"]
    main([str(folder), *small, "--folds", "3", "--json", str(results)])
    runs = json.loads(results.read_text())["runs"]
    assert [run["seed"] for run in runs] == [1, 2]
    assert "errors fall" in capsys.readouterr().out
