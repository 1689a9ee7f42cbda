"""The benchmark of pseudo-labels: its tables, and a run on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.probes.probe_draws import bootstrap
from benchmarks.training.paired_scores import PairedScores
from benchmarks.training.pseudo_labels import Run, gate_rows, main, score_rows
from tests.benchmarks.training.shape_folders import write_shapes
from tests.trainer.training.support import run


def made_up(seed: int, *, cv_second: float, private_second: float, true: float = 0.95, labelled: int = 100) -> Run:
    scores = PairedScores(
        labelled=labelled, cv=0.8, cv_second=cv_second, error=0.01, probability=0.0, probability_error=0.01,
        private=0.8, private_second=private_second,
    )  # fmt: skip
    return Run(
        data="d", seed=seed, test=200, given=50.0, estimated=0.97, low=0.9, high=0.99, true=true, scores=scores,
        cv_scored=0.9,
    )  # fmt: skip


def test_adoptions_are_wrong_where_the_private_score_falls() -> None:
    runs = [
        made_up(1, cv_second=0.83, private_second=0.81),
        made_up(1, cv_second=0.80, private_second=0.80, labelled=300),
        made_up(2, cv_second=0.83, private_second=0.79, true=0.8, labelled=102),
        made_up(2, cv_second=0.811, private_second=0.70, labelled=300),
    ]
    few, many = score_rows(runs)
    assert (few["draws"], few["labelled"], few["adopted"], few["adopted wrongly"]) == (2, "101", "2 of 2", 1)
    assert few["private lower / equal / higher"] == "1 / 0 / 1"
    assert (many["adopted"], many["adopted wrongly"]) == ("0 of 2", 0)
    assert many["by one standard error alone"] == "1, 1 wrongly"
    assert many["private lower / equal / higher"] == "1 / 1 / 0"
    gate, _ = gate_rows(runs)
    assert (gate["labels given"], gate["true in the interval"]) == ("50 of 200", "1 of 2")
    assert gate["estimated - true"] == "9.5 ± 7.5"


def test_a_bootstrap_keeps_the_size_of_every_class() -> None:
    y = np.array([0] * 5 + [1] * 9)
    counts = bootstrap(y, 3)
    assert [counts[y == label].sum() for label in (0, 1)] == [5, 9]
    assert not np.array_equal(counts, bootstrap(y, 4))


@pytest.mark.slow
def test_a_small_run_measures_every_draw(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "shapes")
    torch.save(run({"epochs": 1}, keep_models=True).models[0], tmp_path / "mine.pth")
    small = {"images": 45, "labelled": 18, "folds": 3, "size": 32, "draws": 2, "probability": 0.5}
    own = {"backbone": "test_resnet", "init": "mine", "weights": tmp_path, "json": tmp_path / "found.json"}
    options = [word for name, value in {**small, **own}.items() for word in (f"--{name}", str(value))]
    assert main([str(folder), *options]) == 0
    runs = json.loads((tmp_path / "found.json").read_text())["runs"]
    assert [(one["seed"], one["scores"]["labelled"] + one["test"]) for one in runs] == [(1, 44), (2, 44)]
    assert all(0.0 <= one["scores"][name] <= 1.0 for one in runs for name in ("cv", "cv_second", "private"))
    assert all(0.0 <= one["cv_scored"] <= 1.0 for one in runs)
    assert all(one["given"] > 0 for one in runs)
