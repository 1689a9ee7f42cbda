"""The benchmark of a second stage: its table, and a run on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.probes.probe_draws import Draw
from benchmarks.training.paired_scores import PairedScores
from benchmarks.training.two_stage import Run, main, measure, score_rows
from tests.benchmarks.training.shape_folders import write_shapes
from tests.trainer.training.support import run


def made_up(seed: int, *, cv_second: float | None, private_second: float = 0.8) -> Run:
    scores = None if cv_second is None else PairedScores(
        labelled=100, cv=0.8, cv_second=cv_second, error=0.01, probability=0.02, probability_error=0.01, private=0.8,
        private_second=private_second,
    )  # fmt: skip
    found = scores is not None
    return Run(
        data="d", seed=seed, classes=6, labelled=100, grouped=3 * found, wrong=20, within=12 * found, scores=scores
    )


def test_draws_without_groups_have_no_scores() -> None:
    (row,) = score_rows(
        [
            made_up(1, cv_second=0.83, private_second=0.79),
            made_up(2, cv_second=None),
            made_up(3, cv_second=0.80, private_second=0.82),
        ]
    )
    assert (row["with groups"], row["classes in groups"], row["mistakes within"]) == ("2 of 3", "3.0", "40 %")
    assert (row["draws"], row["adopted"], row["adopted wrongly"]) == (2, "1 of 2", 1)
    (none,) = score_rows([made_up(1, cv_second=None)])
    assert (none["with groups"], none["adopted"], none["gain"], none["private"]) == ("0 of 1", "0 of 0", "-", "-")


def test_a_second_stage_is_fitted_on_the_confused_classes() -> None:
    """Two of four classes overlap, so that half of their images are mistaken, and lie in one group."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 60).astype(np.int64)
    centres = np.array([[6, 0, 0], [0, 6, 0], [0, 0, 6], [0, 0.5, 6.5]])
    features = (centres[y] + rng.normal(0, 1, (240, 3))).astype(np.float32)
    half = np.arange(240) % 2 == 0
    drawn = Draw(train=features[half], y=y[half], test=features[~half], test_y=y[~half], num_classes=4)
    found = measure("made", drawn, folds=3, seeds=2, seed=1)
    assert found.grouped == 2 and found.within == found.wrong > 10
    assert found.scores is not None and found.scores.labelled == 120
    assert abs(found.scores.gain.mean) < 0.1, "a linear probe of two classes knows little more than one of four"


@pytest.mark.slow
def test_a_small_run_measures_every_draw(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "shapes")
    torch.save(run({"epochs": 1}, keep_models=True).models[0], tmp_path / "mine.pth")
    small = {"images": 45, "labelled": 18, "folds": 3, "size": 32, "draws": 2}
    own = {"backbone": "test_resnet", "init": "mine", "weights": tmp_path, "json": tmp_path / "found.json"}
    options = [word for name, value in {**small, **own}.items() for word in (f"--{name}", str(value))]
    assert main([str(folder), *options]) == 0
    runs = json.loads((tmp_path / "found.json").read_text())["runs"]
    assert [(one["seed"], one["classes"]) for one in runs] == [(1, 3), (2, 3)]
    assert all((one["scores"] is None) == (one["grouped"] == 0) for one in runs)
