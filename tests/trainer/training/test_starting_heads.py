"""Fine-tunings that begin with the classifiers of a linear probe, and frozen normalisation layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.training.support import ArrayPixels, after, competition, run, shapes
from tests.trainer.training.test_resume import assert_same
from trainer.common.errors import BackboneError
from trainer.networks.freezing import freeze, train_mode
from trainer.probing import features as features_module
from trainer.recipe.recipe import Recipe, RecipeError
from trainer.training import cross_validation as cross_validation_module
from trainer.training.results import ALWAYS_TRAINED, TrainingData, Verdict

LPFT: dict[str, Any] = {"init": "shapes", "head": "probe", "norm": "frozen", "tta": "hflip"}
PROBE: dict[str, Any] = {"init": "shapes", "method": "linear_probe", "epochs": 1, "tta": "hflip"}
STANDING: dict[str, Any] = {"epochs": 1, "optimizer.lr": 1e-8}
"""A training that changes nothing that could be seen."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    "changes",
    [{}, {"tta": "none", "balance": 1.0}, {"loss.class_weight": 0.5, "ema": 0.9}, {"wise_ft": True}],
    ids=str,
)
def test_a_training_begins_at_the_score_of_the_probe(weights: Path, changes: dict[str, Any]) -> None:
    data = competition()
    probe = run({**PROBE, **{n: v for n, v in changes.items() if n != "wise_ft"}}, data, weights_dir=weights)
    begun = run({**LPFT, **STANDING, **changes}, data, weights_dir=weights)
    assert probe.reports[0].metric == begun.reports[0].metric
    assert np.allclose(probe.oof, begun.oof, atol=1e-4)
    assert np.allclose(probe.reports[0].true_class, begun.reports[0].true_class, atol=1e-4)
    assert probe.test is not None and begun.test is not None
    assert np.allclose(probe.test, begun.test, atol=1e-4)


def test_a_random_head_begins_elsewhere(weights: Path) -> None:
    random, fitted = (
        run({**LPFT, **STANDING, "head": head}, weights_dir=weights).reports[0].mean_true_probability
        for head in ("random", "probe")
    )
    assert fitted > random + 0.1


def test_batch_statistics_leave_the_score_of_the_probe(weights: Path) -> None:
    """Only frozen statistics keep it: batches of these images have others than the starting weights."""
    frozen, batch = (run({**LPFT, **STANDING, "norm": norm}, weights_dir=weights).oof for norm in ("frozen", "batch"))
    assert not np.allclose(frozen, batch, atol=1e-3)


def test_each_head_learns_from_its_own_training_part(weights: Path) -> None:
    """Other labels of the held-out images change nothing of what is predicted for them."""
    data = competition()
    rows = data.held_out(1)
    y = data.y.copy()
    y[rows] = (y[rows] + 1) % 3
    first, second = (
        run({**LPFT, **STANDING}, one, weights_dir=weights, predict_test=False).oof
        for one in (data, replace(data, y=y))
    )
    assert np.array_equal(first[rows], second[rows])
    others = np.setdiff1d(np.arange(len(y)), rows)
    assert not np.allclose(first[others], second[others], atol=1e-4)


def test_it_learns_on_from_there(weights: Path) -> None:
    data = competition(n=120)
    noise = np.random.default_rng(0).normal(scale=120.0, size=data.pixels.train.shape)
    noisy = (data.pixels.train + noise).clip(0, 255).astype(np.uint8)  # so that the probe leaves something to learn
    data = replace(data, pixels=ArrayPixels(noisy, data.pixels.test))
    result = run({**LPFT, "epochs": 4, "optimizer.lr": 1e-3}, data, weights_dir=weights)
    assert result.reports[-1].mean_true_probability > result.reports[0].mean_true_probability
    assert result.reports[-1].train_loss < result.reports[0].train_loss


def test_without_held_out_images_one_network_begins_with_a_head(weights: Path) -> None:
    images, y = shapes(40)
    everything = TrainingData(
        pixels=ArrayPixels(images, images[:4]), y=y, folds=np.full(40, ALWAYS_TRAINED), num_classes=3
    )
    probe, begun = (run(one, everything, weights_dir=weights) for one in (PROBE, {**LPFT, **STANDING}))
    assert probe.test is not None and begun.test is not None
    assert np.allclose(probe.test, begun.test, atol=1e-4)


