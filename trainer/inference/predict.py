"""Predict the classes of images with the model folder in which this file lies.

    python predict.py IMAGES [--output predictions.csv] [--device cpu]

IMAGES is a folder, one or several image files, or an ``.npz`` file whose key ``arr_0`` holds images. The result is a
CSV table ``image_id,y_pred,p_<class>,...``. The folder holds one model or several, its members: the probabilities of
each are averaged over its weights and its test-time views, those of several members are blended as config.json says,
and ``y_pred`` is the class that its decision rule gives. Needed: torch, timm (which brings safetensors), numpy and
Pillow, nothing else.

Retable itself decodes, resizes, normalises and predicts with the functions below, so what was trained and what is
predicted here cannot drift apart; they share one file because it must travel alone. Nothing read is trusted: images,
config.json and weights may come from strangers.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    import torch

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM", "AVIF")
"""What is opened at all: formats that merely hold pixels (no EPS, PDF, fonts or other interpreters)."""
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".jp2", ".ppm", ".avif"}
)
"""How the files of a folder that count as images end, in lower case."""
MAX_PIXELS = 89_000_000  # pixels of one image; just below the number from which Pillow speaks of a decompression bomb
MAX_FILE_BYTES = 512 * 2**20  # bytes of one image file
CHUNK_BYTES = 512 * 2**20  # bytes of resized images that are held in memory at a time
CONFIG_FORMAT = 2
"""How config.json is written; format 1, of one model without a blend, is read as well."""
SMALLEST_PROBABILITY = 2.0**-23  # before a logarithm is taken: as far as float32 tells a probability from zero

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
RESIZE_POLICIES = ("squash", "pad", "crop")
ZOOM = 7 / 8  # side of the middle that a zoomed view shows, as a share of the whole image's


@dataclass(frozen=True, kw_only=True)
class View:
    """One way to look at a batch of pixels."""

    flipped: tuple[int, ...] = ()
    """Axes of the (n, 3, height, width) batch that are reversed."""
    zoomed: bool = False
    """Whether only the middle is seen, enlarged bilinearly to the size of the whole; see `ZOOM`."""

    def of(self, pixels: torch.Tensor) -> torch.Tensor:
        """The batch, float (n, 3, height, width), as this view shows it: of the same shape."""
        seen = _middle(pixels) if self.zoomed else pixels
        return seen.flip(self.flipped) if self.flipped else seen


VIEWS: dict[str, View] = {
    "identity": View(),
    "hflip": View(flipped=(3,)),
    "vflip": View(flipped=(2,)),
    "hvflip": View(flipped=(2, 3)),
    "zoom": View(zoomed=True),
    "hflip_zoom": View(flipped=(3,), zoomed=True),
}
"""Test-time views."""

TTA: dict[str, tuple[str, ...]] = {
    "none": ("identity",),
    "hflip": ("identity", "hflip"),
    "flips": ("identity", "hflip", "vflip", "hvflip"),
    "zoom": ("identity", "zoom"),
    "hflip_zoom": ("identity", "hflip", "zoom", "hflip_zoom"),
}
"""Test-time augmentation modes: the views whose probabilities are averaged."""

# EXIF tag 0x0112, from the standard's eight values to what undoes them; 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """One image cannot be used. The message is the cause alone, to be put after ``NAME: ``."""


class ModelError(ValueError):
    """The model folder, or a request to it, cannot be used; the message says why."""


def read_image(source: str | os.PathLike[str] | bytes) -> NDArray[np.uint8]:
    """Decode one image file, or its bytes, to RGB: uint8 (height, width, 3).

    Transparent pixels are composited onto white, EXIF orientation is undone, and of several frames the first counts.
    16-bit grayscale is scaled from 0..65535, floats from 0..1 or 0..255 where all values lie there; other ranges are
    stretched from their own minimum and maximum. Nothing is clipped.

    Raises:
        ImageError: no such file, empty, truncated, damaged, not an image, or more than `MAX_PIXELS` pixels
            (known from the header, before anything is decoded).
    """
    data = source if isinstance(source, bytes) else _file_bytes(Path(source))
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    Image.init()
    try:
        with Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(_too_many_pixels(f"{width} x {height} pixels"))
            image.load()
            # Only now: Pillow turns a TIFF upright itself while loading, and takes the tag away.
            upright = _UPRIGHT.get(_orientation(image))
            rgb = _to_rgb(image)
            return np.array(rgb.transpose(upright) if upright is not None else rgb)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_too_many_pixels("too many pixels")) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"not an image of a known format ({', '.join(FORMATS)}), or cut off in its header") from error
    except Exception as error:  # Pillow's decoders raise whatever their parsers trip over
        cause = "is cut off (truncated)" if "truncated" in str(error).lower() else "is damaged"
        raise ImageError(f"the image {cause}: {error or type(error).__name__}") from error


def _file_bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ImageError("this is a folder, not an image")
        if not path.is_file():
            raise ImageError("there is no such file")
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise ImageError(f"the file has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"the file cannot be read: {error.strerror or error}") from error


def _too_many_pixels(what: str) -> str:
    return f"{what}; at most {MAX_PIXELS:,} are decoded (a larger image may be a decompression bomb)"


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # a damaged EXIF block says nothing about how to hold the picture; the pixels are still good
        return 1
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return Image.fromarray(_to_8_bit(np.asarray(image), sixteen_bit=image.mode != "F")).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(values: NDArray[Any], *, sixteen_bit: bool) -> NDArray[np.uint8]:
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ImageError("the image holds values that are not finite")
    low, high = float(wide.min()), float(wide.max())
    ranges = (65535.0,) if sixteen_bit else (1.0, 255.0)
    full = next((full for full in ranges if low >= 0 and high <= full), None)
    if full is None:
        wide, full = wide - low, high - low
    return np.rint(wide * (255.0 / full) if full else wide).astype(np.uint8)


def resize_image(
    image: NDArray[np.uint8], size: int, resize: str = "squash", interpolation: str = "bicubic"
) -> NDArray[np.uint8]:
    """Make an image square: uint8 (height, width, 3) -> uint8 (size, size, 3), antialiased (Pillow).

    ``resize``: "squash" ignores the aspect ratio; "pad" fits the whole image in and fills up with black; "crop" takes
    the largest square in the middle. An image that has the size already is returned as it is.
    """
    if resize not in RESIZE_POLICIES:
        raise ValueError(f"resize is one of {', '.join(RESIZE_POLICIES)}, not {resize!r}")
    resample = INTERPOLATIONS[interpolation]
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    picture = Image.fromarray(image)
    if resize == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        return np.array(picture.resize((size, size), resample, box=(left, top, left + side, top + side)))
    if resize == "squash":
        return np.array(picture.resize((size, size), resample))
    scale = size / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.zeros((size, size, 3), np.uint8)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    fitted = picture.resize((new_width, new_height), resample)
    square[top : top + new_height, left : left + new_width] = np.asarray(fitted)
    return square


def array_image(array: NDArray[Any]) -> NDArray[np.uint8]:
    """One image of an ``.npz`` array, (h, w), (h, w, 1) or (h, w, 3), as RGB: uint8 (h, w, 3).

    Values lie in 0..255; floats are rounded.

    Raises:
        ImageError: another shape or type, or values that are not finite or outside 0..255.
    """
    gray = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)
    if not gray and not (array.ndim == 3 and array.shape[2] == 3):
        raise ImageError(f"an image has the shape (height, width), (…, 1) or (…, 3), not {array.shape}")
    if array.dtype.kind not in "uif" or not array.size:
        raise ImageError(f"the image has {array.size} values of type {array.dtype}; pixels are numbers 0..255")
    if array.dtype != np.uint8:
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255):
            raise ImageError("the image holds values that are not finite or lie outside 0..255")
        array = np.rint(array).astype(np.uint8)
    pixels = array.reshape(*array.shape[:2], -1)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*array.shape[:2], 3)), dtype=np.uint8)


class Normaliser:
    """Bytes to what a network wants to see: ``(x / 255 - mean) / std`` of each channel.

    Args:
        mean, std: of red, green and blue, on the scale 0..1.
        width: of the images, in pixels.
        device: where the images are.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], width: int, device: torch.device | str) -> None:
        import torch

        # One number for every value of a row of pixels: three numbers that alternate would keep the processor from
        # computing on several values at a time, which takes six times as long.
        deviation, centre = torch.tensor(std, dtype=torch.float64), torch.tensor(mean, dtype=torch.float64)
        self._scale = (1.0 / (255.0 * deviation)).float().repeat(width).to(device)
        self._offset = (-centre / deviation).float().repeat(width).to(device)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (n, height, width, 3) -> float32 (n, 3, height, width) in the memory layout channels-last."""
        rows = images.flatten(2).float().mul_(self._scale).add_(self._offset)
        return rows.view(images.shape).permute(0, 3, 1, 2)


def _middle(pixels: torch.Tensor) -> torch.Tensor:
    import torch

    height, width = pixels.shape[2:]
    # The same on both sides, so that flipping and zooming may be done in either order.
    top, left = (min(max(1, round(side * (1 - ZOOM) / 2)), (side - 1) // 2) for side in (height, width))
    middle = pixels[:, :, top : height - top, left : width - left]
    return torch.nn.functional.interpolate(middle, size=(height, width), mode="bilinear", align_corners=False)


def predict_views(
    model: torch.nn.Module,
    images: NDArray[np.uint8],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    views: Sequence[str] = ("identity",),
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    precision: torch.dtype | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Softmax probabilities of uint8 images (n, s, s, 3), per view of `VIEWS`: float32 (n, classes).

    ``model`` is on ``device`` already and is handed back in the mode, training or not, in which it came. It computes in
    full float32 (no autocast, no TF32), or in a lower ``precision`` where one is given and that is safe.
    """
    import torch

    parts: dict[str, list[torch.Tensor]] = {view: [] for view in views}
    normaliser = Normaliser(mean, std, images.shape[2], device)
    was_training = model.training
    model.eval()
    cudnn = torch.backends.cudnn
    try:
        with (
            torch.no_grad(),  # not inference_mode: what a network caches here must still serve its training
            torch.autocast(torch.device(device).type, dtype=precision, enabled=precision is not None),
            cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            for start in range(0, max(len(images), 1), batch_size):  # an empty set makes one empty batch
                batch = np.array(images[start : start + batch_size])  # a copy: images may be a read-only memory map
                pixels = normaliser(torch.from_numpy(batch).to(device))
                for view in views:
                    logits = model(VIEWS[view].of(pixels))
                    parts[view].append(logits.float().softmax(dim=1))
    finally:
        model.train(was_training)
    # One wait for the device, not one a batch.
    return {view: torch.cat(batches).cpu().numpy() for view, batches in parts.items()}


@dataclass(frozen=True, kw_only=True)
class Blend:
    """From the probabilities of M members for C classes to one prediction."""

    weights: tuple[float, ...]
    """What each member counts in the mean of the probabilities: M numbers, not negative, sum 1."""
    coefficients: tuple[tuple[float, ...], ...] = ()
    """Of a multinomial logistic regression on the members' log probabilities, instead of the mean: C rows of M x C,
    member after member. Empty: the mean."""
    intercepts: tuple[float, ...] = ()
    """Of the same: C numbers."""
    temperature: float = 1.0
    """Every probability to the power 1 / temperature, normalised again."""
    offsets: tuple[float, ...] = ()
    """Added to the log probabilities before the largest decides: C numbers. Empty: none."""
    cuts: tuple[float, ...] = ()
    """Of classes in order: the label is the number of cuts that the expected label lies above. C - 1 ascending numbers.
    Empty: the largest probability decides."""

    def probabilities(self, members: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Blend the probabilities of the members, (M, n, C): (n, C), rows sum to 1."""
        if self.coefficients:
            logs = np.concatenate([_logs(member) for member in members], axis=1)
            blended = _softmax(logs @ np.array(self.coefficients).T + np.array(self.intercepts))
        else:
            blended = np.zeros(members.shape[1:])
            for weight, member in zip(self.weights, members, strict=True):
                if weight:
                    blended += weight * member.astype(np.float64)
        return blended if self.temperature == 1.0 else _softmax(_logs(blended) / self.temperature)

    def labels(self, proba: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """The class of each row of `probabilities`, (n, C): int64 (n,)."""
        if self.cuts:
            rows = proba.astype(np.float64)
            expected = rows @ np.arange(rows.shape[1]) / rows.sum(axis=1)
            best = np.searchsorted(np.array(self.cuts), expected, side="left")
        elif self.offsets:
            best = (_logs(proba) + np.array(self.offsets)).argmax(axis=1)
        else:
            best = proba.argmax(axis=1)
        return np.asarray(best, dtype=np.int64)


def _logs(proba: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    rows = proba.astype(np.float64)
    rows = rows / rows.sum(axis=1, keepdims=True)
    return np.asarray(np.log(np.clip(rows, SMALLEST_PROBABILITY, 1.0)))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


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


def predict_member(
    model: ModelFolder, member: Member, images: NDArray[np.uint8], *, batch_size: int = 64, device: str = "cpu"
) -> NDArray[np.float64]:
    """Probabilities that one member of ``model`` gives, averaged over its weights and views: (n, C).

    Args:
        images: (n, size, size, 3), resized already to the member's `Member.form`.

    Raises:
        ModelError: the weights do not fit the backbone as the installed timm builds it, or predict no numbers.
    """
    import timm
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    total = np.zeros((len(images), member.classes))
    try:
        network = timm.create_model(
            member.backbone, pretrained=False, num_classes=member.classes, **member.model_args
        ).to(device)
        for path in member.weights:
            network.load_state_dict(load_file(path))
            views = predict_views(
                network, images, mean=member.mean, std=member.std, views=member.views, batch_size=batch_size,
                device=device,
            )  # fmt: skip
            total += np.sum(list(views.values()), axis=0, dtype=np.float64)
    except (RuntimeError, ValueError, AssertionError, SafetensorError) as error:
        hint = f"the model was exported with timm {model.timm_version}, here is {timm.__version__}"
        raise ModelError(f"{member.backbone} cannot predict: {error} ({hint})") from error
    if not np.isfinite(total).all():
        raise ModelError(f"the weights of {member.backbone} predict values that are not finite")
    return total / (len(member.weights) * len(member.views))


Item = tuple[str, Path | NDArray[Any]]
"""One image to predict: its id, and the file or the array that holds it."""


def list_images(given: Sequence[str | os.PathLike[str]]) -> list[Item]:
    """What to predict: files as given, the images below a folder (recursively, sorted), the rows of an ``.npz``.

    Hidden files and folders, which operating systems leave behind, are passed over.

    Raises:
        ModelError: no image at all, or an ``.npz`` without a plain array ``arr_0``.
    """
    items: list[Item] = []
    for path in map(Path, given):
        if path.suffix.lower() == ".npz":
            try:
                with np.load(path, allow_pickle=False) as archive:
                    items += [(str(row), image) for row, image in enumerate(archive["arr_0"])]
            except Exception as error:  # zipfile, zlib and numpy each have their own; the cause is in the message
                raise ModelError(f"{path} holds no array arr_0 of images: {error}") from error
        elif path.is_dir():
            files = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file())
            names = ((file.relative_to(path), file) for file in files)
            items += [(name.as_posix(), file) for name, file in names if not any(part[0] == "." for part in name.parts)]
        else:
            items.append((path.name, path))
    if not items:
        raise ModelError(f"no image in {', '.join(map(str, given))} (looked for {' '.join(sorted(SUFFIXES))})")
    return items


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What a model folder says of n images."""

    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    proba: NDArray[np.float64]
    """(n, C), rows sum to 1."""
    labels: NDArray[np.int64]
    """Index of the predicted class, by the folder's decision rule: (n,)."""


def predict_folder(
    model_dir: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    *,
    batch_size: int = 64,
    device: str = "cpu",
) -> Predictions:
    """Predict files, folders or ``.npz`` archives with a model folder.

    Raises:
        ModelError: see `load_model_folder`, `list_images`, `predict_member`.
        ImageError: images that cannot be read, all of them, one per line.
    """
    model = load_model_folder(model_dir)
    items = list_images(images)
    forms = tuple(dict.fromkeys(member.form for member in model.members))
    parts, problems = [], []
    chunk = max(1, CHUNK_BYTES // sum(3 * size**2 for size, _, _ in forms))
    for start in range(0, len(items), chunk):
        rows: list[list[NDArray[np.uint8]]] = []
        for (name, _), read in zip(
            items[start : start + chunk], _read_all(items[start : start + chunk], forms), strict=True
        ):
            if isinstance(read, ImageError):
                problems.append(f"{name}: {read}")
            else:
                rows.append(read)
        if not problems:  # after the first bad image the rest is only looked at, to name all bad ones at once
            pixels = {form: np.stack([row[i] for row in rows]) for i, form in enumerate(forms)}
            by_member = [
                predict_member(model, member, pixels[member.form], batch_size=batch_size, device=device)
                for member in model.members
            ]
            parts.append(model.blend.probabilities(np.stack(by_member)))
    if problems:
        raise ImageError("\n".join(problems))
    proba = np.concatenate(parts)
    return Predictions(
        ids=tuple(name for name, _ in items),
        class_names=model.class_names,
        proba=proba,
        labels=model.blend.labels(proba),
    )


def _read_all(
    items: Sequence[Item], forms: Sequence[tuple[int, str, str]]
) -> Iterator[list[NDArray[np.uint8]] | ImageError]:
    """Each image in every form, decoded once."""

    def read(item: Item) -> list[NDArray[np.uint8]] | ImageError:
        try:
            image = read_image(item[1]) if isinstance(item[1], Path) else array_image(item[1])
        except ImageError as error:
            return error
        return [resize_image(image, *form) for form in forms]

    with ThreadPoolExecutor() as pool:
        yield from pool.map(read, items)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write ``image_id,y_pred,p_<class>,...``; the file appears whole or not at all."""
    names = predictions.class_names
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["image_id", "y_pred", *(f"p_{name}" for name in names)])
            table.writerows(
                [image, names[label], *(f"{value:.9g}" for value in row)]
                for image, label, row in zip(predictions.ids, predictions.labels, predictions.proba, strict=True)
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> int:
    """The command line: exit code 0, or 1 with the causes on stderr."""
    parser = argparse.ArgumentParser(description="Predict the classes of images with this model folder.")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="a folder, image files, or an .npz with arr_0")
    parser.add_argument("--output", type=Path, default=Path("predictions.csv"), help="table to write (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="images per batch (%(default)s)")
    given = parser.parse_args()
    try:
        predictions = predict_folder(
            Path(__file__).resolve().parent, given.images, batch_size=given.batch_size, device=given.device
        )
        write_predictions(given.output, predictions)
    except (ModelError, ImageError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{len(predictions.ids)} images -> {given.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
