"""Passes of images: as many as real trainings make, and what follows for the length of the predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search.study_state.training_costs import passes
from search.worker.limits.image_passes import START_SHARES, STEP, ImagePasses
from tests.trainer.training.support import SMALL, run
from trainer.inference.networks.common_layers import Together
from trainer.networks.view_averaging import FLIPS
from trainer.networks.weight_averaging import SHARES
from trainer.recipe.recipe import Recipe
from trainer.training.folds.fold_predictor import FoldPredictor

RECIPE = Recipe.from_flat(SMALL)
IMAGES = ImagePasses.of_folds(72, 12, 3)
"""Of the small competition in `tests.trainer.training.support`."""

FROM_START: dict[str, Any] = {"init": "shapes", "head": "probe", "norm": "frozen", "epochs": 2, "wise_ft": True}
FROZEN_BELOW: dict[str, Any] = {**FROM_START, "freeze": 0.5}


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ({"epochs": 2}, False),
        ({"epochs": 2}, True),
        ({"epochs": 2, "tta": "hflip"}, False),
        (FROM_START, True),
        (FROZEN_BELOW, True),
        (FROZEN_BELOW, False),
    ],
)
def test_a_real_training_predicts_so_many_images(
    changes: dict[str, Any], plain: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = run({"epochs": 1}, keep_models=True)
    torch.save({k: v for k, v in trained.models[0].items() if not k.startswith("fc.")}, tmp_path / "shapes.pth")
    counted, predict = 0.0, FoldPredictor.predict
    recipe = Recipe.from_flat({**SMALL, **changes})

    def counting(
        self: FoldPredictor, network: Any, model: Any, images: Any, rows: Any, views: Any, *rest: Any, **how: Any
    ) -> Any:
        nonlocal counted
        together = len(network.networks) if isinstance(network, Together) else 1
        counted += len(rows) * len(views) * (1.0 + (together - 1) * (1.0 - recipe.freeze))
        return predict(self, network, model, images, rows, views, *rest, **how)

    monkeypatch.setattr(FoldPredictor, "predict", counting)
    # The most that it may be: test images are not predicted with views that do not help.
    monkeypatch.setattr("trainer.training.final_predictions.helpful_views", lambda targets, oof_views: tuple(oof_views))
    run(changes, weights_dir=tmp_path, views=("identity",) if plain or recipe.tta != "none" else FLIPS)
    steps = STEP * passes(recipe.freeze) * IMAGES.trained
    epoch = steps * IMAGES.evaluation(recipe)
    after_epochs = recipe.epochs * (epoch - steps)
    assert counted == pytest.approx(after_epochs + IMAGES.predictions(recipe, plain=plain) * epoch)


def test_images_of_all_networks_are_counted() -> None:
    assert ImagePasses(trained=144, held_out=72, test=36, networks=3) == IMAGES
    assert ImagePasses.of_folds(72, 12, 1) == ImagePasses(trained=72, held_out=0, test=12)
    assert len(SHARES) - 1 == START_SHARES


@given(images=st.integers(10, 10_000), test=st.integers(0, 100_000), folds=st.integers(1, 10), plain=st.booleans())
def test_predictions_grow_with_the_test_images_alone(images: int, test: int, folds: int, plain: bool) -> None:
    own, more = (ImagePasses.of_folds(images, number, folds) for number in (test, test + 100))
    assert more.predictions(RECIPE, plain=plain) > own.predictions(RECIPE, plain=plain) >= 0.0
    assert more.evaluation(RECIPE) == own.evaluation(RECIPE) >= 1.0
    assert own.predictions(RECIPE, plain=True) <= own.predictions(RECIPE, plain=False)
    probe = RECIPE.replace({"method": "linear_probe", "epochs": 1})
    assert more.predictions(probe, plain=plain) == own.predictions(probe, plain=plain) < 1.0


def test_frozen_layers_shorten_epochs_and_the_predictions_of_the_test_images() -> None:
    frozen = RECIPE.replace({"freeze": 0.75, "init": "pretrained", "norm": "frozen"})
    lengths = [IMAGES.evaluation(recipe) * STEP * (0.5 if recipe is frozen else 1.0) for recipe in (RECIPE, frozen)]
    seconds = [
        IMAGES.predictions(recipe, plain=True) * length
        for recipe, length in zip((RECIPE, frozen), lengths, strict=True)
    ]
    # Of three networks, three quarters run once: 1.5 passes in place of 3.
    assert seconds[0] == pytest.approx(2 * seconds[1]) and lengths[1] < lengths[0]


def test_thousands_of_test_images_take_longer_than_an_epoch() -> None:
    assert ImagePasses.of_folds(400, 10_000, 5).predictions(RECIPE, plain=True) > 9.0
