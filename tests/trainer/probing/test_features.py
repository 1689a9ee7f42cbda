"""Features of frozen backbones: their cache, and which backbones can be probed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from tests.trainer.training.support import shapes
from trainer.common.errors import BackboneError
from trainer.probing import features as features_module
from trainer.probing.features import Features, open_features
from trainer.probing.frozen_backbone import backbone_digest, linear_classifier, pooled_features
from trainer.probing.origin import Origin, find_features


def network(seed: int = 0, name: str = "test_resnet") -> torch.nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(name, num_classes=3).eval()


def opened(model: torch.nn.Module, folder: Path | None, **options: Any) -> Features:
    images, _ = shapes(20)
    return open_features(model, images[:15], images[15:], views=("identity", "hflip"), folder=folder, **options)


def test_features_are_the_input_of_the_classifier_in_every_view() -> None:
    model = network()
    images, _ = shapes(20)
    found = opened(model, None)
    mirrored = open_features(
        model, np.ascontiguousarray(images[:15, :, ::-1]), images[15:], views=("identity",), folder=None
    )
    assert found.train["identity"].shape == (15, linear_classifier(model, 32).in_features)
    assert found.test["hflip"].shape[0] == 5
    assert np.allclose(found.train["hflip"], mirrored.train["identity"], atol=1e-5)
    assert not np.allclose(found.train["hflip"], found.train["identity"], atol=1e-2)


def test_features_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(network(), tmp_path)
    monkeypatch.setattr(features_module, "_compute", lambda *_: pytest.fail("computed again"))
    again = opened(network(), tmp_path)
    assert np.array_equal(again.train["hflip"], first.train["hflip"])
    assert np.array_equal(again.test["identity"], first.test["identity"])
    with pytest.raises(ValueError, match="read-only"):
        again.train["identity"][0] = 0.0


def test_another_classifier_shares_the_features_other_weights_do_not(tmp_path: Path) -> None:
    model = network()
    opened(model, tmp_path)
    files = set(tmp_path.glob("*.npy"))
    with torch.no_grad():
        linear_classifier(model, 32).weight.add_(1.0)
    opened(model, tmp_path)
    assert set(tmp_path.glob("*.npy")) == files
    opened(network(seed=1), tmp_path)
    assert len(set(tmp_path.glob("*.npy"))) == 2 * len(files)


def test_features_of_the_right_shape_that_were_changed_are_computed_again(tmp_path: Path) -> None:
    first = opened(network(), tmp_path)
    for file in tmp_path.glob("*.npy"):
        np.save(file, np.zeros_like(np.load(file)))
    again = opened(network(), tmp_path)
    assert np.array_equal(again.train["identity"], first.train["identity"])


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY broken", b"PK\x03\x04"])
def test_a_damaged_file_is_computed_again(tmp_path: Path, damage: bytes) -> None:
    first = opened(network(), tmp_path)
    for file in tmp_path.glob("*.npy"):
        file.write_bytes(damage)
    again = opened(network(), tmp_path)
    assert np.array_equal(again.train["identity"], first.train["identity"])


def test_the_features_say_what_they_are_of(tmp_path: Path) -> None:
    origin = Origin(fingerprint="f" * 64, backbone="test_resnet", image_size=32)
    opened(network(), tmp_path)
    assert find_features(tmp_path, "f" * 64) == [], "unknown"
    features = opened(network(), tmp_path, origin=origin)
    ((path, found),) = find_features(tmp_path, "f" * 64)
    assert found == origin
    np.testing.assert_array_equal(
        np.load(path), np.concatenate([features.train["identity"], features.test["identity"]])
    )


def test_a_folder_that_cannot_be_written_to_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    found = opened(network(), tmp_path / "file" / "features")
    assert np.array_equal(found.train["identity"], opened(network(), None).train["identity"])


def test_an_interrupted_pass_leaves_no_file(tmp_path: Path) -> None:
    class Left(Exception):
        pass

    def leave(share: float) -> None:
        raise Left

    with pytest.raises(Left):
        opened(network(), tmp_path, before_batch=leave)
    assert not list(tmp_path.glob("*.npy"))
    opened(network(), tmp_path)


def test_damaged_weights_are_an_error() -> None:
    model = network()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(BackboneError, match="not finite"):
        opened(model, None)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet", "test_byobnet"])
def test_features_and_classifier_make_the_network(name: str) -> None:
    model = network(name=name)
    size = 160 if name == "test_vit" else 64
    pixels = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = model(pixels)
        assert torch.allclose(linear_classifier(model, size)(pooled_features(model, pixels)), expected, atol=1e-4)


def test_a_backbone_with_another_classifier_cannot_be_probed() -> None:
    convolution = timm.create_model("vgg11", num_classes=3)
    convolution.head.fc = torch.nn.Conv2d(512, 3, 1)
    with pytest.raises(BackboneError, match="no single linear layer"):
        linear_classifier(convolution.eval(), 32)
    more = network()
    more.forward = lambda pixels: 2 * type(more).forward(more, pixels)  # type: ignore[method-assign]
    with pytest.raises(BackboneError, match="more than a linear layer"):
        linear_classifier(more, 32)


def test_the_digest_leaves_the_classifier_out() -> None:
    assert backbone_digest(network()) == backbone_digest(network())
    assert backbone_digest(network()) != backbone_digest(network(seed=1))


@pytest.mark.parametrize(
    "problem", ["CUDA out of memory", "GET was unable to find an engine to execute this computation"]
)
def test_features_are_computed_from_fewer_images_when_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    model, whole = network(), opened(network(), None)
    compute, asked = features_module.pooled_features, list[int]()

    def small(model: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        asked.append(len(pixels))
        if len(pixels) > 5:
            raise RuntimeError(problem)
        return compute(model, pixels)

    monkeypatch.setattr(features_module, "pooled_features", small)
    found = opened(model, None)
    assert asked[:4] == [15, 15, 15, 8]
    assert max(asked[5:]) == 4
    for view, values in whole.train.items():
        assert np.allclose(found.train[view], values, atol=1e-5)
    monkeypatch.setattr(features_module, "pooled_features", lambda *_: (_ for _ in ()).throw(RuntimeError(problem)))
    with pytest.raises(RuntimeError, match=problem):
        opened(model, None)
