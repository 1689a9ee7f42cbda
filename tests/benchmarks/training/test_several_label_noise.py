"""The benchmark of wrong labels among several, on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from benchmarks.training.several_label_noise import SHARES, change_labels, main


@given(st.integers(1, 40), st.integers(2, 6), st.floats(0.0, 1.0), st.integers(0, 9))
def test_one_label_of_a_share_of_the_pictures_changes(pictures: int, labels: int, share: float, seed: int) -> None:
    truth = (np.random.default_rng(seed).random((pictures, labels)) < 0.4).astype(np.int64)
    truth[np.arange(pictures), np.arange(pictures) % labels] = 1
    changed = change_labels(truth, share, seed)
    assert (changed != truth).sum() == (changed != truth).any(axis=1).sum() == round(share * pictures)
    assert changed.any(axis=1).all()


@pytest.mark.slow
def test_a_small_run_counts_changed_pictures(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=5).state_dict(), tmp_path / "test_resnet.safetensors")
    results = tmp_path / "out.json"
    for number, colour in enumerate(["red", "lime", "blue"] * 4):
        folder = tmp_path / "colours" / colour
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), colour).save(folder / f"{number}.png")
    small = [
        "--backbone",
        "test_resnet",
        "--classes",
        "3",
        "--pictures",
        "60",
        "--side",
        "16",
        "--size",
        "32",
        "--seeds",
        "1",
    ]
    assert main([str(tmp_path / "colours"), *small, "--weights", str(tmp_path), "--json", str(results)]) == 0
    runs = json.loads(results.read_text())["runs"]
    assert [run["share"] for run in runs] == list(SHARES)
    assert [run["changed"] for run in runs] == [round(60 * share) for share in SHARES]
    assert all(run["first"] <= run["found"] <= min(run["changed"], run["candidates"]) for run in runs)
