"""How far fine-tuned networks go back to their starting weights, on real trainings of a tiny network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.training.support import after, competition, run
from tests.trainer.training.test_resume import assert_same
from trainer.networks.weight_averaging import MIDDLE, SHARES
from trainer.recipe.recipe import Recipe, RecipeError
from trainer.training.folds.start_shares import choose_shares, losses_of_others
from trainer.training.results import Verdict

WISE: dict[str, Any] = {"init": "shapes", "head": "probe", "norm": "frozen", "wise_ft": True, "epochs": 3}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def predictions(seed: int) -> list[np.ndarray[Any, Any]]:
    """Random predictions of the 30 images of `competition` with each share."""
    generator = np.random.default_rng(seed)
    return [generator.dirichlet(np.ones(3), len(competition().y)).astype(np.float32) for _ in SHARES]


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_the_images_of_a_fold_play_no_part_in_its_choice(seed: int) -> None:
    data = competition()
    proba = predictions(seed)
    before = losses_of_others(data, proba)
    for one in proba:
        one[data.held_out(0)] = one[data.held_out(0)][:, ::-1]
    changed = losses_of_others(data, proba)
    assert np.array_equal(before[0], changed[0])
    assert not np.array_equal(before[1], changed[1])


def test_a_network_that_is_only_less_certain_is_no_better() -> None:
    data = competition()
    logits = 2.0 * np.eye(3)[data.y] + np.random.default_rng(0).normal(size=(len(data.y), 3))
    sharp = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    soft = np.sqrt(sharp)
    soft /= soft.sum(axis=1, keepdims=True)
    for losses in losses_of_others(data, [sharp, soft, sharp, soft]):
        assert losses[:, 0].mean() == pytest.approx(losses[:, 1].mean(), abs=1e-3)


@pytest.mark.parametrize("column", range(len(SHARES)))
def test_a_clearly_better_share_is_chosen(column: int) -> None:
    data = competition()
    proba = predictions(5)
    proba[column] = np.eye(3, dtype=np.float32)[data.y] * 0.9 + 0.1 / 3
    assert choose_shares(losses_of_others(data, proba)) == [SHARES[column]] * data.num_folds


def test_of_shares_that_hardly_differ_the_one_nearest_the_middle_is_chosen() -> None:
    noise = np.random.default_rng(0).normal(size=(100, len(SHARES)))
    assert choose_shares([noise]) == [MIDDLE]
    better_on_average = noise - np.array([0.01, 0.0, 0.0, 0.0])
    assert choose_shares([better_on_average]) == [MIDDLE]
    assert choose_shares([noise - np.array([5.0, 5.0, 0.0, 0.0])]) == [0.25]


def test_a_share_that_predicts_nothing_finite_is_not_chosen() -> None:
    losses = np.tile([1.0, 3.0, 2.0, 4.0], (5, 1))
    losses[:, 0] = np.inf
    assert choose_shares([losses]) == [MIDDLE]
    data = competition()
    proba = predictions(5)
    proba[2][data.held_out(1)] = np.nan
    scores = losses_of_others(data, proba)
    assert np.isinf(scores[0][:, 2]).all() and np.isfinite(scores[1]).all()


def test_images_count_by_their_weights() -> None:
    data = competition()
    proba = predictions(7)
    weights = np.where(np.arange(len(data.y)) % 2, 1.0, 1e-9)
    weighted = losses_of_others(replace(data, image_weights=weights), proba)[0]
    assert np.isclose((weighted > 1e-6).mean(), 0.5, atol=0.1)


def test_without_other_held_out_images_the_share_stays_in_the_middle() -> None:
    data = competition()
    alone = replace(data, folds=np.where(data.folds == 0, 0, -1))
    assert choose_shares(losses_of_others(alone, predictions(1))) == [MIDDLE]


def test_networks_that_training_has_spoilt_go_back(weights: Path) -> None:
    changes = {**WISE, "optimizer.name": "adamw", "optimizer.lr": 3e-3}
    result, plain = (run({**changes, "wise_ft": wise}, weights_dir=weights) for wise in (True, False))
    assert float(result.machine["start_share"]) > 0.0
    assert result.reports[-1].mean_true_probability > plain.reports[-1].mean_true_probability


def test_the_last_report_and_the_networks_are_those_of_the_chosen_shares(weights: Path) -> None:
    data = competition()
    result = run({**WISE, "optimizer.lr": 0.02}, data, weights_dir=weights, keep_models=True)
    true_class = result.oof[np.arange(len(data.y)), data.y]
    assert np.allclose(result.reports[-1].true_class, true_class, atol=1e-6)
    assert result.reports[-1].metric == pytest.approx((result.oof.argmax(axis=1) == data.y).mean())
    again = run({**WISE, "optimizer.lr": 0.02}, data, weights_dir=weights, keep_models=True)
    assert_same(result, again)


def test_a_training_that_ends_early_goes_back_as_well(weights: Path) -> None:
    result = run(WISE, weights_dir=weights, on_epoch=after(2, Verdict.FINISH))
    assert len(result.reports) == 2 and "start_share" in result.machine


def test_without_held_out_images_the_share_stays_in_the_middle(weights: Path) -> None:
    data = competition()
    everything = replace(data, folds=np.full_like(data.folds, -1))
    result = run(WISE, everything, weights_dir=weights, keep_models=True)
    assert "start_share" not in result.machine and len(result.models) == 1


def test_a_random_classifier_has_no_start_to_go_back_to() -> None:
    with pytest.raises(RecipeError, match="head = probe"):
        Recipe.from_flat({**WISE, "head": "random"})
