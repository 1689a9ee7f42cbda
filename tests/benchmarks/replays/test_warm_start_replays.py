"""Warm starts compared with cold starts, on small synthetic tables."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from benchmarks.replays.compare_samplers import Surrogate, suggest
from benchmarks.replays.curve_tables import CurveTable, load_table
from benchmarks.replays.warm_starts import compare, params_of, remembered
from tests.benchmarks.replays.test_compare_pruners import recorded, written


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[CurveTable]:
    folder = tmp_path_factory.mktemp("curves")
    return [
        load_table(written(folder / f"{name}.npz", **recorded(seed, recipes=24))) for name, seed in (("a", 0), ("b", 1))
    ]


def test_a_recipe_and_its_parameters_are_the_same(tables: list[CurveTable]) -> None:
    dimensions = Surrogate(tables[0]).dimensions
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        recipe = suggest(trial, dimensions)
        assert params_of(recipe, dimensions) == trial.params


def test_values_outside_the_ranges_are_clipped(tables: list[CurveTable]) -> None:
    dimensions = Surrogate(tables[0]).dimensions
    far = {**tables[0].recipes[0], "optimizer.lr": 100.0, "backbone": "unheard of"}
    study = optuna.create_study()
    study.enqueue_trial(params_of(far, dimensions))
    recipe = suggest(study.ask(), dimensions)
    assert recipe["backbone"] in ("a", "b") and recipe["optimizer.lr"] < 1.0


def test_memory_proposes_good_recipes_and_shuffled_memory_any(tables: list[CurveTable]) -> None:
    earlier = tables[0]
    truth = {str(recipe): value for recipe, value in zip(earlier.recipes, earlier.truth, strict=True)}

    def proposed(shuffled: bool) -> float:
        draws = [remembered(earlier, np.random.default_rng(i), shuffled=shuffled) for i in range(20)]
        return float(np.mean([truth[str(recipe)] for recipes in draws for recipe in recipes]))

    assert proposed(False) > np.quantile(earlier.truth, 0.75) > proposed(True)


def test_every_pair_is_compared_with_the_cold_search(tables: list[CurveTable]) -> None:
    rows = compare(tables, checkpoints=[2, 6], searches=2, seed=0)
    assert [(row["searched"], row["remembered"]) for row in rows] == [
        ("a", "b"),
        ("a", "b, dealt out at random"),
        ("b", "a"),
        ("b", "a, dealt out at random"),
    ]
    assert all(np.shape(row["gains"]) == (2, 2) for row in rows)
