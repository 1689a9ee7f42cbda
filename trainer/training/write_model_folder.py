"""Writing a model folder: a self-contained export with weights, their configuration and a ``predict.py``.

config.json              class names, blend, versions, data fingerprint, value ranges; for each member its recipe,
                         preprocessing, views, and weights with sha256
weights/NAME.safetensors one per trained network; the networks of a member are averaged, the members blended
inference/               a copy of the package `trainer.inference`, which also reads such a folder back
onnx/                    after `trainer.conversion`: the same networks for ONNX Runtime
predict.py               command line for predictions
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer import inference
from trainer.common.environment import library_versions
from trainer.common.files import put_folder, replacing
from trainer.formats.weights.origin import origin_entry
from trainer.formats.weights.trained_on import TrainedOn
from trainer.inference.blend import Blend
from trainer.inference.errors import ModelError
from trainer.inference.model_folder import CONFIG_FORMAT, load_model_folder
from trainer.inference.pixel_values import Ranges
from trainer.networks.backbones import Preprocessing, size_arguments
from trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    import torch

_PROGRAM = '''"""Predict the classes of images with this model folder: python predict.py IMAGES."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))  # python -I leaves it out

from inference.resources import keep_freed_memory, wait_passively

wait_passively()  # before numpy and torch are loaded
keep_freed_memory()

from inference.predict import main

if __name__ == "__main__":
    sys.exit(main(FOLDER))
'''


@dataclass(frozen=True, kw_only=True)
class FolderMember:
    """One member of the exported blend: the networks that were trained with one recipe."""

    recipe: Recipe
    """Predictions use its backbone, image size and resize policy."""
    preprocessing: Preprocessing
    """Of the networks; images are resized by its ``interpolation``."""
    views: Sequence[str]
    """Test-time views to average, see `trainer.inference.networks.views.VIEWS`."""
    state_dicts: Mapping[str, Mapping[str, torch.Tensor]]
    """State dict of each network by name (letters, digits, ``_ . -``), such as ``fold0-seed0``. No two members share a
    name. They are read one after another, so the mapping may load each on demand."""
    trained_on: Sequence[TrainedOn] = ()
    """The images that trained the networks, which each file of weights names; empty: not known."""


def write_model_folder(
    folder: Path,
    *,
    class_names: Sequence[str],
    members: Sequence[FolderMember],
    blend: Blend,
    data_fingerprint: str,
    value_ranges: Ranges | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a complete model folder or none at all; an older model folder at the same path is replaced.

    Args:
        folder: path to write to; its parent is created.
        class_names: in the order of the networks' outputs.
        members: at least one, in the order of the weights of ``blend``.
        blend: combines the members' probabilities into one prediction.
        data_fingerprint: of the training data.
        value_ranges: ranges by which images with more than 8 bits were scaled; None: no such images.
        extra: anything that JSON can hold; stored under "extra" for people.

    Raises:
        ModelError: ``folder`` holds something other than a model, a network's name is invalid or used twice, a member
            has no network, or ``blend`` does not fit the members.
    """
    if folder.exists() and not (folder.is_dir() and ((folder / "config.json").is_file() or not any(folder.iterdir()))):
        raise ModelError(f"{folder} exists and is no model folder; it is left alone")
    if not members or not all(member.state_dicts for member in members):
        raise ModelError("a model folder needs the weights of at least one network, of every member")
    names = [name for member in members for name in member.state_dicts]
    if len(set(names)) < len(names):
        raise ModelError("two networks of a model folder have the same name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        new.mkdir()
        config = {
            "format": CONFIG_FORMAT,
            "class_names": list(class_names),
            "members": [_write_member(new, member) for member in members],
            "blend": {name: value for name, value in asdict(blend).items() if value not in ((), False)},
            "data_fingerprint": data_fingerprint,
            "value_ranges": {kind: list(ends) for kind, ends in (value_ranges or {}).items()},
            "versions": library_versions(),
            "extra": dict(extra or {}),
        }
        text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False)
        (new / "config.json").write_text(text + "\n", encoding="utf-8")
        _write_program(new)
        load_model_folder(new)  # raises if the folder cannot be read back
        put_folder(new, folder, old)


def _write_program(root: Path) -> None:
    source = Path(inference.__file__).parent
    for module in source.rglob("*.py"):
        copy = root / "inference" / module.relative_to(source)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(module, copy)
    (root / "predict.py").write_text(_PROGRAM, encoding="utf-8")


def _write_member(root: Path, member: FolderMember) -> dict[str, Any]:
    recipe, preprocessing = member.recipe, member.preprocessing
    return {
        "backbone": recipe.backbone,
        "model_args": size_arguments(recipe.backbone, recipe.image_size),
        "preprocessing": {
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "size": recipe.image_size,
            "resize": recipe.resize,
            "interpolation": preprocessing.interpolation,
        },
        "views": list(member.views),
        "weights": [_write_weights(root, name, state, member.trained_on) for name, state in member.state_dicts.items()],
        "recipe": recipe.to_flat(),
    }


def save_weights(path: Path, state: Mapping[str, torch.Tensor], trained_on: Sequence[TrainedOn] = ()) -> None:
    """Write a state dict as safetensors; its folder is created, and the file appears complete or not at all.

    Args:
        trained_on: the images that trained the network, which the file names; empty: not known.

    Raises:
        OSError: the file cannot be written; ``errno`` is one of `trainer.common.files.DISK_FULL` if the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)  # as the umask says; safetensors 0.8 lets only the owner read
        try:
            # Cloned because safetensors refuses tensors that share memory, as tied weights do.
            tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
            save_file(tensors, temporary, origin_entry(trained_on) or None)
        except SafetensorError as error:
            # The system's error number is only at the end of the message, as Rust formats it.
            code = re.search(r"\(os error (\d+)\)", str(error))
            if code is None:
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error
        temporary.chmod(mode)


def _write_weights(
    root: Path, name: str, state: Mapping[str, torch.Tensor], trained_on: Sequence[TrainedOn]
) -> dict[str, str]:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ModelError(f"{name!r} cannot be the name of a weights file: letters, digits, '_', '.' and '-' only")
    file = f"weights/{name}.safetensors"
    save_weights(root / file, state, trained_on)
    with (root / file).open("rb") as written:
        return {"file": file, "sha256": hashlib.file_digest(written, "sha256").hexdigest()}
