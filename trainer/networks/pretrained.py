"""Pre-trained weights: where they are, and loading them without trusting them.

They come from a weights folder (``WEIGHTS_DIR/<timm name>.safetensors`` or ``.pth``), the local Hugging Face cache, or
the hub when it can be reached, in this order. Nothing here ever falls back to random weights.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainer.common.errors import BackboneError
from trainer.networks.backbones import check_backbone

if TYPE_CHECKING:
    import torch

HUB_TIMEOUT = 5.0  # seconds until the hub counts as out of reach
SUFFIXES = (".safetensors", ".pth")  # of checkpoints in a weights folder, in the order of preference
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
LOOSE = ("dla", "mobilenetv5")
"""Architectures that timm itself loads without checking that every weight is there; we check."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights of a backbone are; ``file`` is None while they are only on the hub."""

    where: Literal["folder", "cache", "hub"]
    file: Path | None
    repository: str = ""
    hub_file: str = ""


class _HubOutOfReach(Exception):  # noqa: N818  # a fact, not a fault: the caller goes on without the hub
    pass


def weights_at_hand(name: str, weights_dir: Path | None, *, ask_hub: bool = True) -> Weights | None:
    """Where the weights of ``name`` are, or None. The hub is asked only for what is not on this machine, if at all.

    Raises:
        BackboneError: unknown backbone, or a weights folder that does not exist.
    """
    try:
        return _find(name, weights_dir, ask_hub=ask_hub)
    except _HubOutOfReach:
        return None


def missing_weights(names: Iterable[str], weights_dir: Path | None) -> tuple[str, ...]:
    """Those of ``names`` whose weights are nowhere at hand; a hub out of reach is asked once only.

    Raises:
        BackboneError: as `weights_at_hand`.
    """
    missing, ask_hub = [], True
    for name in names:
        try:
            found = _find(name, weights_dir, ask_hub=ask_hub)
        except _HubOutOfReach:
            found, ask_hub = None, False
        if found is None:
            missing.append(name)
    return tuple(missing)


def missing_weights_message(names: Iterable[str], weights_dir: Path | None) -> str:
    """What to tell people whose weights are `missing_weights`: where was looked, and every way out."""
    from timm.models import get_pretrained_cfg

    looked = f"the weights folder {weights_dir}" if weights_dir else "no weights folder (none was given)"
    lines = [f"pre-trained weights are not at hand (looked in {looked}, the Hugging Face cache, the hub) for:"]
    for name in names:
        config = get_pretrained_cfg(name)
        source = f"https://huggingface.co/{config.hf_hub_id}" if config and config.hf_hub_id else config and config.url
        lines.append(f"  {name}: {source or 'timm has no pre-trained weights of it'}")
    lines += [
        "what can be done:",
        "  - start once where the hub can be reached, so that the cache holds them",
        "  - put NAME.safetensors (or NAME.pth) into a weights folder and name that folder",
        "  - start from random weights: --set recipe.init=scratch",
    ]
    return "\n".join(lines)