def test_a_resumed_training_fits_no_heads_and_equals_an_undisturbed_one(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {**LPFT, "drop": 0.2, "ema": 0.9, "augment.rotate": 10.0}
    path = tmp_path / "trial.pt"
    undisturbed = run(recipe, weights_dir=weights)
    calls = []
    fit = cross_validation_module.starting_heads
    monkeypatch.setattr(
        cross_validation_module, "starting_heads", lambda *args, **options: calls.append(1) or fit(*args, **options)
    )
    stopped = run(recipe, weights_dir=weights, checkpoint=path, on_epoch=after(1, Verdict.STOP))
    assert (stopped.status, calls) == ("stopped", [1])
    assert_same(undisturbed, run(recipe, weights_dir=weights, checkpoint=path))
    assert calls == [1]


def test_a_damaged_checkpoint_begins_with_the_heads_again(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "trial.pt"
    run(LPFT, weights_dir=weights, checkpoint=path, on_epoch=after(2, Verdict.STOP))
    path.write_bytes(path.read_bytes()[:-2000])
    assert_same(run(LPFT, weights_dir=weights), run(LPFT, weights_dir=weights, checkpoint=path))


def test_a_second_training_and_a_probe_read_the_features(weights: Path, tmp_path: Path) -> None:
    data = replace(competition(), features=tmp_path)
    first = run(LPFT, data, weights_dir=weights)
    files = {path: path.stat().st_ino for path in tmp_path.glob("*.npy")}
    assert len(files) == 2  # of the two views
    again = run(LPFT, data, weights_dir=weights)
    run(PROBE, data, weights_dir=weights)
    assert {path: path.stat().st_ino for path in tmp_path.glob("*.npy")} == files
    assert_same(first, again)


def test_the_feature_pass_can_be_abandoned(weights: Path) -> None:
    asked: list[bool] = []
    result = run(LPFT, weights_dir=weights, abandon=lambda: bool(asked.append(True)) or True)
    assert asked == [True]
    assert (result.status, result.reports) == ("stopped", ())
    assert np.isnan(result.oof).all()


def test_the_feature_pass_passes_exceptions_on_and_counts_as_no_progress(weights: Path) -> None:
    shares: list[float] = []
    run({**LPFT, "epochs": 1}, weights_dir=weights, on_batch=shares.append)
    without: list[float] = []
    run({**LPFT, "epochs": 1, "head": "random"}, weights_dir=weights, on_batch=without.append)
    added = len(shares) - len(without)
    assert added > 0
    assert shares == [0.0] * added + without

    def late(share: float) -> None:
        raise TimeoutError("too late")

    with pytest.raises(TimeoutError, match="too late"):
        run(LPFT, weights_dir=weights, on_batch=late)


def test_a_feature_pass_that_does_not_fit_halves_its_batch(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(LPFT, weights_dir=weights)
    compute, sizes = features_module._batch_features, []

    def small(model: Any, images: Any, *rest: Any) -> Any:
        sizes.append(len(images))
        if len(images) > 16:
            raise torch.OutOfMemoryError
        return compute(model, images, *rest)

    monkeypatch.setattr(features_module, "_batch_features", small)
    result = run(LPFT, weights_dir=weights)
    assert sizes[:3] == [64, 32, 16]
    assert np.allclose(result.oof, expected.oof, atol=1e-3)


def test_a_backbone_that_cannot_be_probed_says_so(tmp_path: Path) -> None:
    """The classifier of this network has two heads."""
    import timm

    name = "deit_tiny_distilled_patch16_224"
    torch.save(timm.create_model(name, num_classes=3).state_dict(), tmp_path / "mine.pth")
    recipe = {"backbone": name, "image_size": 224, "init": "mine", "head": "probe"}
    images = competition(12, size=224)
    with pytest.raises(BackboneError, match=f"cannot be probed.*; {name} needs head = random"):
        run(recipe, images, weights_dir=tmp_path)


@pytest.mark.parametrize(("field", "value"), [("head", "probe"), ("norm", "frozen")])
def test_random_weights_are_refused(field: str, value: str) -> None:
    with pytest.raises(RecipeError, match=rf"{field} = {value} excludes init = scratch.*; set {field} = "):
        Recipe.from_flat({"init": "scratch", field: value})


def test_a_recipe_from_before_these_settings_means_what_it_meant() -> None:
    old = {name: value for name, value in Recipe().to_flat().items() if name not in ("head", "norm")}
    recipe = Recipe.from_flat(old)
    assert (recipe.head, recipe.norm) == ("random", "batch")


def test_frozen_norms_keep_their_statistics_and_learn_their_scales(weights: Path) -> None:
    start = torch.load(weights / "shapes.pth", weights_only=True)
    frozen, batch = (
        run({**LPFT, "norm": norm, "epochs": 2}, weights_dir=weights, keep_models=True).models[0]
        for norm in ("frozen", "batch")
    )
    statistics = [name for name in start if ".running_" in name or name.endswith("num_batches_tracked")]
    assert statistics
    assert all(torch.equal(start[name], frozen[name]) for name in statistics)
    assert not any(torch.equal(start[name], batch[name]) for name in statistics)
    scales = [name for name in start if "bn" in name and name.endswith((".weight", ".bias"))]
    assert scales
    assert not any(torch.equal(start[name], frozen[name]) for name in scales)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_classifiers_own_statistics_learn_with_frozen_norms(share: float) -> None:
    """No earlier training has made them."""
    import timm

    model = timm.create_model("levit_128s", num_classes=3)
    train_mode(model, freeze(model, Recipe.from_flat({"norm": "frozen", "freeze": share})))
    norms = {name for name, part in model.named_modules() if hasattr(part, "running_mean") and part.training}
    assert norms == {"head.bn", "head_dist.bn"}
    assert any(part.training for name, part in model.named_modules() if name not in norms)


def test_networks_without_running_statistics_are_unchanged_by_frozen_norms() -> None:
    import timm

    model = timm.create_model("test_vit", num_classes=3)
    assert freeze(model, Recipe.from_flat({"norm": "frozen"})) == ()
