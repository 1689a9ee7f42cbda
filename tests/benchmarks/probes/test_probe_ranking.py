"""The benchmark of the ranking by linear probes: its tables, and a run on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.probes.probe_ranking import KEEP, Run, agreement_rows, candidate_rows, keep_rows, main
from tests.benchmarks.training.shape_folders import write_shapes
from tests.trainer.training.support import run

IMAGES = 40


def made_up(size: int, probe: float, tuned: float, *, seed: int = 1, data: str = "d") -> Run:
    """A candidate whose probe gives every image almost the same probability of the true class."""
    noise = np.random.default_rng(size).normal(0.0, 0.01, IMAGES)
    return Run(
        data=data,
        seed=seed,
        backbone="a_net.in1k",
        size=size,
        probe=probe,
        tuned=tuned,
        true_class=tuple((probe + noise).tolist()),
        probe_seconds=1.0,
        tuned_seconds=10.0,
    )


def test_the_probes_of_a_draw_are_compared_with_its_fine_tunings() -> None:
    agreed = [made_up(32, 0.5, 0.6), made_up(64, 0.6, 0.7), made_up(96, 0.7, 0.8)]
    reversed_ = [made_up(32, 0.7, 0.6, data="e"), made_up(64, 0.6, 0.7, data="e"), made_up(96, 0.5, 0.8, data="e")]
    first, second, both = agreement_rows([*agreed, *reversed_])
    assert (first["rank correlation"], first["best probe is behind by"]) == ("1.00", "0.0")
    assert (second["rank correlation"], second["best probe is behind by"]) == ("-1.00", "20.0")
    assert (both["data"], both["draws"], both["best probe is behind by"]) == ("all", 2, "10.0 ± 10.0")


def test_means_are_over_the_draws_of_a_candidate() -> None:
    (row,) = candidate_rows([made_up(32, 0.5, 0.6), made_up(32, 0.7, 0.8, seed=2)])
    assert (row["candidate"], row["draws"], row["probe"], row["fine-tuned"]) == ("a_net 32", 2, "60.0", "70.0")


def test_candidates_that_are_left_out_save_time_and_cost_what_the_best_of_them_would_have_gained() -> None:
    runs = [made_up(32 * place, 0.9 - 0.1 * place, 0.5 + 0.1 * place) for place in range(1, 5)]
    rows = keep_rows(runs)
    assert [row["keep"] for row in rows] == [f"{keep:g}" for keep in KEEP]
    # The three best are always kept; the fourth is many standard errors behind, and the best after fine-tuning.
    assert {row["kept"] for row in rows} == {"3.0 of 4"}
    assert {row["share of the time"] for row in rows} == {"75 %"}
    assert {row["regret"] for row in rows} == {"10.00"}


@pytest.mark.slow
def test_a_small_run_measures_every_candidate_of_every_draw(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "shapes")
    torch.save(run({"epochs": 1}, keep_models=True).models[0], tmp_path / "mine.pth")
    small = ["--images", "36", "--folds", "2", "--sizes", "32", "48", "--epochs", "1", "--seeds", "2"]
    own = ["--backbones", "test_resnet", "--init", "mine", "--weights", str(tmp_path)]
    assert main([str(folder), *small, *own, "--json", str(tmp_path / "found.json")]) == 0
    runs = json.loads((tmp_path / "found.json").read_text())["runs"]
    assert [(one["seed"], one["size"]) for one in runs] == [(1, 32), (1, 48), (2, 32), (2, 48)]
    assert all(0.0 <= one["probe"] <= 1.0 and 0.0 <= one["tuned"] <= 1.0 for one in runs)
    assert all(len(one["true_class"]) == 36 for one in runs)
