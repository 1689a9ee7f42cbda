"""Linear probes as cross-validations: their networks, their scores, and their end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.training.support import ArrayPixels, competition, go_on, run, shapes
from trainer.networks.backbones import preprocessing_of
from trainer.networks.build import create_backbone
from trainer.networks.view_averaging import average_views, predict_proba
from trainer.recipe.recipe import Recipe
from trainer.training.cross_validation import cross_validate
from trainer.training.results import ALWAYS_TRAINED, CVResult, TrainingData

PROBE: dict[str, Any] = {"method": "linear_probe", "epochs": 1, "tta": "hflip"}


def networks(result: CVResult) -> list[torch.nn.Module]:
    found = []
    for state in result.models:
        model = create_backbone(
            Recipe.from_flat({"backbone": "test_resnet", "init": "scratch", "image_size": 32}), 3, weights_dir=None
        )
        model.load_state_dict(state)
        found.append(model)
    return found


def predicted(model: torch.nn.Module, images: Any) -> Any:
    views = ("identity", "hflip")
    return average_views(predict_proba(model, images, preprocessing=preprocessing_of(model), views=views), views)


def test_a_fold_model_is_an_ordinary_network_that_predicts_the_same() -> None:
    data = competition()
    result = run(PROBE, data, keep_models=True)
    models = networks(result)
    for fold, model in enumerate(models):
        rows = data.held_out(fold)
        assert np.allclose(predicted(model, data.pixels.train[rows]), result.oof[rows], atol=1e-5)
    mean = np.mean([predicted(model, data.pixels.test) for model in models], axis=0)
    assert result.test is not None
    assert np.allclose(mean, result.test, atol=1e-5)


def test_it_learns_from_random_features() -> None:
    result = run(PROBE, competition(n=240))
    assert result.status == "finished"
    assert result.reports[0].metric > 0.55  # 1/3 by chance
    assert len(result.reports) == 1
    assert result.average is not None


def test_pretrained_features_beat_random_ones(tmp_path: Path) -> None:
    """A checkpoint of a network that has learnt the same three things."""
    trained = run({"epochs": 8}, competition(n=240, seed=5), keep_models=True)
    torch.save(trained.models[0], tmp_path / "shapes.pth")
    data = competition(n=120)
    random, pretrained = (run({**PROBE, "init": init}, data, weights_dir=tmp_path) for init in ("scratch", "shapes"))
    assert pretrained.reports[0].mean_true_probability > random.reports[0].mean_true_probability
    assert len(str(pretrained.machine["init_sha256"])) == 16


def test_without_held_out_images_there_is_one_network_and_no_score() -> None:
    images, y = shapes(40)
    everything = TrainingData(
        pixels=ArrayPixels(images, images[:4]), y=y, folds=np.full(40, ALWAYS_TRAINED), num_classes=3
    )
    result = run(PROBE, everything, keep_models=True)
    assert len(result.models) == 1
    assert np.isnan(result.reports[0].metric)
    assert result.average is None
    assert result.test is not None


def test_a_second_probe_reads_the_features(tmp_path: Path) -> None:
    data = replace(competition(), features=tmp_path)
    shares: list[float] = []
    first = run(PROBE, data, on_batch=shares.append)
    assert shares
    files = sorted(path.stat().st_ino for path in tmp_path.glob("*.npy"))
    shares.clear()
    again = run(PROBE, data, on_batch=shares.append)
    assert shares == []
    assert sorted(path.stat().st_ino for path in tmp_path.glob("*.npy")) == files
    assert np.array_equal(first.oof, again.oof)


def test_it_is_abandoned_between_batches() -> None:
    result = run(PROBE, abandon=lambda: True)
    assert result.status == "stopped"
    assert result.reports == ()
    assert not np.isfinite(result.oof).any()


def test_what_is_not_worth_keeping_has_no_networks() -> None:
    result = run(PROBE, keep_models=True, worth_keeping=lambda report, average: False, predict_test="if kept")
    assert result.models == ()
    assert result.test is None
    assert result.status == "finished"


@pytest.mark.parametrize("setting", ["loss.class_weight", "balance"])
def test_class_weights_make_the_rare_class_more_probable(setting: str) -> None:
    images, y = shapes(300)
    rare = np.flatnonzero((y != 0) | (np.arange(300) % 6 == 0))
    data = TrainingData(
        pixels=ArrayPixels(images[rare], images[:0]),
        y=y[rare],
        folds=np.arange(len(rare), dtype=np.int64) % 3,
        num_classes=3,
    )
    plain, weighted = (run({**PROBE, **changes}, data).oof for changes in ({}, {setting: 1.0}))
    assert weighted[:, 0].mean() > plain[:, 0].mean()


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    cross_validate(
        Recipe.from_flat({"backbone": "test_resnet", "init": "scratch", "image_size": 32, **PROBE}),
        competition(),
        metric="accuracy",
        seed=0,
        device="cpu",
        on_epoch=go_on,
        checkpoint=None,
    )
    assert torch.equal(torch.get_rng_state(), before)
