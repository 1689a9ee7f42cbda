"""The benchmark of self-distillation: its table, and a run on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.training.lp_ft import draw
from benchmarks.training.paired_scores import PairedScores
from benchmarks.training.self_distillation import Run, divide, main, score_rows
from tests.benchmarks.training.shape_folders import write_shapes
from tests.trainer.training.support import run
from trainer.data.read import read_images


def made_up(seed: int, *, cv_second: float, private_second: float) -> Run:
    scores = PairedScores(
        labelled=100, cv=0.8, cv_second=cv_second, error=0.01, probability=0.02, probability_error=0.01, private=0.8,
        private_second=private_second,
    )  # fmt: skip
    return Run(data="d", seed=seed, private=200, scores=scores, seconds=2.0, seconds_distilled=5.0)


def test_adoptions_are_wrong_where_the_private_score_falls() -> None:
    runs = [
        made_up(1, cv_second=0.83, private_second=0.81),
        made_up(2, cv_second=0.83, private_second=0.79),
        made_up(3, cv_second=0.815, private_second=0.70),  # 1.5 standard errors, and one image less is 0.5
        made_up(4, cv_second=0.80, private_second=0.80),
    ]
    (row,) = score_rows(runs)
    assert (row["draws"], row["adopted"], row["adopted wrongly"]) == (4, "2 of 4", 1)
    assert row["private lower / equal / higher"] == "2 / 1 / 1"
    assert (row["out-of-fold"], row["private"], row["times as long"]) == ("80.0", "80.0", "2.5")
    assert row["gain in probability"] == "2.0 ± 0.0"


def test_a_draw_is_divided_by_class(tmp_path: Path) -> None:
    drawn = draw(read_images(write_shapes(tmp_path / "shapes"), verify=False), images=36, classes=3, folds=6, seed=1)
    divided, private_y = divide(drawn, 18, 3, 1)
    assert (len(divided.y), len(private_y)) == (18, 18) and not set(divided.train_ids) & set(divided.test_ids)
    assert divided.class_counts().tolist() == [6, 6, 6]
    truth = dict(zip(drawn.train_ids, drawn.y.tolist(), strict=True))
    assert [truth[name] for name in divided.test_ids] == private_y.tolist()
    few, _ = divide(drawn, 1, 3, 1)
    assert few.class_counts().tolist() == [3, 3, 3], "one for each fold"


@pytest.mark.slow
def test_a_small_run_measures_every_draw(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "shapes")
    torch.save(run({"epochs": 1}, keep_models=True).models[0], tmp_path / "mine.pth")
    small = {"images": 36, "labelled": 18, "folds": 3, "size": 32, "seeds": 2, "epochs": 1, "minutes": 5}
    own = {"backbone": "test_resnet", "init": "mine", "weights": tmp_path, "json": tmp_path / "found.json"}
    options = [word for name, value in {**small, **own}.items() for word in (f"--{name}", str(value))]
    assert main([str(folder), *options]) == 0
    runs = json.loads((tmp_path / "found.json").read_text())["runs"]
    assert [(one["seed"], one["scores"]["labelled"], one["private"]) for one in runs] == [(1, 18, 18), (2, 18, 18)]
    names = ("cv", "cv_second", "private", "private_second")
    assert all(0.0 <= one["scores"][name] <= 1.0 for one in runs for name in names)
    assert all(one["seconds"] > 0.0 and one["seconds_distilled"] > 0.0 for one in runs)
