"""The benchmark of blended probes: its table, and a run on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.probes.blended_probes import Run, main, measure, rule_rows
from benchmarks.probes.probe_draws import Draw
from tests.benchmarks.training.shape_folders import write_shapes


def made_up(seed: int, *, gained: float, real: bool, lost: bool = False) -> Run:
    return Run(
        data="d", seed=seed, labelled=100, leader=0.8, mean=0.8 + gained, members=2, real_gain=real,
        no_clear_loss=not lost, without_last=0.79,
    )  # fmt: skip


def test_a_rule_gains_only_where_it_uses_the_mean() -> None:
    runs = [made_up(1, gained=0.02, real=True), made_up(2, gained=0.01, real=False)]
    runs += [made_up(3, gained=-0.03, real=False, lost=True)]
    (row, of_all) = rule_rows(runs)
    assert row["real gain"] == "0.7 ± 0.7" and row["no clear loss"] == "1.0 ± 0.6" and row["always"] == "0.0 ± 1.5"
    assert (row["data"], of_all["data"]) == ("d", "all") and row["always"] == of_all["always"]
    assert row["the last size adds"] == "2.0 ± 0.6", "3, 2 and, where the mean is left out, 1 point"


def test_features_with_errors_of_their_own_are_blended_and_copies_are_not() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(900, dtype=np.int64) % 3
    labelled = np.arange(900) < 300

    def features() -> Draw:
        own = (1.0 * np.eye(3, 20)[y] + rng.normal(0, 1, (900, 20))).astype(np.float32)
        return Draw(train=own[labelled], y=y[labelled], test=own[~labelled], test_y=y[~labelled], num_classes=3)

    first = features()
    run = measure("made", [first, features(), features()], folds=5, seed=1)
    assert run.members == 3 and run.real_gain and run.no_clear_loss and run.mean > run.leader + 0.05
    assert run.without_last < run.exported
    copied = measure("made", [first, first], folds=5, seed=1)
    assert copied.members == 1 and not copied.real_gain and copied.no_clear_loss and copied.mean == copied.leader
    assert copied.without_last == copied.exported


@pytest.mark.slow
def test_a_small_run_measures_every_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, results = write_shapes(tmp_path / "shapes"), tmp_path / "out.json"
    small = ["--init", "scratch", "--backbone", "test_resnet", "--sizes", "32", "48", "--draws", "2"]
    main([str(folder), *small, "--labelled", "20", "--folds", "3", "--json", str(results)])
    runs = json.loads(results.read_text())["runs"]
    assert [run["seed"] for run in runs] == [1, 2]
    assert "no clear loss" in capsys.readouterr().out
