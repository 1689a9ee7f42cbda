"""Load pre-trained weights safely: tensors alone, never code."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.common.errors import BackboneError
from trainer.formats.weights.problems import unreadable_because
from trainer.inference.printable import cause_of
from trainer.networks.pretrained.find_weights import HUB_TIMEOUT, WeightsLocation, find_pretrained_weights
from trainer.networks.pretrained.missing_message import missing_weights_message

if TYPE_CHECKING:
    import torch


def load_pretrained_weights(name: str, weights_dir: Path | None) -> dict[str, torch.Tensor]:
    """Read the pre-trained state dict of ``name`` onto the CPU; download it if only the hub has it.

    Raises:
        BackboneError: the weights cannot be found, or the file is damaged or holds more than tensors.
    """
    weights = find_pretrained_weights(name, weights_dir)
    if weights is None:
        raise BackboneError(missing_weights_message([name], weights_dir))
    return read_state_dict(weights.file or _download(weights))


def read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    """Read the state dict in a weights file onto the CPU; from a training checkpoint, preferably the averaged weights.

    The last file read stays in memory, because the folds of a trial, and mostly those of the next, start from the same
    file. The tensors are shared between calls: copy them, do not write into them.

    Raises:
        BackboneError: the file cannot be read, is damaged, or holds more than tensors.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise BackboneError(f"the weights {file} cannot be read: {error.strerror or error}") from error
    return dict(_read_state_dict(file, status.st_mtime_ns, status.st_size))


def read_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a weights file, by the names of `read_state_dict`. The tensors are not read.

    Raises:
        BackboneError: as `read_state_dict`.
    """
    return {name: tuple(tensor.shape) for name, tensor in _load(file, "meta").items() if hasattr(tensor, "shape")}


@functools.lru_cache(maxsize=1)
def _read_state_dict(file: Path, changed: int, size: int) -> Mapping[str, torch.Tensor]:
    """As `read_state_dict`; ``changed`` and ``size`` make a replaced file a new key of the cache."""
    return _load(file, "cpu")


def _load(file: Path, device: str) -> Mapping[str, torch.Tensor]:
    from timm.models import load_state_dict

    try:
        state = load_state_dict(str(file), device=device, weights_only=True)
    except Exception as error:  # of pickle, zip or safetensors
        raise BackboneError(f"the weights {file} cannot be loaded safely: {unreadable_because(file, error)}") from error
    if not isinstance(state, Mapping) or not state:
        raise BackboneError(f"the weights {file} are not a state dict (tensors by name)")
    return dict(state)


def _download(weights: WeightsLocation) -> Path:
    from huggingface_hub import hf_hub_download

    repository, _, revision = weights.repository.partition("@")
    try:
        return Path(hf_hub_download(repository, weights.hub_file, revision=revision or None, etag_timeout=HUB_TIMEOUT))
    except Exception as error:  # as in _hub_has: the exceptions of the HTTP client differ by hub version
        raise BackboneError(
            f"downloading {weights.hub_file} of {weights.repository} failed: {cause_of(error)}"
        ) from error
