"""No TF32 in what Retable computes in float32, whatever the environment allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.training.support import run
from trainer.inference.networks.views import full_float32, predict_views
from trainer.probing.features import open_features
from trainer.training.folds import fold_model


class Watching(torch.nn.Module):
    """A small network that notes the settings with which it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 5, 3)
        self.fc = torch.nn.Linear(5, 3)
        self.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear", "classifier": "fc"}
        self.num_features, self.seen = 5, set[tuple[str, bool, bool, bool]]()

    def get_classifier(self) -> torch.nn.Module:
        return self.fc

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.add(settings())
        return self.layer(x).mean(dim=(2, 3))

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return x if pre_logits else self.fc(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


def settings() -> tuple[str, bool, bool, bool]:
    """The precision of matrix products, and for cuDNN: TF32, its search, and determinism."""
    cudnn = torch.backends.cudnn
    return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic


@pytest.fixture(autouse=True, params=["high", "medium"])
def everything_allowed(request: pytest.FixtureRequest) -> Iterator[None]:
    """The settings of a container that allows TF32; they are the same afterwards."""
    torch.set_float32_matmul_precision(request.param)
    before = settings()
    assert before[1]
    yield
    assert settings() == before
    torch.set_float32_matmul_precision("highest")


def test_an_error_restores_the_settings() -> None:
    with pytest.raises(KeyError), full_float32(benchmark=True):
        assert settings() == ("highest", False, True, False)
        raise KeyError


def test_predictions_use_no_tf32() -> None:
    network = Watching()
    predict_views(network, np.zeros((3, 8, 8, 3), np.uint8), mean=(0.5,) * 3, std=(0.5,) * 3)
    assert network.seen == {("highest", False, False, True)}


def test_features_use_no_tf32() -> None:
    network = Watching()
    images = np.zeros((3, 8, 8, 3), np.uint8)
    found = open_features(network.eval(), images, images, views=["identity"], folder=None)
    assert found.train["identity"].shape == (3, 5)
    assert {(matmul, tf32) for matmul, tf32, *_ in network.seen} == {("highest", False)}


def test_a_training_uses_no_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    networks: list[Watching] = []

    def create(*args: Any, **options: Any) -> Watching:
        networks.append(Watching())
        return networks[-1]

    monkeypatch.setattr(fold_model, "create_backbone", create)
    assert run({"epochs": 1}).status == "finished"
    seen = set().union(*(network.seen for network in networks))
    assert seen == {("highest", False, True, False), ("highest", False, False, True)}, "training and predictions"
