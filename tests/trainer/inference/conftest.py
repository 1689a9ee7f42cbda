"""A model folder with the smallest network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainer.inference.blend import Blend
from trainer.networks.backbones import preprocessing_of
from trainer.networks.build import create_backbone
from trainer.recipe.recipe import Recipe
from trainer.training.write_model_folder import FolderMember, write_model_folder


@pytest.fixture(scope="package")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, one network, 16-bit images scaled from 0..4095. Tests copy it before they change it."""
    recipe = Recipe.from_flat({"backbone": "test_resnet", "init": "scratch", "image_size": 32})
    torch.manual_seed(0)
    network = create_backbone(recipe, 2, weights_dir=None)
    folder = tmp_path_factory.mktemp("small") / "model"
    write_model_folder(
        folder,
        class_names=("cat", "dog"),
        members=[
            FolderMember(
                recipe=recipe,
                preprocessing=preprocessing_of(recipe.backbone),
                views=("identity",),
                state_dicts={"only": network.state_dict()},
            )
        ],
        blend=Blend(weights=(1.0,)),
        data_fingerprint="f" * 64,
        value_ranges={"integer": (0.0, 4095.0)},
    )
    return folder
