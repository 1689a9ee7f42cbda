"""Read a model folder: check config.json and the hashes of the weights."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .blend import Blend
from .errors import ModelError
from .images import INTERPOLATIONS, RESIZE_POLICIES
from .views import VIEWS

CONFIG_FORMAT = 2
"""Format of config.json that exports write. Format 1, which held one model and no blend, can still be read."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One model of a folder: networks with the same backbone and the same preprocessing.

    backbone: architecture name of timm.
    model_args: arguments of ``timm.create_model``.
    mean, std: normalisation of red, green and blue, on the scale 0..1.
    size, resize, interpolation: arguments of `images.resize_image`.
    views: test-time views to average, keys of `views.VIEWS`.
    weights: one ``.safetensors`` file for each network.
    classes: number of classes.
    """

    backbone: str
    model_args: Mapping[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    resize: str
    interpolation: str
    views: tuple[str, ...]
    weights: tuple[Path, ...]
    classes: int

    @property
    def form(self) -> tuple[int, str, str]:
        """Size, resize policy and interpolation: the arguments with which `images.resize_image` prepares an image."""
        return self.size, self.resize, self.interpolation


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """A checked model folder: config.json is valid, and the weights have the recorded SHA-256."""

    class_names: tuple[str, ...]
    members: tuple[Member, ...]
    blend: Blend
    timm_version: str


def load_model_folder(folder: str | os.PathLike[str]) -> ModelFolder:
    """Read and check a model folder. The weights are hashed but not loaded.

    Raises:
        ModelError: config.json is missing or malformed, or weights are missing, changed, or outside of the folder.
    """
    root = Path(folder)
    try:
        config = json.loads((root / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{root} is not a model folder: its config.json cannot be read ({error})") from error
    try:
        return _checked(root, config)
    except KeyError as error:
        raise ModelError(f"{root / 'config.json'}: {error} is missing") from error
    except (TypeError, ValueError, OSError) as error:
        raise ModelError(f"{root / 'config.json'}: {error}") from error


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


def _checked(root: Path, config: Any) -> ModelFolder:
    _require(isinstance(config, dict) and config["format"] in (1, CONFIG_FORMAT), f"format is not 1 or {CONFIG_FORMAT}")
    names = config["class_names"]
    _require(isinstance(names, list) and len(names) > 1, "class_names holds fewer than two names")
    _require(all(isinstance(name, str) for name in names), "class_names are not all strings")
    # In format 1 the settings of the only member are on the top level.
    members = [config] if config["format"] == 1 else config["members"]
    _require(isinstance(members, list) and bool(members), "members is empty")
    blend = {"weights": [1.0]} if config["format"] == 1 else config["blend"]
    return ModelFolder(
        class_names=tuple(names),
        members=tuple(_checked_member(root, member, len(names)) for member in members),
        blend=_checked_blend(blend, len(members), len(names)),
        timm_version=str(config["versions"]["timm"]),
    )


def _checked_member(root: Path, config: Any, classes: int) -> Member:
    _require(isinstance(config, dict), "a member is not a table")
    backbone, args = config["backbone"], config["model_args"]
    # A plain architecture name, which timm cannot mistake for a hub repository or a local folder.
    _require(isinstance(backbone, str) and bool(re.fullmatch(r"\w+(\.\w+)?", backbone)), "backbone is not a timm name")
    _require(isinstance(args, dict) and set(args) <= {"img_size"}, "model_args holds more than img_size")
    _require(all(type(value) is int and 0 < value <= 4096 for value in args.values()), "img_size is not in 1..4096")
    preprocessing, views = config["preprocessing"], config["views"]
    _require(isinstance(preprocessing, dict), "preprocessing is not a table")
    mean, std = tuple(map(float, preprocessing["mean"])), tuple(map(float, preprocessing["std"]))
    can_normalise = len(mean) == len(std) == 3 and bool(np.isfinite(mean + std).all()) and min(std) > 0
    _require(can_normalise, "mean or std is not 3 finite numbers, or std is not positive")
    _require(type(preprocessing["size"]) is int and 0 < preprocessing["size"] <= 4096, "size is not in 1..4096")
    _require(preprocessing["resize"] in RESIZE_POLICIES, f"resize is not one of {RESIZE_POLICIES}")
    _require(preprocessing["interpolation"] in INTERPOLATIONS, f"interpolation is not one of {tuple(INTERPOLATIONS)}")
    views_known = isinstance(views, list) and bool(views) and all(view in VIEWS for view in views)
    _require(views_known, f"views is not a list of {tuple(VIEWS)}")
    _require(len(set(views)) == len(views), "views holds a view twice")
    _require(isinstance(config["weights"], list) and bool(config["weights"]), "weights is empty")
    return Member(
        backbone=backbone, model_args=args, mean=mean, std=std, size=preprocessing["size"],
        resize=preprocessing["resize"], interpolation=preprocessing["interpolation"], views=tuple(views),
        classes=classes,
        weights=tuple(_weights_file(root, entry["file"], entry["sha256"]) for entry in config["weights"]),
    )  # fmt: skip


def _checked_blend(config: Any, members: int, classes: int) -> Blend:
    _require(isinstance(config, dict), "blend is not a table")
    blend = Blend(
        weights=_numbers(config["weights"]),
        coefficients=tuple(_numbers(row) for row in config.get("coefficients", [])),
        intercepts=_numbers(config.get("intercepts", [])),
        temperature=float(config.get("temperature", 1.0)),
        offsets=_numbers(config.get("offsets", [])),
        cuts=_numbers(config.get("cuts", [])),
    )
    weights_valid = len(blend.weights) == members and min(blend.weights) >= 0 and abs(sum(blend.weights) - 1.0) < 1e-6
    _require(weights_valid, f"the blend's weights are not {members} numbers, none negative, of sum 1")
    row_lengths = [len(row) for row in blend.coefficients]
    shapes_fit = row_lengths == [members * classes] * len(blend.intercepts) and len(row_lengths) in (0, classes)
    _require(
        shapes_fit, f"the blend's coefficients are not {classes} x {members * classes}, or its intercepts not {classes}"
    )
    _require(0.0 < blend.temperature < float("inf"), "the blend's temperature is not a positive number")
    _require(len(blend.offsets) in (0, classes), f"the blend's offsets are not {classes} numbers")
    _require(len(blend.cuts) in (0, classes - 1), f"the blend's cuts are not {classes - 1} numbers")
    _require(list(blend.cuts) == sorted(blend.cuts), "the blend's cuts do not ascend")
    return blend


def _numbers(values: Any) -> tuple[float, ...]:
    _require(isinstance(values, list), "a setting of the blend is not a list of numbers")
    numbers = tuple(float(value) for value in values)
    _require(bool(np.isfinite(numbers).all()), "the blend holds a number that is not finite")
    return numbers


def _weights_file(root: Path, name: str, sha256: str) -> Path:
    """The path of a weights file, after checking that it is in the folder and unchanged."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()) or path.suffix != ".safetensors":
        raise ValueError(f"weights {name!r} are not a .safetensors file inside the folder")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ValueError(f"{name} is not the exported file: its sha256 differs")
    return path
