"""The benchmark of pre-training on other images, on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from benchmarks.training.pretraining import Run, gain_rows, main, start_rows
from tests.benchmarks.training.shape_folders import write_shapes


@pytest.mark.slow
def test_a_small_run_compares_four_starts(tmp_path: Path) -> None:
    source = write_shapes(tmp_path / "source")
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=5).state_dict(), tmp_path / "test_resnet.safetensors")
    small = ["--source-images", "36", "--images", "36", "--folds", "2", "--size", "32", "--epochs", "1"]
    own = ["--backbone", "test_resnet", "--weights", str(tmp_path), "--source-epochs", "1", "--seeds", "1"]
    assert main([str(source), str(source), *small, *own, "--json", str(tmp_path / "out.json")]) == 0
    runs = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert [(run["begin"], run["pretrained_on"]) for run in runs] == [
        ("scratch", False),
        ("scratch", True),
        ("pretrained", False),
        ("pretrained", True),
    ]
    assert [run["probe"] is None for run in runs] == [True, False, False, False]
    assert all(0.0 <= run["fine_tuned"] <= 1.0 for run in runs)


def test_the_gain_is_paired_by_seed() -> None:
    runs = [
        Run(
            seed=seed, begin=begin, pretrained_on=on, probe=probe, fine_tuned=tuned, source_accuracy=0.5 if on else None
        )
        for seed, begin, on, probe, tuned in (
            (1, "scratch", False, None, 0.3),
            (1, "scratch", True, 0.5, 0.4),
            (1, "pretrained", False, 0.7, 0.8),
            (1, "pretrained", True, 0.8, 0.7),
            (2, "pretrained", False, 0.6, 0.8),
            (2, "pretrained", True, 0.9, 1.0),
        )
    ]
    scratch, published = gain_rows(runs)
    assert (scratch["gain of the probe"], scratch["gain after fine-tuning"]) == ("-", "10.0")
    assert (published["gain of the probe"], published["gain after fine-tuning"]) == ("20.0 ± 10.0", "5.0 ± 15.0")
    rows = {row["start"]: row for row in start_rows(runs)}
    assert rows["published weights, pre-trained"]["linear probe"] == "85.0"
    assert rows["random weights"]["linear probe"] == "-"
