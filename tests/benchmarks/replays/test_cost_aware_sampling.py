"""Searches over backbones of different cost, on a small synthetic table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.replays.cost_aware_sampling import compare, main
from tests.benchmarks.replays.test_compare_pruners import recorded, written


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_order_of_costs_is_searched_by_both_samplers(tmp_path: Path) -> None:
    arrays = recorded(recipes=24)
    recipes = [recipe | {"backbone": "abc"[i % 3]} for i, recipe in enumerate(json.loads(arrays["recipes"]))]
    path = written(tmp_path / "three.npz", **arrays | {"recipes": json.dumps(recipes)})
    rows = compare(path, trials=[0.5, 3.0], searches=2, seed=0)
    assert len(rows) == 6 * 2 and len({row["costs"] for row in rows}) == 6
    assert all(np.shape(row["regrets"]) == (2, 2) and np.isfinite(row["regrets"]).all() for row in rows)


def test_a_table_with_other_backbones_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "two.npz", **recorded())
    with pytest.raises(SystemExit) as stopped:
        main([str(path), "--searches", "2"])
    assert stopped.value.code == 2 and "has 2 backbones" in capsys.readouterr().err
