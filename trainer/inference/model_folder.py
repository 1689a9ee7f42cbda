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
from .networks.views import VIEWS
from .pixel_values import Ranges, checked_ranges
from .printable import cause_of, excerpt, name_problem, printable

CONFIG_FORMAT = 4
"""Format of config.json that exports write. Formats up to 3 know neither several labels nor a second stage; format 2
has no value ranges; format 1 held one model and no blend."""
MAX_CONFIG_BYTES = 64 * 2**20
MAX_CLASSES = 100_000
MAX_SIZE = 4096  # pixels


@dataclass(frozen=True, kw_only=True)
class Member:
    """One model of a folder: networks with the same backbone and the same preprocessing.

    backbone: architecture name of timm.
    model_args: arguments of ``timm.create_model``.
    mean, std: normalisation of red, green and blue, on the scale 0..1.
    size, resize, interpolation: arguments of `images.resize_image`.
    views: test-time views to average, keys of `networks.views.VIEWS`.
    weights: one ``.safetensors`` file for each network.
    digests: SHA-256 of each file, hexadecimal.
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
    digests: tuple[str, ...]
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
    value_ranges: Ranges
    """By which images with more than 8 bits per value are scaled, as in training."""


def load_model_folder(folder: str | os.PathLike[str]) -> ModelFolder:
    """Read and check a model folder. The weights are hashed but not loaded.

    Raises:
        ModelError: config.json is missing or malformed, or weights are missing, changed, or outside of the folder.
    """
    root = Path(folder)
    config = _read_config(root)
    try:
        return _checked(root, config)
    except KeyError as error:
        raise ModelError(f"{_shown(root)}/config.json: {cause_of(error)} is missing") from error
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError, OSError, RecursionError) as error:
        raise ModelError(f"{_shown(root)}/config.json: {cause_of(error)}") from error


def _shown(path: Path) -> str:
    return printable(str(path))


def _read_config(root: Path) -> Any:
    """The parsed config.json.

    Raises:
        ModelError: it is missing, outside of the folder, huge, not UTF-8, or no valid JSON.
    """
    path = root / "config.json"
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        if not path.resolve().is_relative_to(root.resolve()):
            raise ValueError("it is a link that leaves the folder")
        if (size := path.stat().st_size) > MAX_CONFIG_BYTES:
            raise ValueError(f"it has {size:,} bytes; at most {MAX_CONFIG_BYTES:,} are read")
        return json.loads(
            path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_unique_keys, parse_constant=_no_constant
        )
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise ModelError(
            f"{_shown(root)} is not a model folder: its config.json cannot be read ({cause_of(error)}). Give the "
            "folder `model/` of an export"
        ) from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key occurs twice in one table")
    return table


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not finite")


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


def _checked(root: Path, config: Any) -> ModelFolder:
    _require(isinstance(config, dict), "it holds no table")
    known = type(config["format"]) is int and 1 <= config["format"] <= CONFIG_FORMAT
    _require(known, f"format is not 1 to {CONFIG_FORMAT}; a later release of Retable may have written it")
    names = config["class_names"]
    _require(isinstance(names, list) and 1 < len(names) <= MAX_CLASSES, f"class_names is no list of 2 to {MAX_CLASSES}")
    _require(all(isinstance(name, str) and name for name in names), "class_names are not all strings of some length")
    _require(len(set(names)) == len(names), "class_names holds a name twice")
    problem = next(filter(None, map(name_problem, names)), None)
    _require(problem is None, f"one of class_names {problem}")
    # In format 1 the settings of the only member are on the top level.
    members = [config] if config["format"] == 1 else config["members"]
    _require(isinstance(members, list) and bool(members), "members is empty")
    blend = {"weights": [1.0]} if config["format"] == 1 else config["blend"]
    versions = config["versions"]
    _require(isinstance(versions, dict), "versions is not a table")
    return ModelFolder(
        class_names=tuple(names),
        members=tuple(_checked_member(root, member, len(names)) for member in members),
        blend=_checked_blend(blend, len(members), len(names)),
        timm_version=excerpt(printable(str(versions["timm"])), 40),
        value_ranges=checked_ranges(config.get("value_ranges", {})),
    )


def _checked_member(root: Path, config: Any, classes: int) -> Member:
    _require(isinstance(config, dict), "a member is not a table")
    backbone, args = config["backbone"], config["model_args"]
    # A plain architecture name, which timm cannot mistake for a hub repository or a local folder.
    _require(
        isinstance(backbone, str) and bool(re.fullmatch(r"\w{1,100}(\.\w{1,100})?", backbone)),
        "backbone is not a timm name",
    )
    _require(isinstance(args, dict) and set(args) <= {"img_size"}, "model_args holds more than img_size")
    _require(all(type(value) is int and 0 < value <= MAX_SIZE for value in args.values()), "img_size is not in 1..4096")
    preprocessing, views = config["preprocessing"], config["views"]
    _require(isinstance(preprocessing, dict), "preprocessing is not a table")
    mean, std = _numbers(preprocessing["mean"], "mean or std"), _numbers(preprocessing["std"], "mean or std")
    can_normalise = len(mean) == len(std) == 3 and bool(np.isfinite(mean + std).all()) and min(std) > 0
    _require(can_normalise, "mean or std is not 3 finite numbers, or std is not positive")
    _require(type(preprocessing["size"]) is int and 0 < preprocessing["size"] <= MAX_SIZE, "size is not in 1..4096")
    texts = isinstance(preprocessing["resize"], str) and isinstance(preprocessing["interpolation"], str)
    _require(texts, "resize or interpolation is not a string")
    _require(preprocessing["resize"] in RESIZE_POLICIES, f"resize is not one of {RESIZE_POLICIES}")
    _require(preprocessing["interpolation"] in INTERPOLATIONS, f"interpolation is not one of {tuple(INTERPOLATIONS)}")
    views_known = isinstance(views, list) and bool(views) and all(isinstance(v, str) and v in VIEWS for v in views)
    _require(views_known, f"views is not a list of {tuple(VIEWS)}")
    _require(len(set(views)) == len(views), "views holds a view twice")
    _require(isinstance(config["weights"], list) and bool(config["weights"]), "weights is empty")
    return Member(
        backbone=backbone, model_args=args, mean=mean, std=std, size=preprocessing["size"],
        resize=preprocessing["resize"], interpolation=preprocessing["interpolation"], views=tuple(views),
        classes=classes,
        weights=tuple(_weights_file(root, entry) for entry in config["weights"]),
        digests=tuple(entry["sha256"] for entry in config["weights"]),
    )  # fmt: skip


def _checked_blend(config: Any, members: int, classes: int) -> Blend:
    _require(isinstance(config, dict), "blend is not a table")
    coefficients = config.get("coefficients", [])
    _require(isinstance(coefficients, list), "the blend's coefficients are not a list")
    (temperature,) = _numbers([config.get("temperature", 1.0)], "the blend's temperature")
    blend = Blend(
        weights=_numbers(config["weights"], "the blend's weights"),
        coefficients=tuple(_numbers(row, "the blend's coefficients") for row in coefficients),
        intercepts=_numbers(config.get("intercepts", []), "the blend's intercepts"),
        temperature=temperature,
        offsets=_numbers(config.get("offsets", []), "the blend's offsets"),
        cuts=_numbers(config.get("cuts", []), "the blend's cuts"),
        several_labels=_flag(config, "several_labels"),
        at_least_one=_flag(config, "at_least_one"),
        second_stage=_checked_groups(config.get("second_stage", []), classes),
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
    if blend.second_stage:
        is_last = members > 1 and blend.weights[-1] == 0.0 and not blend.coefficients and not blend.several_labels
        _require(is_last, "the blend's second_stage is no member of weight 0 after a weighted mean of single labels")
    return blend


def _checked_groups(config: Any, classes: int) -> tuple[tuple[int, ...], ...]:
    lists = isinstance(config, list) and all(isinstance(group, list) and len(group) > 1 for group in config)
    _require(lists, "the blend's second_stage is not a list of groups of two classes or more")
    chosen = [label for group in config for label in group]
    known = all(type(label) is int and 0 <= label < classes for label in chosen)
    _require(known, f"the blend's second_stage holds something else than classes 0 to {classes - 1}")
    _require(len(set(chosen)) == len(chosen), "the blend's second_stage holds a class twice")
    return tuple(tuple(group) for group in config)


def _flag(config: dict[str, Any], name: str) -> bool:
    value = config.get(name, False)
    _require(type(value) is bool, f"the blend's {name} is neither true nor false")
    return bool(value)


def _numbers(values: Any, what: str) -> tuple[float, ...]:
    numbers = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    _require(numbers, f"{what}: not a list of numbers")
    floats = tuple(float(value) for value in values)
    _require(bool(np.isfinite(floats).all()), f"{what}: a number is not finite")
    return floats


def _weights_file(root: Path, entry: Any) -> Path:
    """The path of a weights file, after checking that it is in the folder and unchanged."""
    _require(isinstance(entry, dict), "an entry of weights is not a table")
    name, sha256 = entry["file"], entry["sha256"]
    _require(isinstance(name, str) and isinstance(sha256, str), "file or sha256 of weights is not a string")
    path: Path = (root / name).resolve()
    shown = excerpt(repr(name))
    inside = path.is_relative_to(root.resolve()) and path.suffix == ".safetensors"
    _require(inside, f"weights {shown} are not a .safetensors file inside the folder")
    _require(path.is_file(), f"there is no file {shown} of weights; copy the whole folder again")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ValueError(f"{shown} is not the exported file: its sha256 differs; copy the folder again")
    return path
