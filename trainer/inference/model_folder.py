"""Reading a model folder: config.json checked, weights hashed."""

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
from .images import INTERPOLATIONS, RESIZE_POLICIES
from .views import VIEWS

CONFIG_FORMAT = 2
"""How config.json is written; format 1, of one model without a blend, is read as well."""


class ModelError(ValueError):
    """The model folder, or a request to it, cannot be used; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One model of a folder: networks of one backbone that see images in the same way."""

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
        """Size, resize policy and interpolation: what `resize_image` is to make of an image for it."""
        return self.size, self.resize, self.interpolation


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """A model folder whose config.json was read and checked, and whose weights have their recorded sha256."""

    class_names: tuple[str, ...]
    members: tuple[Member, ...]
    blend: Blend
    timm_version: str


def load_model_folder(folder: str | os.PathLike[str]) -> ModelFolder:
    """Read and check a model folder; the weights are hashed, not yet loaded.

    Raises:
        ModelError: no or malformed config.json, weights that are missing, changed, or outside the folder.
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


def _need(good: bool, what: str) -> None:
    if not good:
        raise ValueError(what)


def _checked(root: Path, config: Any) -> ModelFolder:
    _need(isinstance(config, dict) and config["format"] in (1, CONFIG_FORMAT), f"format is not 1 or {CONFIG_FORMAT}")
    names = config["class_names"]
    _need(isinstance(names, list) and len(names) > 1, "class_names holds fewer than two names")
    _need(all(isinstance(name, str) for name in names), "class_names are not all strings")
    # Format 1 is one member, laid out flat.
    members = [config] if config["format"] == 1 else config["members"]
    _need(isinstance(members, list) and bool(members), "members is empty")
    blend = {"weights": [1.0]} if config["format"] == 1 else config["blend"]
    return ModelFolder(
        class_names=tuple(names),
        members=tuple(_checked_member(root, member, len(names)) for member in members),
        blend=_checked_blend(blend, len(members), len(names)),
        timm_version=str(config["versions"]["timm"]),
    )


def _checked_member(root: Path, config: Any, classes: int) -> Member:
    _need(isinstance(config, dict), "a member is not a table")
    backbone, args = config["backbone"], config["model_args"]
    # A plain timm name: nothing that timm would take for a hub repository or a local folder.
    _need(isinstance(backbone, str) and bool(re.fullmatch(r"\w+(\.\w+)?", backbone)), "backbone is not a timm name")
    _need(isinstance(args, dict) and set(args) <= {"img_size"}, "model_args holds more than img_size")
    _need(all(type(value) is int and 0 < value <= 4096 for value in args.values()), "img_size is not in 1..4096")
    pre, views = config["preprocessing"], config["views"]
    _need(isinstance(pre, dict), "preprocessing is not a table")
    mean, std = tuple(map(float, pre["mean"])), tuple(map(float, pre["std"]))
    usable = len(mean) == len(std) == 3 and bool(np.isfinite(mean + std).all()) and min(std) > 0
    _need(usable, "mean or std is impossible")
    _need(type(pre["size"]) is int and 0 < pre["size"] <= 4096, "size is not in 1..4096")
    _need(pre["resize"] in RESIZE_POLICIES, f"resize is not one of {RESIZE_POLICIES}")
    _need(pre["interpolation"] in INTERPOLATIONS, f"interpolation is not one of {tuple(INTERPOLATIONS)}")
    known = isinstance(views, list) and bool(views) and all(view in VIEWS for view in views)
    _need(known, f"views are not of {tuple(VIEWS)}")
    _need(len(set(views)) == len(views), "views holds one of them twice")
    _need(isinstance(config["weights"], list) and bool(config["weights"]), "weights is empty")
    return Member(
        backbone=backbone, model_args=args, mean=mean, std=std, size=pre["size"], resize=pre["resize"],
        interpolation=pre["interpolation"], views=tuple(views), classes=classes,
        weights=tuple(_weights_file(root, entry["file"], entry["sha256"]) for entry in config["weights"]),
    )  # fmt: skip


def _checked_blend(config: Any, members: int, classes: int) -> Blend:
    _need(isinstance(config, dict), "blend is not a table")
    blend = Blend(
        weights=_numbers(config["weights"]),
        coefficients=tuple(_numbers(row) for row in config.get("coefficients", [])),
        intercepts=_numbers(config.get("intercepts", [])),
        temperature=float(config.get("temperature", 1.0)),
        offsets=_numbers(config.get("offsets", [])),
        cuts=_numbers(config.get("cuts", [])),
    )
    sums = len(blend.weights) == members and min(blend.weights) >= 0 and abs(sum(blend.weights) - 1.0) < 1e-6
    _need(sums, f"the blend's weights are not {members} numbers, none negative, of sum 1")
    stacked = [len(row) for row in blend.coefficients]
    fits = stacked == [members * classes] * len(blend.intercepts) and len(stacked) in (0, classes)
    _need(fits, f"the blend's coefficients are not {classes} x {members * classes}, or its intercepts not {classes}")
    _need(0.0 < blend.temperature < float("inf"), "the blend's temperature is not a positive number")
    _need(len(blend.offsets) in (0, classes), f"the blend's offsets are not {classes} numbers")
    _need(len(blend.cuts) in (0, classes - 1), f"the blend's cuts are not {classes - 1} numbers")
    _need(list(blend.cuts) == sorted(blend.cuts), "the blend's cuts do not ascend")
    return blend


def _numbers(values: Any) -> tuple[float, ...]:
    _need(isinstance(values, list), "the blend holds something else than lists of numbers")
    numbers = tuple(float(value) for value in values)
    _need(bool(np.isfinite(numbers).all()), "the blend holds a number that is not finite")
    return numbers


def _weights_file(root: Path, name: str, sha256: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()) or path.suffix != ".safetensors":
        raise ValueError(f"weights {name!r} are not a .safetensors file inside the folder")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ValueError(f"{name} is not the file that was exported: its sha256 differs")
    return path
