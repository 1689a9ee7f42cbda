"""The networks of timm that have a file in the weights folder, and files that have the name of none."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path

from trainer.common.errors import BackboneError
from trainer.inference.printable import printable

SUFFIXES = (".safetensors", ".pth")  # of files in a weights folder, in order of preference


def check_exists(weights_dir: Path) -> None:
    """Check that there is such a folder.

    Raises:
        BackboneError: there is none, or it is a file.
    """
    if weights_dir.is_file():
        raise BackboneError(
            f"the weights {weights_dir} are a file; --weights takes its folder: --weights "
            f"{shlex.quote(str(weights_dir.parent))}"
        )
    if not weights_dir.is_dir():
        raise BackboneError(f"the weights folder {weights_dir} does not exist")


def networks_in_folder(weights_dir: Path | None) -> list[str]:
    """The names of timm's networks, with their tags or without, that have a file in the weights folder.

    Raises:
        BackboneError: there is no such folder.
    """
    files = weights_files(weights_dir)
    known = _known_networks() if files else set()
    return sorted({file.stem for file in files if file.stem in known})


def unknown_files(weights_dir: Path | None) -> list[Path]:
    """The files in the weights folder that have the name of no network of timm.

    Weights that Retable wrote have a description beside them, and any name.

    Raises:
        BackboneError: there is no such folder.
    """
    files = [file for file in weights_files(weights_dir) if not file.with_suffix(".json").exists()]
    known = _known_networks() if files else set()
    return [file for file in files if file.stem not in known]


def with_nearest_name(file: Path) -> str:
    """The name of a file for a message, and the network with the nearest name."""
    nearest = difflib.get_close_matches(file.stem.lower(), _known_networks(), n=1, cutoff=0.8)
    return printable(file.name) + (f" (nearest: {nearest[0]})" if nearest else "")


def _known_networks() -> set[str]:
    """The names of timm's networks with pre-trained weights, with their tags and without."""
    import timm

    tagged = set(timm.list_pretrained())
    return tagged | {name.partition(".")[0] for name in tagged}


def weights_files(weights_dir: Path | None) -> list[Path]:
    """The files of weights in the folder, sorted; none without a folder.

    Raises:
        BackboneError: there is no such folder.
    """
    if weights_dir is None:
        return []
    check_exists(weights_dir)
    return sorted(file for file in weights_dir.iterdir() if file.suffix in SUFFIXES)
