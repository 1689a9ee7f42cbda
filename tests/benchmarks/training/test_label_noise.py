"""The benchmark of wrong labels: how they are made, its tables, and a run on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.training.label_noise import MODES, SHARES, Run, flip, found_rows, main, most_confused, private_rows
from tests.benchmarks.training.shape_folders import write_shapes
from tests.trainer.training.support import run

NAN = float("nan")


@given(
    labels=st.lists(st.integers(0, 3), min_size=8, max_size=80),
    share=st.sampled_from(SHARES),
    mode=st.sampled_from(MODES),
    seed=st.integers(0, 99),
)
def test_as_many_labels_are_changed_as_a_class_can_lose(labels: list[int], share: float, mode: str, seed: int) -> None:
    y = np.array([0, 1, 2, 3, *labels], np.int64)
    partner = np.array([1, 2, 3, 0])
    flipped = flip(y, share, mode, partner, seed)
    wrong = flipped != y
    assert wrong.sum() <= round(share * len(y))
    assert ((flipped >= 0) & (flipped < 4)).all()
    for label in range(4):
        assert 2 * wrong[y == label].sum() < (y == label).sum()
    if mode == "confused":
        assert (flipped[wrong] == partner[y[wrong]]).all()
    assert np.array_equal(flipped, flip(y, share, mode, partner, seed))


def test_large_classes_lose_the_whole_share() -> None:
    y = np.arange(400) % 4
    for share in SHARES:
        assert (flip(y, share, "random", np.zeros(4, np.int64), 1) != y).sum() == round(share * 400)


def test_the_most_confused_class_has_the_highest_probability() -> None:
    proba = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.0, 0.4, 0.6]], np.float32)
    assert most_confused(np.array([0, 1, 2]), proba, 3).tolist() == [1, 0, 1]


def made_up(share: float, keep: float, drop: float, *, seed: int = 1, **changes: float) -> Run:
    values: dict[str, float] = {"first_k": 0.8, "first_few": 0.9, "found": 0.5, "wrong_suspects": 0.7, **changes}
    return Run(
        data="d",
        seed=seed,
        mode="random",
        share=share,
        images=100,
        flipped=round(100 * share),
        candidates=12,
        keep=keep,
        drop=drop,
        downweight=keep + 0.01,
        corrected=keep + 0.02,
        suspects=8.0,
        **values,
    )


def test_gains_are_paired_over_draws() -> None:
    runs = [
        made_up(0.0, 0.9, 0.88, first_k=NAN, found=NAN),
        made_up(0.1, 0.8, 0.85),
        made_up(0.0, 0.8, 0.8, seed=2, first_k=NAN, found=NAN),
        made_up(0.1, 0.7, 0.72, seed=2, first_k=0.6),
    ]
    clean, noisy = private_rows(runs)
    assert (clean["wrong labels"], clean["draws"], clean["keep"], clean["drop"]) == ("0%", 2, "85.0", "-1.0 ± 1.0")
    assert (clean["lost by wrong labels"], clean["first k corrected"]) == ("-", "-")
    assert (noisy["wrong labels"], noisy["keep"], noisy["drop"]) == ("10% random", "75.0", "+3.5 ± 1.5")
    assert (noisy["lost by wrong labels"], noisy["downweight"]) == ("10.0 ± 0.0", "+1.0 ± 0.0")
    first, second = found_rows(runs)
    assert (first["wrong among the first k"], first["changed labels found"]) == ("-", "-")
    assert (second["wrong among the first k"], second["changed labels"]) == ("70 %", "10 of 100")


@pytest.mark.slow
def test_a_small_run_measures_every_share(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "shapes")
    torch.save(run({"epochs": 1}, keep_models=True).models[0], tmp_path / "mine.pth")
    small = ["--images", "36", "--folds", "3", "--size", "32", "--seeds", "1", "--shares", "0", "0.2"]
    own = ["--backbone", "test_resnet", "--init", "mine", "--weights", str(tmp_path)]
    assert main([str(folder), *small, *own, "--json", str(tmp_path / "found.json")]) == 0
    runs = json.loads((tmp_path / "found.json").read_text())["runs"]
    assert [(one["mode"], one["share"]) for one in runs] == [("random", 0.0), ("random", 0.2), ("confused", 0.2)]
    assert all(0.0 <= one[way] <= 1.0 for one in runs for way in ("keep", "drop", "downweight", "corrected"))
    assert next(one["flipped"] for one in runs) == 0
