"""How far fine-tuned networks go back to their starting weights, on real trainings of a tiny network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.trainer.training.support import after, competition, run
from tests.trainer.training.test_resume import assert_same
from trainer.networks.weight_averaging import MIDDLE, SHARES
from trainer.recipe.recipe import Recipe, RecipeError
from trainer.training.folds.start_shares import choose_shares
from trainer.training.results import Verdict

WISE: dict[str, Any] = {"init": "shapes", "head": "probe", "norm": "frozen", "wise_ft": True, "epochs": 3}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``shapes``, trained weights of the tests' network, without a classifier."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("weights")
    trained = run({"epochs": 3}, competition(n=120, seed=5), keep_models=True)
    body = {name: tensor for name, tensor in trained.models[0].items() if not name.startswith("fc.")}
    torch.save(body, folder / "shapes.pth")
    return folder


@given(losses=arrays(np.float64, (4, len(SHARES)), elements=st.floats(0.01, 100.0)))
def test_a_fold_takes_the_share_that_is_best_for_the_others(losses: np.ndarray[Any, Any]) -> None:
    chosen = choose_shares(losses)
    for fold, share in enumerate(chosen):
        others = losses[[other for other in range(4) if other != fold]].sum(axis=0)
        assert others[SHARES.index(share)] == pytest.approx(others.min())
    own = losses.copy()
    own[0] = own[0][::-1]
    assert choose_shares(own)[0] == chosen[0], "its own images play no part"


def test_a_share_that_predicts_nothing_finite_is_not_chosen() -> None:
    losses = np.tile([1.0, 2.0, 3.0, 4.0], (3, 1))
    losses[1, 0] = np.nan
    assert choose_shares(losses) == [0.25, 0.0, 0.25]


def test_without_other_held_out_images_the_share_stays_in_the_middle() -> None:
    assert choose_shares(np.array([[1.0, 2.0, 3.0, 4.0]])) == [MIDDLE]
    assert choose_shares(np.zeros((3, 4))) == [MIDDLE] * 3


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
