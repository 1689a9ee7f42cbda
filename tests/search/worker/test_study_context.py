"""The training data of a recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.worker.study_context import training_data
from trainer.data.image_set import ImageSet
from trainer.data.read import read_images
from trainer.recipe.recipe import Recipe

SMALL = {"backbone": "test_resnet", "image_size": 32}


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    generator = np.random.default_rng(0)
    for number in range(8):
        file = tmp_path / "data" / "train" / ("cat" if number % 2 else "dog") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (64, 48, 3), dtype=np.uint8)).save(file)
    return read_images(tmp_path / "data", verify=False)


def test_a_recipe_with_crops_gets_larger_training_images(images: ImageSet, tmp_path: Path) -> None:
    folds = np.arange(8) % 2
    plain, crops = (Recipe.from_flat({**SMALL, "augment.crop": strength}) for strength in (0.0, 0.4))
    data = training_data(images, plain, folds, tmp_path / "pixels")
    assert data.cropped is None
    assert data.training_source(plain) is data.pixels
    assert len(list((tmp_path / "pixels").glob("*.npy"))) == 1

    data = training_data(images, crops, folds, tmp_path / "pixels")
    assert data.cropped is not None
    assert data.training_source(crops) is data.cropped
    assert data.training_source(plain) is data.pixels
    assert data.cropped.train.shape == (8, 40, 40, 3)
    assert data.pixels.train.shape == (8, 32, 32, 3)
