"""Backbones that extract features for comparisons of images: which one is at hand, and how it is loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.common.errors import BackboneError

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
LARGEST = 30_000_000
"""Parameters up to which the largest of the other backbones is preferred; of larger ones, the smallest. A forward pass
of 30 million parameters takes a tenth of a second to half a second on a CPU."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Extractor:
    """A pre-trained backbone in evaluation mode, with a classifier that is not used."""

    name: str
    model: torch.nn.Module
    size: int
    """Side of its input images in pixels: the one of `EXTRACTORS`, else timm's."""


def available_extractors(weights_dir: Path | None) -> list[str]:
    """The backbones whose weights are in ``weights_dir`` or in the local cache, the preferred one first.

    Those of `EXTRACTORS` come first. All others follow: up to `LARGEST` parameters the largest first, then the smallest
    first. The hub is not asked, so that a mere check downloads nothing.

    Raises:
        BackboneError: ``weights_dir`` does not exist or cannot be read.
    """
    if not _may_be_at_hand(weights_dir):  # timm and torch take long to import
        return []
    from trainer.networks.architectures import architecture_of
    from trainer.networks.pretrained.find_weights import find_pretrained_weights

    known = [name for name in EXTRACTORS if find_pretrained_weights(name, weights_dir, ask_hub=False)]
    others = {
        name: architecture_of(name).parameters
        for name in dict.fromkeys([*_in_folder(weights_dir), *_in_cache()])
        if name not in EXTRACTORS and architecture_of(name).classifies
    }
    found = [name for name in others if find_pretrained_weights(name, weights_dir, ask_hub=False)]

    def preference(name: str) -> tuple[bool, int, str]:
        count = others[name]
        return (count > LARGEST, count if count > LARGEST else -count, name)

    return [*known, *sorted(found, key=preference)]


def _may_be_at_hand(weights_dir: Path | None) -> bool:
    """Whether anything in the weights folder or the local cache might be weights; also if the folder is unreadable."""
    try:
        if weights_dir is not None and any(weights_dir.iterdir()):
            return True
    except OSError:
        return True  # the search for weights reports it
    from huggingface_hub import constants

    return any(Path(constants.HF_HUB_CACHE).glob("models--*"))


def _in_folder(folder: Path | None) -> Iterator[str]:
    """timm names among the weights files of a folder; other files are custom checkpoints, or no weights."""
    import timm

    from trainer.networks.pretrained.folder_networks import SUFFIXES

    if folder is None:
        return
    tagged = set(timm.list_pretrained())
    plain = {name.partition(".")[0] for name in tagged}
    for path in sorted(folder.iterdir()):
        if path.suffix in SUFFIXES and (path.stem in tagged or path.stem in plain):
            yield path.stem


def _in_cache() -> Iterator[str]:
    """timm names whose repository has a folder in the local Hugging Face cache."""
    import timm
    from huggingface_hub import constants
    from timm.models import get_pretrained_cfg

    cache = Path(constants.HF_HUB_CACHE)
    folders = {path.name for path in cache.glob("models--*")}
    for name in timm.list_pretrained() if folders else ():
        config = get_pretrained_cfg(name)
        if config is not None and config.hf_hub_id:
            repository = config.hf_hub_id.partition("@")[0]
            if f"models--{repository.replace('/', '--')}" in folders:
                yield name


def load_extractor(name: str, weights_dir: Path | None, device: torch.device | str = "cpu") -> Extractor:
    """Build a pre-trained backbone in evaluation mode on ``device``, and try it on one image.

    Raises:
        BackboneError: the backbone is unknown, its weights are not on this machine or do not fit, or it returns no
            feature vector.
    """
    import torch

    from trainer.networks.backbones import native_size, size_arguments
    from trainer.networks.layers import classifier_tensors
    from trainer.networks.pretrained.create import create_pretrained
    from trainer.networks.pretrained.load_weights import load_pretrained_weights
    from trainer.probing.frozen_backbone import pooled_features

    state = load_pretrained_weights(name, weights_dir)
    size = EXTRACTORS.get(name) or native_size(name)
    # With a classifier, because the key of cached features asks the network which of its layers that is.
    model = create_pretrained(name, state, 1, size_arguments(name, size)).eval().to(device)
    model = model.to(memory_format=torch.channels_last)
    classifier_tensors(model)
    with torch.no_grad():
        pooled_features(model, torch.zeros(1, 3, size, size, device=device))
    return Extractor(name=name, model=model, size=size)


def load_first(names: Iterable[str], weights_dir: Path | None, device: torch.device | str = "cpu") -> Extractor | None:
    """Load the first of ``names`` that can be used; None if none can.

    A folder may hold a damaged file, or a network without a feature vector. The user did not choose these names, so
    each of them is passed over with a logged warning.
    """
    for name in names:
        try:
            return load_extractor(name, weights_dir, device)
        except BackboneError as error:
            log.warning("%s is not used for features: %s", name, error)
    return None
