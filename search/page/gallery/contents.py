"""The stored pictures of a study: a file beside its networks, which is checked like everything that is read.

    artifacts/galleries/STUDY@DATABASE/gallery.json

The report of another host, with another home folder, does not have them and says so.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.runtime.kept_networks import artifacts_of
from storage.records.datasets import StoredDataset
from storage.stores import Stores
from trainer.common.files import replacing
from trainer.evaluation.examples.example import Reason
from trainer.inference.printable import printable

MOST_PICTURES = 60
SIDE = 160
"""Longest side of a picture, in pixels."""
SHOWN_CLASSES = 3
"""Number of probabilities of each image, the largest ones."""
TRAIN, TEST = "train", "test"

_FORMAT = 1
_FILE = "gallery.json"
_MOST_BYTES = 40_000  # of one JPEG of this size; Pillow's largest at our quality has half as many
_MOST_FILE_BYTES = 8 * 2**20
_MOST_TEXT = 1000  # characters

log = logging.getLogger(__name__)


class _Damaged(SearchError):
    """The file holds something else. The message says what."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image small, with its prediction. Classes are indices."""

    part: str
    """`TRAIN` or `TEST`."""
    row: int
    """Index among the training or test images of the data set."""
    reasons: tuple[Reason, ...]
    """The first is the one that it is listed under."""
    label: int | None
    """True class; None: a test image."""
    top: tuple[tuple[int, float], ...]
    """The most probable classes with their probabilities, the largest first; `SHOWN_CLASSES` at most."""
    label_probability: float | None
    """Of the true class; None: a test image."""
    jpeg: bytes
    map: bytes | None
    """JPEG of the same size: the image in gray under its class-activation map; None: there is none."""
    focus: str
    """Where the map is largest, such as ``top left``; empty without a map."""

    @property
    def predicted(self) -> int:
        """The most probable class."""
        return self.top[0][0]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The pictures of one study."""

    fingerprint: str
    """Of the data set."""
    study: str
    """Name of the study of the leading trial."""
    trial: int
    """Number of the leading trial."""
    source: str
    """Whose predictions these are, as a sentence."""
    notes: tuple[str, ...]
    """What is missing and why, a sentence each."""
    pictures: tuple[Picture, ...]
    """By reason."""


def write_gallery(stores: Stores, home: Home, name: str, gallery: Gallery) -> None:
    """Store the pictures of the study called ``name``, in place of earlier ones.

    Raises:
        OSError: the file cannot be written.
    """
    path = _path(stores, home, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_to_json(gallery), allow_nan=False), encoding="utf-8")


def read_gallery(stores: Stores, home: Home, name: str, dataset: StoredDataset) -> Gallery | None:
    """The stored pictures of the study called ``name``; None: there are none, or they are damaged or of other images.

    Args:
        dataset: of the study; rows and classes must be its own.
    """
    path = _path(stores, home, name)
    try:
        if path.is_symlink() or not path.is_file():
            return None
        if (size := path.stat().st_size) > _MOST_FILE_BYTES:
            raise _Damaged(f"it has {size:,} bytes, and at most {_MOST_FILE_BYTES:,} are read")
        gallery = _from_json(json.loads(path.read_bytes().decode("utf-8")), dataset)
    except Exception as problem:  # whatever the parsers of JSON, base64 and JPEG raise
        log.warning("the pictures in %s are damaged and not shown (%s); an export draws them again", path, problem)
        return None
    return gallery if gallery.fingerprint == dataset.fingerprint else None


def remove_gallery(stores: Stores, home: Home, name: str) -> None:
    """Remove the stored pictures of the study called ``name``, if there are any.

    Raises:
        OSError: they cannot be removed.
    """
    _path(stores, home, name).unlink(missing_ok=True)


def _path(stores: Stores, home: Home, name: str) -> Path:
    return artifacts_of(stores, home).folder_of(name, "galleries") / _FILE


def _to_json(gallery: Gallery) -> dict[str, Any]:
    return {
        "made_by": "retable",
        "format": _FORMAT,
        "fingerprint": gallery.fingerprint,
        "study": gallery.study,
        "trial": gallery.trial,
        "source": gallery.source,
        "notes": list(gallery.notes),
        "pictures": [
            {
                "part": picture.part,
                "row": picture.row,
                "reasons": [reason.value for reason in picture.reasons],
                "label": picture.label,
                "top": [list(pair) for pair in picture.top],
                "label_probability": picture.label_probability,
                "jpeg": base64.b64encode(picture.jpeg).decode("ascii"),
                "map": None if picture.map is None else base64.b64encode(picture.map).decode("ascii"),
                "focus": picture.focus,
            }
            for picture in gallery.pictures
        ],
    }


def _from_json(content: Mapping[str, Any], dataset: StoredDataset) -> Gallery:
    if content["made_by"] != "retable" or content["format"] != _FORMAT:
        raise _Damaged("another program or release wrote it")
    if len(content["pictures"]) > MOST_PICTURES or len(content["notes"]) > MOST_PICTURES:
        raise _Damaged("it has too many pictures")
    return Gallery(
        fingerprint=_text(content["fingerprint"]),
        study=_text(content["study"]),
        trial=_whole(content["trial"], 2**31),
        source=_text(content["source"]),
        notes=tuple(_text(note) for note in content["notes"]),
        pictures=tuple(_picture(picture, dataset) for picture in content["pictures"]),
    )


def _picture(content: Mapping[str, Any], dataset: StoredDataset) -> Picture:
    part, label = content["part"], content["label"]
    if part not in (TRAIN, TEST) or (label is None) != (part == TEST):
        raise _Damaged("a picture is of no part of the data")
    classes = len(dataset.class_names)
    top = tuple((_whole(index, classes), _probability(value)) for index, value in content["top"])
    if not 1 <= len(top) <= SHOWN_CLASSES:
        raise _Damaged("a picture has no probabilities")
    reasons = tuple(Reason(reason) for reason in content["reasons"])
    if not reasons or len(set(reasons)) < len(reasons):
        raise _Damaged("a picture has no reason, or one twice")
    jpeg = _jpeg(content["jpeg"])
    return Picture(
        part=part,
        row=_whole(content["row"], len(dataset.train_ids if part == TRAIN else dataset.test_ids)),
        reasons=reasons,
        label=None if label is None else _whole(label, classes),
        top=top,
        label_probability=None if label is None else _probability(content["label_probability"]),
        jpeg=jpeg,
        map=None if content["map"] is None else _jpeg(content["map"]),
        focus=_text(content["focus"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        raise _Damaged("a text is none or too long")
    return printable(value)


def _whole(value: object, end: int) -> int:
    if type(value) is not int or not 0 <= value < end:
        raise _Damaged("a number is out of range")
    return value


def _probability(value: object) -> float:
    if type(value) not in (int, float) or not 0.0 <= float(value) <= 1.0 + 1e-6 or not math.isfinite(value):  # type: ignore[arg-type]
        raise _Damaged("a probability is not between 0 and 1")
    return float(value)  # type: ignore[arg-type]


def _jpeg(value: object) -> bytes:
    """The bytes of a picture, whose header must be that of a small JPEG. Pixels are not decoded."""
    if not isinstance(value, str) or len(value) > 2 * _MOST_BYTES:
        raise _Damaged("a picture is none or too large")
    data = base64.b64decode(value, validate=True)
    if len(data) > _MOST_BYTES:
        raise _Damaged("a picture is too large")
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        if max(image.size) > SIDE:
            raise _Damaged("a picture is too large")
    return data


def size_of_jpeg(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a stored picture."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return image.size
