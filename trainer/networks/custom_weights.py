"""Custom initial weights: ``init = "NAME"`` loads NAME.safetensors or NAME.pth from the weights folder.

The files may come from an exported model folder (``weights/fold0-seed0.safetensors``), from the training scripts of
timm or torch, or from self-supervised pre-training on the competition's own images. They are untrusted: only tensors
are loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.common.errors import BackboneError, suggest
from trainer.networks.pretrained import SUFFIXES, check_readable, read_state_dict

if TYPE_CHECKING:
    import torch

BUILT_IN = ("pretrained", "scratch")
"""Values of ``recipe.init`` that name no file."""

WRAPPERS = ("model.", "net.", "network.", "backbone.")
"""Prefixes that training loops add to all names (Lightning: ``self.model = …``); timm removes those of torch itself."""

DIGEST_LENGTH = 16  # hexadecimal digits of a sha256: enough to tell files apart


def custom_weights_file(init: str, weights_dir: Path | None) -> Path:
    """The weights file that ``init`` names.

    Raises:
        BackboneError: there is no weights folder, the folder has no such file (the message suggests similar names),
            this user may not read it, or the file is a link that leads out of the folder.
    """
    wanted = " or ".join(f"{init}{suffix}" for suffix in SUFFIXES)
    if weights_dir is None:
        hint = suggest(init, BUILT_IN) if len(init) > 1 else ""
        raise BackboneError(
            f"init = {init!r} is a checkpoint in the weights folder, and no such folder was given: "
            f"--weights FOLDER, with {wanted} in it{hint}"
        )
    if not weights_dir.is_dir():
        raise BackboneError(f"the weights folder {weights_dir} does not exist")
    check_readable(weights_dir)
    folder = weights_dir.resolve()
    for suffix in SUFFIXES:
        file = weights_dir / f"{init}{suffix}"
        if not file.is_file():
            continue
        # The name may come from another person's study, so it must not open a file outside this folder.
        if file.resolve().parent != folder:
            raise BackboneError(f"{file} is a link out of the weights folder, to {file.resolve()}: put a copy there")
        check_readable(file)
        return file
    there = sorted({file.stem for file in weights_dir.iterdir() if file.suffix in SUFFIXES})
    raise BackboneError(
        f"init = {init!r} is neither {' nor '.join(BUILT_IN)}, and the weights folder {weights_dir} "
        f"has no {wanted}{suggest(init, [*BUILT_IN, *there])}"
    )


def missing_custom_weights_message(inits: Iterable[str], weights_dir: Path | None) -> str:
    """Error message with a line for each of ``inits`` whose file cannot be used; empty if all can."""
    lines = []
    for init in dict.fromkeys(inits):
        if init in BUILT_IN:
            continue
        try:
            custom_weights_file(init, weights_dir)
        except BackboneError as error:
            lines.append(str(error))
    return "\n".join(lines)


def load_custom_weights(init: str, weights_dir: Path | None) -> dict[str, torch.Tensor]:
    """Read the state dict that ``init`` names onto the CPU, with the prefixes of `WRAPPERS` removed from its names.

    Raises:
        BackboneError: as `custom_weights_file`, or the file is damaged or holds more than tensors.
    """
    import torch

    file = custom_weights_file(init, weights_dir)
    state = read_state_dict(file)
    strange = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise BackboneError(f"the weights {file} are not a state dict (tensors by name): {strange[0]!r} is no tensor")
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in state):
            return {name.removeprefix(wrapper): value for name, value in state.items()}
    return state


def custom_weights_digest(init: str, weights_dir: Path | None) -> str:
    """First `DIGEST_LENGTH` digits of the sha256 of the file that ``init`` names, to record which content was used.

    Raises:
        BackboneError: as `custom_weights_file`.
    """
    with custom_weights_file(init, weights_dir).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_LENGTH]
