"""A frozen backbone: the part of a network below its classifier, and the classifier as one linear layer."""

from __future__ import annotations

import hashlib
import importlib.metadata
from typing import Any

import torch

from trainer.common.errors import BackboneError
from trainer.networks.layers import classifier_tensors
from trainer.probing.linear_head import LinearHead

_TOLERANCE = 1e-3  # of the comparison in `linear_classifier`, relative and absolute


def pooled_features(model: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """The input of the classifier for a batch of normalised images: shape (n, d).

    Raises:
        BackboneError: the model does not separate features and classifier, or its features are no vectors.
    """
    network: Any = model
    if not hasattr(network, "forward_features") or not hasattr(network, "forward_head"):
        raise BackboneError(f"{type(model).__name__} cannot be probed: it does not separate features and classifier")
    features = network.forward_head(network.forward_features(pixels), pre_logits=True)
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise BackboneError(f"{type(model).__name__} cannot be probed: its features are no vector for each image")
    return features


def linear_classifier(model: torch.nn.Module, size: int) -> torch.nn.Linear:
    """The classifier of ``model``: a linear layer on `pooled_features`. Compared with the model on two random images.

    Args:
        size: side of the images in pixels.

    Raises:
        BackboneError: the classifier is something else, such as a convolution or two heads.
    """
    network: Any = model
    layer = network.get_classifier() if hasattr(network, "get_classifier") else None
    if not isinstance(layer, torch.nn.Linear) or layer.bias is None:
        raise BackboneError(f"{type(model).__name__} cannot be probed: its classifier is no single linear layer")
    was_training = model.training
    noise = torch.Generator().manual_seed(0)
    weight = next(model.parameters())
    pixels = torch.randn(2, 3, size, size, generator=noise).to(weight.device)
    model.eval()
    with torch.no_grad():
        features = pooled_features(model, pixels)
        same = features.shape[1] == layer.in_features and torch.allclose(
            layer(features), network(pixels), rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True
        )
    model.train(was_training)
    if not same:
        raise BackboneError(f"{type(model).__name__} cannot be probed: more than a linear layer follows its features")
    return layer


@torch.no_grad()
def install_head(model: torch.nn.Module, head: LinearHead) -> None:
    """Copy ``head`` into the classifier of ``model``, for which `linear_classifier` has returned a layer before."""
    network: Any = model
    layer = network.get_classifier()
    layer.weight.copy_(head.weight)
    layer.bias.copy_(head.bias)


def backbone_digest(model: torch.nn.Module) -> str:
    """SHA-256 (hex) of all weights below the classifier, and of the versions of the libraries that compute with them.

    Raises:
        BackboneError: the model does not say which layer is its classifier.
    """
    above = classifier_tensors(model)
    digest = hashlib.sha256(type(model).__name__.encode())
    for library in ("torch", "timm"):
        digest.update(importlib.metadata.version(library).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if name not in above:
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
