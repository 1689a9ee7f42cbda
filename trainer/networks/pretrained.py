"""Pre-trained weights: finding them, and loading them safely.

They are searched for in the weights folder (``WEIGHTS_DIR/<timm name>.safetensors`` or ``.pth``), the local Hugging
Face cache, and the hub if it can be reached, in this order. Random weights never replace missing ones.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainer.common.errors import BackboneError, TrainerError, first_lines
from trainer.formats.weights.problems import misfit_because, unreadable_because
from trainer.inference.printable import cause_of, printable
from trainer.networks.backbones import check_backbone, family_of, full_name
from trainer.networks.resampling import resample_positions

if TYPE_CHECKING:
    import torch

HUB_TIMEOUT = 5.0  # seconds until the hub counts as unreachable
SUFFIXES = (".safetensors", ".pth")  # of files in a weights folder, in order of preference
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
MOST_NAMED = 8  # networks in an option of the command line
LOOSE = ("dla", "mobilenetv5")
"""Prefixes of architectures that timm loads without checking that no weight is missing; `create_pretrained` checks."""


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

    found = []
    for name in names:
        architecture, _, tag = name.partition(".")
        config = get_pretrained_cfg(architecture)
        alternatives = [name, architecture] if config is not None and config.tag == tag else [name]
        at_hand = (known for known in alternatives if _locate(known, weights_dir, ask_hub=False) is not None)
        found += list(itertools.islice(at_hand, 1))
    return found


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


def missing_weights_message(
    names: Iterable[str], weights_dir: Path | None, *, scratch: bool = True, choice: str = "--set recipe.backbone="
) -> str:
    """Error message for `missing_weights`: the places searched, the source of each backbone's weights, and remedies.

    Args:
        scratch: whether random weights are a remedy. They are none where a command only extracts features.
        choice: the option of the command line that chooses another backbone, up to its name.
    """
    from timm.models import get_pretrained_cfg

    names = list(names)
    looked = f"the weights folder {weights_dir}" if weights_dir else "no weights folder (none was given)"
    lines = [f"pre-trained weights are not at hand (looked in {looked}, the Hugging Face cache, the hub) for:"]
    sources = []
    for name in names:
        config = get_pretrained_cfg(name)
        source = f"https://huggingface.co/{config.hf_hub_id}" if config and config.hf_hub_id else config and config.url
        sources.append(f"{name}: {source or 'timm has no pre-trained weights of it'}")
    lines += [f"  {line}" for line in first_lines(sources)]
    lines += [
        "what can be done:",
        "  - run this command once where the hub can be reached, so that the cache holds them",
        "  - put NAME.safetensors (or NAME.pth) into a folder and name it: --weights FOLDER",
        *_alternatives(sorted(set(names)), weights_dir, choice),
        *(["  - start from random weights: --set recipe.init=scratch"] if scratch else []),
    ]
    return "\n".join(lines)


def networks_in_folder(weights_dir: Path | None) -> list[str]:
    """The names of timm's networks, with their tags or without, that have a file in the weights folder."""
    known = _known_networks()
    return sorted({file.stem for file in _weights_files(weights_dir) if file.stem in known})


def unknown_files(weights_dir: Path | None) -> list[str]:
    """The files in the weights folder that have the name of no network of timm, with the nearest name.

    Weights that Retable wrote have a description beside them, and any name.
    """
    known = _known_networks()
    unknown = [file for file in _weights_files(weights_dir) if file.stem not in known]
    lines = []
    for file in unknown:
        if not file.with_suffix(".json").exists():
            nearest = difflib.get_close_matches(file.stem.lower(), known, n=1, cutoff=0.8)
            lines.append(printable(file.name) + (f" (nearest: {nearest[0]})" if nearest else ""))
    return lines


def _known_networks() -> set[str]:
    """The names of timm's networks with pre-trained weights, with their tags and without."""
    import timm

    tagged = set(timm.list_pretrained())
    return tagged | {name.partition(".")[0] for name in tagged}


def _weights_files(weights_dir: Path | None) -> list[Path]:
    return sorted(file for file in weights_dir.iterdir() if file.suffix in SUFFIXES) if weights_dir else []


