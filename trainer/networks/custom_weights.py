"""Checkpoints of one's own to start from: ``init = "NAME"`` is NAME.safetensors or NAME.pth of the weights folder.

They may come from anywhere: a model folder that was exported here (``weights/fold0-seed0.safetensors``), timm's or
torch's training scripts, self-supervised pre-training of the very competition's images. Nothing in them is trusted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.common.errors import BackboneError, suggest
from trainer.networks.pretrained import SUFFIXES, read_state

if TYPE_CHECKING:
    import torch

BUILT_IN = ("imagenet", "scratch")
"""Values of ``recipe.init`` that name no file."""

WRAPPERS = ("model.", "net.", "network.", "backbone.")
"""What training loops put before every name (Lightning: ``self.model = …``); timm removes those of torch itself."""

DIGEST_LENGTH = 16  # hexadecimal digits of a sha256 that are kept: enough to tell files apart


def named_weights(init: str, weights_dir: Path | None) -> Path:
    """The file that ``init`` names.

    Raises:
        BackboneError: there is none, or it is not in the folder: the message says where was looked and what is there.
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
    folder = weights_dir.resolve()
    for suffix in SUFFIXES:
        file = weights_dir / f"{init}{suffix}"
        if not file.is_file():
            continue
        # A name comes from a study that somebody else may have written: it opens what was put into this folder only.
        if file.resolve().parent != folder:
            raise BackboneError(f"{file} is a link out of the weights folder, to {file.resolve()}: put a copy there")
        return file
    there = sorted({file.stem for file in weights_dir.iterdir() if file.suffix in SUFFIXES})
    raise BackboneError(
        f"init = {init!r} is neither {' nor '.join(BUILT_IN)}, and the weights folder {weights_dir} "
        f"has no {wanted}{suggest(init, [*BUILT_IN, *there])}"
    )


def missing_named_message(inits: Iterable[str], weights_dir: Path | None) -> str:
    """One line for each of ``inits`` that is not at hand; empty where all are."""
    lines = []
    for init in dict.fromkeys(inits):
        if init in BUILT_IN:
            continue
        try:
            named_weights(init, weights_dir)
        except BackboneError as error:
            lines.append(str(error))
    return "\n".join(lines)


def load_named(init: str, weights_dir: Path | None) -> dict[str, torch.Tensor]:
    """Read the checkpoint that ``init`` names onto the CPU, freed of what training loops wrap around the names.

    Raises:
        BackboneError: not at hand, damaged, or holding more than tensors.
    """
    import torch

    file = named_weights(init, weights_dir)
    state = read_state(file)
    strange = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise BackboneError(f"the weights {file} are no table of tensors by name: {strange[0]!r} is something else")
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in state):
            return {name.removeprefix(wrapper): value for name, value in state.items()}
    return state


def named_weights_digest(init: str, weights_dir: Path | None) -> str:
    """Beginning of the sha256 of the file that ``init`` names, so that it can be told which content of it ran.

    Raises:
        BackboneError: not at hand.
    """
    with named_weights(init, weights_dir).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_LENGTH]
