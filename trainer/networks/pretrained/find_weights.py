"""Find pre-trained weights.

They are searched for in the weights folder (``WEIGHTS_DIR/<timm name>.safetensors`` or ``.pth``), the local Hugging
Face cache, and the hub if it can be reached, in this order. Random weights never replace missing ones.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.common.errors import BackboneError, TrainerError
from trainer.networks.backbones import check_backbone, full_name
from trainer.networks.pretrained.folder_networks import SUFFIXES, check_exists, weights_files

HUB_TIMEOUT = 5.0  # seconds until the hub counts as unreachable
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, kw_only=True)
class WeightsLocation:
    """Where the pre-trained weights of a backbone are."""

    where: Literal["folder", "cache", "hub"]
    file: Path | None
    """None if the weights are on the hub only."""
    repository: str = ""
    """On the hub, with ``@revision`` if timm names one; empty unless ``where`` is "hub"."""
    hub_file: str = ""
    """Name of the file in the repository; empty unless ``where`` is "hub"."""


class _HubUnreachable(TrainerError):  # not for the user: the caller continues without the hub
    """The hub did not answer."""


def find_pretrained_weights(name: str, weights_dir: Path | None, *, ask_hub: bool = True) -> WeightsLocation | None:
    """Find the pre-trained weights of ``name``; None if there are none, or if the hub cannot be reached.

    Args:
        weights_dir: the weights folder; None: no such folder.
        ask_hub: ask the hub for weights that are not on this machine.

    Raises:
        BackboneError: unknown backbone, or the weights folder does not exist.
    """
    try:
        return _find(name, weights_dir, ask_hub=ask_hub)
    except _HubUnreachable:
        return None


def missing_weights(names: Iterable[str], weights_dir: Path | None) -> tuple[str, ...]:
    """The backbones among ``names`` whose pre-trained weights cannot be found.

    The hub is not asked again after it could not be reached.

    Raises:
        BackboneError: as `find_pretrained_weights`, or a file cannot be read.
    """
    missing, ask_hub = [], True
    for name in names:
        try:
            found = _find(name, weights_dir, ask_hub=ask_hub)
        except _HubUnreachable:
            found, ask_hub = None, False
        if found is None:
            missing.append(name)
        elif found.file is not None:
            check_readable(found.file)
    return tuple(missing)


def weights_at_hand(names: Iterable[str], weights_dir: Path | None) -> list[str]:
    """The backbones among ``names`` whose pre-trained weights are in the weights folder or the cache; asks no hub.

    A file that is named by the architecture alone stands for timm's default weights of it: where these are among
    ``names`` and have no file of their own, the name of the architecture takes their place.

    Args:
        names: of timm's pre-trained models, ``architecture.tag``.

    Raises:
        BackboneError: the weights folder does not exist or cannot be read.
    """
    from timm.models import get_pretrained_cfg

    if weights_dir is not None:
        check_exists(weights_dir)
        check_readable(weights_dir)
    in_folder, in_cache = {file.stem for file in weights_files(weights_dir)}, _cache_has_models()
    found = []
    for name in names:
        architecture, _, tag = name.partition(".")
        # timm has two thousand: to look for the files of each takes half a second.
        if not in_cache and in_folder.isdisjoint((name, architecture)):
            continue
        config = get_pretrained_cfg(architecture)
        alternatives = [name, architecture] if config is not None and config.tag == tag else [name]
        at_hand = (known for known in alternatives if _locate(known, weights_dir, ask_hub=False) is not None)
        found += list(itertools.islice(at_hand, 1))
    return found


def _cache_has_models() -> bool:
    from huggingface_hub.constants import HF_HUB_CACHE

    return any(Path(HF_HUB_CACHE).glob("models--*"))


def check_readable(path: Path) -> None:
    """Check that this user may read a weights file or folder.

    Raises:
        BackboneError: this user may not.
    """
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise BackboneError(
            f"the weights {path} cannot be read by this user (no permission); its owner allows it: "
            f"{shlex.join(['chmod', 'a+rX', str(path)])}"
        )


def _find(name: str, weights_dir: Path | None, *, ask_hub: bool) -> WeightsLocation | None:
    check_backbone(name)
    return _locate(name, weights_dir, ask_hub=ask_hub)


def _locate(name: str, weights_dir: Path | None, *, ask_hub: bool) -> WeightsLocation | None:
    """As `_find`, of a backbone that timm has."""
    from huggingface_hub import try_to_load_from_cache
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if weights_dir is not None:
        check_exists(weights_dir)
        check_readable(weights_dir)
        for stem in (name, full_name(name)):
            for suffix in SUFFIXES:
                if (file := weights_dir / f"{stem}{suffix}").is_file():
                    return WeightsLocation(where="folder", file=file)
    if config is None or not config.hf_hub_id:
        return None
    repository, _, revision = config.hf_hub_id.partition("@")
    hub_files = (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES
    for hub_file in hub_files:
        cached = try_to_load_from_cache(repository, hub_file, revision=revision or None)
        if isinstance(cached, str):
            return WeightsLocation(where="cache", file=Path(cached))
    for hub_file in hub_files if ask_hub else ():
        if _hub_has(repository, hub_file, revision or None):
            return WeightsLocation(where="hub", file=None, repository=config.hf_hub_id, hub_file=hub_file)
    return None


def _hub_has(repository: str, hub_file: str, revision: str | None) -> bool:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    try:
        get_hf_file_metadata(hf_hub_url(repository, hub_file, revision=revision), timeout=HUB_TIMEOUT)
    except HfHubHTTPError:  # the hub answered: the file does not exist or needs permission
        return False
    except Exception as error:  # offline mode, or an exception of the HTTP client, which differs by hub version
        raise _HubUnreachable(str(error)) from error
    return True