def match_option(names: Sequence[str]) -> str:
    """The option of the command line that lets a filter choose the first of some networks."""
    given = ", ".join(f'"{name}"' for name in names[:MOST_NAMED])
    return f"--set 'space.backbone.match=[{given}]'"


def _alternatives(names: Sequence[str], weights_dir: Path | None, choice: str) -> list[str]:
    """A line with networks in the weights folder that may replace a single name, those of its family first.

    Of several names, the line tells how a filter chooses among those at hand: all of them by name, because it may have
    chosen none of them, or those that it chooses.
    """
    found = networks_in_folder(weights_dir)
    if not found:
        return []
    if len(names) > 1:
        return [
            f"  - where a filter chooses the networks, name some that are at hand: {match_option(found)}, or take "
            "those of its choice that are: --set space.backbone.at_hand=true"
        ]
    (wanted,) = names

    def distance(name: str) -> tuple[bool, int, str]:
        alike = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(name, wanted, strict=False)))
        return family_of(name) != family_of(wanted), -alike, name

    found.sort(key=distance)
    return [f"  - choose a network that is at hand ({', '.join(found[:4])}): {choice}{found[0]}"]


def _find(name: str, weights_dir: Path | None, *, ask_hub: bool) -> WeightsLocation | None:
    check_backbone(name)
    return _locate(name, weights_dir, ask_hub=ask_hub)


def _locate(name: str, weights_dir: Path | None, *, ask_hub: bool) -> WeightsLocation | None:
    """As `_find`, of a backbone that timm has."""
    from huggingface_hub import try_to_load_from_cache
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if weights_dir is not None:
        if not weights_dir.is_dir():
            raise BackboneError(f"the weights folder {weights_dir} does not exist")
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


def create_pretrained(
    name: str, state: Mapping[str, torch.Tensor], num_classes: int, arguments: Mapping[str, Any]
) -> torch.nn.Module:
    """Build ``name`` with the weights in ``state``, which must be exactly those of the network.

    For images of another size, position parameters are resampled: by timm, or else by `trainer.networks.resampling`.

    The network is first built with as many classes as ``state`` has, so that timm can load it strictly. If
    ``num_classes`` differs, the classifier is then replaced by a random one.

    Args:
        arguments: further keyword arguments of `timm.create_model`.

    Raises:
        BackboneError: weights are missing, unexpected, or of another shape.
        TypeError, AssertionError and others: `timm.create_model` does not accept ``arguments``.
    """
    import timm
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None:
        raise BackboneError(f"timm has no configuration for {name}")
    classifier = config.classifier[0] if isinstance(config.classifier, (tuple, list)) else config.classifier
    head = state.get(f"{classifier}.weight")
    file_classes = config.num_classes if head is None else len(head)
    # Without a label offset: timm would use it to drop a background class from the head. Here the head is loaded
    # unchanged, or replaced.
    overlay = {"state_dict": dict(state), "num_classes": file_classes, "label_offset": 0}

    def loaded(**size: Any) -> torch.nn.Module:
        built: torch.nn.Module = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=dict(overlay), num_classes=file_classes, **size
        )
        return built

    try:
        try:
            model = loaded(**arguments)
        except RuntimeError:
            if "img_size" not in arguments:
                raise
            # timm resamples the position parameters of most networks, not of all.
            model = timm.create_model(name, pretrained=False, num_classes=file_classes, **arguments)
            at_its_size = {key: value for key, value in arguments.items() if key != "img_size"}
            source = state if state.keys() >= model.state_dict().keys() else loaded(**at_its_size).state_dict()
            model.load_state_dict(resample_positions(source, model.state_dict()))
    except (RuntimeError, KeyError) as error:
        raise BackboneError(f"the weights do not fit {name}: {misfit_because(error)}") from error
    missing = set(model.state_dict()) - set(state) if name.startswith(LOOSE) else set()
    if missing:
        raise BackboneError(f"the weights do not fit {name}: {len(missing)} are missing, such as {min(missing)}")
    pretrained_cfg: Any = model.pretrained_cfg
    pretrained_cfg.pop("state_dict", None)  # timm keeps the loaded weights there, which would double the memory
    if num_classes != file_classes:
        if not hasattr(model, "reset_classifier"):
            raise BackboneError(f"{name} is an encoder without a classifier; choose an architecture that has one")
        reset: Any = model.reset_classifier
        reset(num_classes)
    return model