def _find(name: str, weights_dir: Path | None, *, ask_hub: bool) -> Weights | None:
    from huggingface_hub import try_to_load_from_cache
    from timm.models import get_pretrained_cfg

    check_backbone(name)
    config = get_pretrained_cfg(name)
    if weights_dir is not None:
        if not weights_dir.is_dir():
            raise BackboneError(f"the weights folder {weights_dir} does not exist")
        full_name = f"{config.architecture}.{config.tag}" if config and config.tag else name
        for stem in (name, full_name):
            for suffix in SUFFIXES:
                if (file := weights_dir / f"{stem}{suffix}").is_file():
                    return Weights(where="folder", file=file)
    if config is None or not config.hf_hub_id:
        return None
    repository, _, revision = config.hf_hub_id.partition("@")
    hub_files = (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES
    for hub_file in hub_files:
        cached = try_to_load_from_cache(repository, hub_file, revision=revision or None)
        if isinstance(cached, str):
            return Weights(where="cache", file=Path(cached))
    for hub_file in hub_files if ask_hub else ():
        if _hub_has(repository, hub_file, revision or None):
            return Weights(where="hub", file=None, repository=config.hf_hub_id, hub_file=hub_file)
    return None


def _hub_has(repository: str, hub_file: str, revision: str | None) -> bool:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    try:
        get_hf_file_metadata(hf_hub_url(repository, hub_file, revision=revision), timeout=HUB_TIMEOUT)
    except HfHubHTTPError:  # an answer: there is no such file, or not for us
        return False
    except Exception as error:  # offline mode, or whatever the hub library's HTTP client of the day raises
        raise _HubOutOfReach(str(error)) from error
    return True


def load_state(name: str, weights_dir: Path | None) -> dict[str, torch.Tensor]:
    """Read the pre-trained weights of ``name`` onto the CPU, downloading them first where only the hub has them.

    Raises:
        BackboneError: nowhere at hand, or a file that is damaged or holds more than tensors.
    """
    weights = weights_at_hand(name, weights_dir)
    if weights is None:
        raise BackboneError(missing_weights_message([name], weights_dir))
    return read_state(weights.file or _download(weights))


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """Read a checkpoint onto the CPU: the weights alone, averaged ones first, where it also holds other things.

    The one read last is kept: the folds of a trial, and mostly those of the next, begin from the same file. The tensors
    are shared between calls: copy them, do not write into them.

    Raises:
        BackboneError: it is damaged, or holds more than tensors.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise BackboneError(f"the weights {file} cannot be read: {error.strerror or error}") from error
    return dict(_read_state(file, status.st_mtime_ns, status.st_size))


@functools.lru_cache(maxsize=1)
def _read_state(file: Path, changed: int, size: int) -> Mapping[str, torch.Tensor]:
    """``changed`` and ``size`` tell a file that was replaced from the one that was read."""
    from timm.models import load_state_dict

    try:
        state = load_state_dict(str(file), weights_only=True)
    except Exception as error:  # pickle, zip and safetensors errors alike: the file is no checkpoint that we may load
        raise BackboneError(f"the weights {file} cannot be loaded safely: {error}") from error
    if not isinstance(state, Mapping) or not state:
        raise BackboneError(f"the weights {file} are no table of tensors by name")
    return dict(state)


def _download(weights: Weights) -> Path:
    from huggingface_hub import hf_hub_download

    repository, _, revision = weights.repository.partition("@")
    try:
        return Path(hf_hub_download(repository, weights.hub_file, revision=revision or None, etag_timeout=HUB_TIMEOUT))
    except Exception as error:  # as in _hub_has: the HTTP client's own errors are not the hub library's
        raise BackboneError(f"downloading {weights.hub_file} of {weights.repository} failed: {error}") from error


def create_pretrained(
    name: str, state: Mapping[str, torch.Tensor], num_classes: int, arguments: Mapping[str, Any]
) -> torch.nn.Module:
    """Build ``name`` from a checkpoint: every weight but the classifier's must be in it, and nothing else.

    The network is first built with as many classes as the checkpoint has, which lets timm load it strictly; then the
    classifier is replaced where ``num_classes`` differs.

    Raises:
        BackboneError: weights that are missing, left over, or of another shape.
        TypeError, AssertionError and others: `timm.create_model` does not take ``arguments``.
    """
    import timm
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None:
        raise BackboneError(f"timm has no configuration for {name}")
    classifier = config.classifier[0] if isinstance(config.classifier, (tuple, list)) else config.classifier
    head = state.get(f"{classifier}.weight")
    file_classes = config.num_classes if head is None else len(head)
    # A label offset drops a background class from the head; here the head is loaded as it is, or replaced.
    overlay = {"state_dict": dict(state), "num_classes": file_classes, "label_offset": 0}
    try:
        model = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=file_classes, **arguments
        )
    except (RuntimeError, KeyError) as error:
        raise BackboneError(f"the weights do not fit {name}: {error}") from error
    missing = set(model.state_dict()) - set(state) if name.startswith(LOOSE) else set()
    if missing:
        raise BackboneError(f"the weights do not fit {name}: {len(missing)} are missing, such as {min(missing)}")
    pretrained_cfg: Any = model.pretrained_cfg
    del pretrained_cfg["state_dict"]  # timm keeps the checkpoint there, as large as the network itself
    if num_classes != file_classes:
        if not hasattr(model, "reset_classifier"):
            raise BackboneError(f"{name} is an encoder without a classifier; choose an architecture that has one")
        reset: Any = model.reset_classifier
        reset(num_classes)
    return model
