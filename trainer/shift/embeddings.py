"""What a frozen, pre-trained network sees in pictures: its pooled features, before any classifier."""

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
from trainer.inference.images import ImageError, Normaliser, resize_image

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
"""Backbones whose frozen features tell pictures apart well, and the side of the images they are given, in pixels; the
first whose weights are at hand is taken. Self-supervised and broadly trained ones come first."""
BATCH = 32  # images at a time


def extractor_at_hand(weights_dir: Path | None, names: Iterable[str] = tuple(EXTRACTORS)) -> str | None:
    """The first of ``names`` whose weights are in the folder or in the local cache; None where none is. The hub is not
    asked: nobody wished for a download.

    Raises:
        BackboneError: a weights folder that does not exist.
    """
    from trainer.networks.pretrained import find_pretrained_weights

    return next((name for name in names if find_pretrained_weights(name, weights_dir, ask_hub=False)), None)


def load_extractor(
    name: str, weights_dir: Path | None, device: torch.device | str = "cpu"
) -> tuple[torch.nn.Module, int]:
    """Build a pre-trained backbone without its classifier, in evaluation mode on ``device``.

    Returns:
        The network, and the side of the images that it is to be given: of `EXTRACTORS`, else what it was made for.

    Raises:
        BackboneError: unknown, or its weights are nowhere at hand or do not fit.
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
    """Pooled features of every picture, squashed to ``size`` x ``size`` and normalised as the network wants it: float32
    ``(n, d)``, in full float32 on the device where the network is.

    Raises:
        DataError: pictures that cannot be read, all named.
        BackboneError: the network gives no vector for a picture, or numbers that are not finite.
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
            problems += [picture for picture in batch if isinstance(picture, str)]
            if not problems:
                features = model(normaliser(torch.from_numpy(np.stack(batch)).to(device)))
                if not isinstance(features, torch.Tensor) or features.ndim != 2:
                    raise BackboneError("this network gives no one vector of features for a picture")
                parts.append(features.float().cpu().numpy())
            if progress is not None:
                progress(start + len(batch), len(images))
    if problems:
        raise DataError(problems)
    found = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
    if not np.isfinite(found).all():
        raise BackboneError("this network gives features that are not finite: its weights are damaged")
    return found
