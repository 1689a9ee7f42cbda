"""The stored pictures of a study: a file beside its networks, which is checked like everything that is read.

    artifacts/galleries/STUDY@DATABASE/gallery.json

The report of another host, with another home folder, does not have them and says so. Format 1 has no lists of labels:
its pictures are of images with one label each, and it is still read.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.runtime.kept_networks import artifacts_of
from storage.records.datasets import StoredDataset
from storage.stores import Stores
from trainer.common.files import replacing
from trainer.evaluation.examples.example import ONE_LABEL, SEVERAL_LABELS, Reason
from trainer.evaluation.several_labels import has_several, label_numbers
from trainer.inference.printable import printable

MOST_PICTURES = 60
SIDE = 160
"""Longest side of a picture, in pixels."""
SHOWN_CLASSES = 3
"""Number of probabilities of each image, the largest ones."""
MOST_SHARES = 8
"""Number of probabilities of each image with those of its labels and of the labels that are predicted, at most."""
TRAIN, TEST = "train", "test"

_FORMAT, _ONE_LABEL_FORMAT = 2, 1
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
    labels: tuple[int, ...] | None
    """True classes, ascending: one, or any number where images may have several; None: a test image."""
    predicted: tuple[int, ...]
    """Predicted classes, ascending: the most probable one, or any number where images may have several."""
    shares: tuple[tuple[int, float], ...]
    """Classes with their probabilities, the largest first: the most probable ones, and true and predicted ones."""
    jpeg: bytes
    map: bytes | None
    """JPEG of the same size: the image in gray under its class-activation map; None: there is none."""
    mapped: int | None
    """Class of the map; None without one."""
    focus: str
    """Where the map is largest, such as ``top left``; empty without a map."""


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
        content = json.loads(path.read_bytes().decode("utf-8"))
        if content["fingerprint"] != dataset.fingerprint:
            return None
        return _from_json(content, dataset)
    except Exception as problem:  # whatever the parsers of JSON, base64 and JPEG raise
        log.warning("the pictures in %s are damaged and not shown (%s); an export draws them again", path, problem)
        return None


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
                "labels": None if picture.labels is None else list(picture.labels),
                "predicted": list(picture.predicted),
                "shares": [list(pair) for pair in picture.shares],
                "jpeg": base64.b64encode(picture.jpeg).decode("ascii"),
                "map": None if picture.map is None else base64.b64encode(picture.map).decode("ascii"),
                "mapped": picture.mapped,
                "focus": picture.focus,
            }
            for picture in gallery.pictures
        ],
    }


def _from_json(content: Mapping[str, Any], dataset: StoredDataset) -> Gallery:
    if content["made_by"] != "retable" or content["format"] not in (_FORMAT, _ONE_LABEL_FORMAT):
        raise _Damaged("another program or release wrote it")
    if (one_label := content["format"] == _ONE_LABEL_FORMAT) and has_several(dataset.y):
        raise _Damaged("its pictures are of images with one label each")
    as_now = _of_one_label if one_label else dict
    if len(content["pictures"]) > MOST_PICTURES or len(content["notes"]) > MOST_PICTURES:
        raise _Damaged("it has too many pictures")
    return Gallery(
        fingerprint=_text(content["fingerprint"]),
        study=_text(content["study"]),
        trial=_whole(content["trial"], 2**31),
        source=_text(content["source"]),
        notes=tuple(_text(note) for note in content["notes"]),
        pictures=tuple(_picture(as_now(picture), dataset) for picture in content["pictures"]),
    )


def _of_one_label(content: Mapping[str, Any]) -> dict[str, Any]:
    """A picture of format 1 as one of today: the most probable class is the predicted one, and that of the map."""
    label, top = content["label"], list(content["top"])
    if not 1 <= len(top) <= SHOWN_CLASSES:
        raise _Damaged("a picture has no probabilities")
    predicted = top[0][0]
    others = [] if label is None or label in [index for index, _ in top] else [[label, content["label_probability"]]]
    return {
        **content,
        "labels": None if label is None else [label],
        "predicted": [predicted],
        "shares": [*top, *others],
        "mapped": None if content["map"] is None else predicted,
    }


def _picture(content: Mapping[str, Any], dataset: StoredDataset) -> Picture:
    classes, several = len(dataset.class_names), has_several(dataset.y)
    part, labels = content["part"], content["labels"]
    if part not in (TRAIN, TEST) or (labels is None) != (part == TEST):
        raise _Damaged("a picture is of no part of the data")
    shares = tuple((_whole(index, classes), _probability(value)) for index, value in content["shares"])
    if not 1 <= len(shares) <= MOST_SHARES or len({index for index, _ in shares}) < len(shares):
        raise _Damaged("a picture has no probabilities, too many, or two of a class")
    if any(after > before for (_, before), (_, after) in pairwise(shares)):
        raise _Damaged("the probabilities of a picture do not fall")
    reasons = tuple(Reason(reason) for reason in content["reasons"])
    if not reasons or len(set(reasons)) < len(reasons):
        raise _Damaged("a picture has no reason, or one twice")
    if not set(reasons) <= set(SEVERAL_LABELS if several else ONE_LABEL):
        raise _Damaged("a picture has a reason for images with another number of labels")
    if (content["map"] is None) != (content["mapped"] is None):
        raise _Damaged("a map is of no class")
    jpeg = _jpeg(content["jpeg"])
    row = _whole(content["row"], len(dataset.train_ids if part == TRAIN else dataset.test_ids))
    if labels is not None and _classes(labels, classes, several=several) != tuple(label_numbers(dataset.y[row])):
        raise _Damaged("the labels of a picture are not those of its image")
    return Picture(
        part=part,
        row=row,
        reasons=reasons,
        labels=None if labels is None else tuple(labels),
        predicted=_classes(content["predicted"], classes, several=several),
        shares=shares,
        jpeg=jpeg,
        map=None if content["map"] is None else _jpeg(content["map"]),
        mapped=None if content["mapped"] is None else _whole(content["mapped"], classes),
        focus=_text(content["focus"]),
    )


def _classes(value: object, end: int, *, several: bool) -> tuple[int, ...]:
    """Ascending indices of classes, below ``end``: one, or any number of ``several`` labels."""
    if not isinstance(value, list) or len(value) > end:
        raise _Damaged("the labels of a picture are no list")
    found = tuple(_whole(index, end) for index in value)
    if list(found) != sorted(set(found)) or (not several and len(found) != 1):
        raise _Damaged("the labels of a picture are not in order, or not as many as an image may have")
    return found


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
