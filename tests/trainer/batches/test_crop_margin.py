"""Random crops, and nothing else, are cut from images larger than the network's input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.trainer.training.support import SMALL, ArrayPixels, after, competition, run
from trainer.batches.augmenter import Augmenter, Image
from trainer.batches.batch_loader import BatchLoader
from trainer.batches.batch_plan import BatchPlan
from trainer.batches.pixel_cache import side_to_crop_from
from trainer.common.randomness import random_key
from trainer.inference.images import resize_image
from trainer.recipe.recipe import Augment, Recipe
from trainer.training.cross_validation import training_identity
from trainer.training.results import TrainingData, Verdict

CROP = {"augment.crop": 0.6}


def larger(data: TrainingData) -> TrainingData:
    """The same images, with a margin."""
    images = np.stack([resize_image(image, 40, "squash", "bicubic") for image in data.pixels.train])
    return replace(data, cropped=ArrayPixels(images, images[:0]))


@pytest.mark.parametrize(("size", "side"), [(224, 280), (32, 40), (100, 128), (8, 16), (384, 480)])
def test_the_margin_is_a_quarter_up_to_a_multiple_of_eight(size: int, side: int) -> None:
    assert side_to_crop_from(size) == side


def fine_picture(seed: int, side: int = 512) -> Image:
    """Grain of several sizes, down to what 64 pixels can just show."""
    generator = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Pillow.fromarray(generator.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize(
                (side, side), Pillow.Resampling.BICUBIC
            )
        )
        for n in (8, 32, 64, 96)
    ]
    return np.mean(layers, axis=0).astype(np.uint8)


def likeness(source: Image, original: Image, augmenter: Augmenter, key: int) -> float:
    """Correlation of a crop with the same part of the original, resized as well as can be."""
    crop = augmenter.apply(source, key)
    scale = len(original) / len(source)
    left, top, right, bottom = (scale * edge for edge in augmenter._transforms[0].params["crop_coords"])
    truth = Pillow.fromarray(original).resize(crop.shape[:2], Pillow.Resampling.BICUBIC, box=(left, top, right, bottom))
    return float(np.corrcoef(crop.ravel(), np.asarray(truth).ravel())[0, 1])


def test_crops_from_the_margin_show_more_detail() -> None:
    augmenter = Augmenter(Augment(strengths={"crop": 0.7}), 64)
    exact, margin = [], []
    for seed in range(6):
        original = fine_picture(seed)
        for side, found in ((64, exact), (side_to_crop_from(64), margin)):
            source = resize_image(original, side, "squash", "bicubic")
            found += [likeness(source, original, augmenter, random_key(seed, i)) for i in range(10)]
    assert np.mean(margin) > np.mean(exact) + 0.02
    assert np.mean(np.array(margin) > np.array(exact)) > 0.8


def test_a_stream_cuts_the_networks_size_out_of_larger_images() -> None:
    data = larger(competition())
    assert data.cropped is not None
    plan = BatchPlan(indices=np.array([3, 1]), keys=(5, 6))
    settings = Augment(strengths={"crop": 0.6})
    with BatchLoader() as loader:
        (batch,) = loader.stream(data.cropped, settings, 32, [[plan]])
    assert batch.shape == (2, 32, 32, 3)
    assert np.array_equal(batch[1], Augmenter(settings, 32).apply(data.cropped.train[1], 6))


@pytest.mark.slow
def test_only_a_recipe_that_crops_reads_them() -> None:
    plain, data = competition(), larger(competition())
    assert run({"epochs": 1}, data).oof.tobytes() == run({"epochs": 1}, plain).oof.tobytes()
    cropped = {**CROP, "epochs": 1}
    assert run(cropped, data).oof.tobytes() != run(cropped, plain).oof.tobytes()


def test_held_out_images_are_seen_at_the_exact_size() -> None:
    """The same weights, though training images differ: nothing learned with a rate of almost 0."""
    still = {**CROP, "epochs": 1, "optimizer.lr": 1e-8, "optimizer.weight_decay": 0.0, "batch_size": 64}
    learnt_nothing = run({**still, "backbone": "test_vit"}, larger(competition())).oof
    assert np.allclose(learnt_nothing, run({**still, "backbone": "test_vit"}, competition()).oof, atol=1e-4)


@pytest.mark.slow
def test_a_training_continues_only_with_the_images_that_it_began_with(tmp_path: Path) -> None:
    plain, data = competition(), larger(competition())
    crops, whole = Recipe.from_flat({**SMALL, **CROP}), Recipe.from_flat(SMALL)
    assert training_identity(crops, data, "accuracy", 0) != training_identity(crops, plain, "accuracy", 0)
    assert training_identity(whole, data, "accuracy", 0) == training_identity(whole, plain, "accuracy", 0)
    undisturbed = run(CROP, data)
    file = tmp_path / "checkpoint"
    assert run(CROP, data, checkpoint=file, on_epoch=after(1, Verdict.STOP)).status == "stopped"
    assert run(CROP, data, checkpoint=file).oof.tobytes() == undisturbed.oof.tobytes()


def test_another_number_of_larger_images_is_refused() -> None:
    data = competition()
    images = np.zeros((5, 40, 40, 3), np.uint8)
    with pytest.raises(ValueError, match="72 images, but 5 to crop from"):
        replace(data, cropped=ArrayPixels(images, images[:0]))
