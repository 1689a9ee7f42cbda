"""The benchmark of short fine-tuning with frozen layers, on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.training.frozen_layers import PROBE, Run, main, rows_of, with_private
from benchmarks.training.lp_ft import draw
from tests.benchmarks.training.shape_folders import write_shapes
from tests.trainer.training.support import run
from trainer.data.read import read_images


@pytest.mark.slow
def test_a_small_run_trains_every_way_and_writes_it(tmp_path: Path) -> None:
    torch.save(run({"epochs": 1}, keep_models=True).models[0], tmp_path / "mine.pth")
    folder = write_shapes(tmp_path / "shapes")
    small = ["--images", "24", "--folds", "2", "--size", "32", "--epochs", "1", "--freeze", "0.5", "--seeds", "1"]
    own = ["--backbone", "test_resnet", "--init", "mine", "--weights", str(tmp_path)]
    assert main([str(folder), *small, *own, "--json", str(tmp_path / "frozen.json")]) == 0
    runs = json.loads((tmp_path / "frozen.json").read_text())["runs"]
    assert [one["way"] for one in runs] == [PROBE, "1 epoch, 0.5 frozen, wise_ft", "1 epoch, 0.5 frozen"]
    assert all(0.0 <= one["private"] <= 1.0 and 0.0 <= one["brier"] <= 2.0 for one in runs)


def test_private_images_are_others_of_the_same_classes(tmp_path: Path) -> None:
    image_set = read_images(write_shapes(tmp_path / "shapes"), verify=False)
    drawn = draw(image_set, images=12, classes=2, folds=3, seed=1)
    competition, truth = with_private(image_set, drawn, 1)
    assert not set(competition.test_ids) & set(drawn.train_ids)
    known = dict(zip(image_set.train_ids, image_set.y, strict=True))
    names = [image_set.class_names[known[name]] for name in competition.test_ids]
    assert names == [drawn.class_names[label] for label in truth]
    with pytest.raises(ValueError, match="smaller --images"):
        with_private(image_set, image_set, 1)


def test_gains_are_paired_with_the_probe_of_the_draw() -> None:
    def made_up(way: str, seed: int, private: float) -> Run:
        return Run(data="d", seed=seed, way=way, out_of_fold=0.5, private=private, brier=0.1, seconds=1.0)

    runs = [made_up(PROBE, 1, 0.8), made_up("t", 1, 0.9), made_up(PROBE, 2, 0.6), made_up("t", 2, 0.9)]
    probe, tuned = rows_of(runs)
    assert (probe["to the probe"], probe["private"]) == ("-", "70.0")
    assert tuned["to the probe"] == "20.0 ± 10.0" and np.isclose(float(str(tuned["private"])), 90.0)
