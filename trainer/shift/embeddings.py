"""Image embeddings: pooled features of a frozen pre-trained network, taken before its classifier."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.common.environment import usable_cores
from trainer.common.errors import DataError
from trainer.data.images import Images
from trainer.data.inspection import Progress
from trainer.inference.errors import ImageError
from trainer.inference.images import Normaliser, resize_image

if TYPE_CHECKING:
    import torch

EXTRACTORS: dict[str, int] = {
    "vit_small_patch14_dinov2.lvd142m": 224,
    "vit_small_patch14_reg4_dinov2.lvd142m": 224,
    "vit_base_patch14_dinov2.lvd142m": 224,
    "vit_base_patch16_clip_224.openai": 224,
    "convnext_tiny.fb_in22k": 224,
    "convnext_tiny.in12k": 224,
    "convnext_tiny.fb_in22k_ft_in1k": 224,
    "resnet50.a1_in1k": 224,
    "resnet18.a1_in1k": 224,
}
"""Backbones with good frozen features, and the side of their input images in pixels, in order of preference.

Self-supervised and broadly trained backbones come first.
"""
BATCH = 32  # images per forward pass


def available_extractor(weights_dir: Path | None, names: Iterable[str] = tuple(EXTRACTORS)) -> str | None:
    """The first of ``names`` whose weights are in ``weights_dir`` or in the local cache; None if there is none.

    The hub is not asked, so that a mere check downloads nothing.

    Raises:
        BackboneError: ``weights_dir`` does not exist.
    """
    from trainer.networks.pretrained import find_pretrained_weights

    return next((name for name in names if find_pretrained_weights(name, weights_dir, ask_hub=False)), None)


def load_extractor(
    name: str, weights_dir: Path | None, device: torch.device | str = "cpu"
) -> tuple[torch.nn.Module, int]:
    """Build a pre-trained backbone without its classifier, in evaluation mode on ``device``.

    Returns:
        The network, and the side of its input images in pixels: the one of `EXTRACTORS`, else timm's.

    Raises:
        BackboneError: the backbone is unknown, or its weights are not on this machine or do not fit.
    """
    from timm.models import get_pretrained_cfg

    from trainer.common.errors import BackboneError
    from trainer.networks.backbones import size_arguments
    from trainer.networks.pretrained import create_pretrained, load_pretrained_weights

    state = load_pretrained_weights(name, weights_dir)
    config = get_pretrained_cfg(name)
    if config is None:
        raise BackboneError(f"timm has no configuration for {name}")
    size = EXTRACTORS.get(name, config.input_size[-1])
    model = create_pretrained(name, state, 0, size_arguments(name, size))
    return model.eval().to(device), size


def embed(
    model: torch.nn.Module, images: Images, *, size: int, progress: Progress | None = None
) -> NDArray[np.float32]:
    """Pooled features of every image: float32 ``(n, d)``.

    Images are resized to ``size`` x ``size`` without keeping the aspect ratio, and normalised as the network expects.
    The network computes in float32 on the device where it is.

    Raises:
        DataError: images that cannot be read. Every one is named.
        BackboneError: the network does not return one vector per image, or returns values that are not finite.
    """
    import torch

    from trainer.common.errors import BackboneError
    from trainer.networks.backbones import preprocessing_of

    preprocessing = preprocessing_of(model)
    device = next(model.parameters()).device
    normaliser = Normaliser(preprocessing.mean, preprocessing.std, size, device)
    problems: list[str] = []
    parts: list[NDArray[np.float32]] = []

    def read(index: int) -> NDArray[np.uint8] | str:
        try:
            return resize_image(images.read(index), size, "squash", preprocessing.interpolation)
        except ImageError as error:
            return f"{images.name(index)}: {error}"

    with ThreadPoolExecutor(usable_cores()) as pool, torch.no_grad():
        for start in range(0, len(images), BATCH):
            batch: list[Any] = list(pool.map(read, range(start, min(start + BATCH, len(images)))))
            problems += [problem for problem in batch if isinstance(problem, str)]
            if not problems:
                features = model(normaliser(torch.from_numpy(np.stack(batch)).to(device)))
                if not isinstance(features, torch.Tensor) or features.ndim != 2:
                    raise BackboneError("this network does not return one feature vector per image")
                parts.append(features.float().cpu().numpy())
            if progress is not None:
                progress(start + len(batch), len(images))
    if problems:
        raise DataError(problems)
    found = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
    if not np.isfinite(found).all():
        raise BackboneError("this network returns features that are not finite; its weights are damaged")
    return found
