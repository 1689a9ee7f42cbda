"""The sets of images that trained weights, as descriptions and the headers of weights files record them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.formats.weights.value_rules import Rule, count, digest, text

CONTENT_DIGITS = 12
"""Hexadecimal digits that stand for the content of an image file. Among 10^5 files, two of 10^4 others agree by chance
with a probability of 4e-6."""
_CONTENTS = re.compile(rf"([0-9a-f]{{{CONTENT_DIGITS}}})*")
MOST_SETS = 20
"""Sets of images in a description: of a longer chain of trainings the first ones are left out."""
MAX_CONTENTS = 500_000
"""Images whose contents a description holds; of more, it holds none."""


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """A set of images that weights were trained on."""

    folder: str
    """Name of the folder, without its path."""
    fingerprint: str
    """SHA-256 (hex) of the image set in that folder as it was read (`trainer.data.image_set.ImageSet.fingerprint`)."""
    images: int
    """Number of images that were trained on or held out."""
    classes: int
    """Number of classes; 0: the labels were not used."""
    test_images: int = 0
    """How many of the images are test images of that folder."""
    license_note: str = ""
    """What the user says about the licence of the images."""
    several_labels: bool = False
    """Whether an image may have several of the classes, or none. Written only if it is so: older files lack it."""
    contents: str = ""
    """Of the images whose labels were learned, the first `CONTENT_DIGITS` digits of each SHA-256 of a file, sorted and
    joined; empty: not known. Written only if it is known."""

    def known_among(self, digests: Sequence[bytes]) -> int:
        """Number of images whose labels were learned, by `contents`.

        Args:
            digests: SHA-256 of each image file.
        """
        starts = range(0, len(self.contents), CONTENT_DIGITS)
        known = {self.contents[start : start + CONTENT_DIGITS] for start in starts}
        return sum(digest.hex()[:CONTENT_DIGITS] in known for digest in digests)

    @property
    def of_classes(self) -> str:
        """``of 2 classes``, or ``of 14 labels (an image may have several)``."""
        return f"of {self.classes} " + ("labels (an image may have several)" if self.several_labels else "classes")

    @property
    def words(self) -> str:
        """The set for people: ``8,094 images of 2 classes in wikiart (licence note: ...)``."""
        if self == UNKNOWN_IMAGES:
            return self.folder
        images = f"{self.images:,} images" + f" {self.of_classes}" * bool(self.classes)
        tests = f", {self.test_images:,} of them test images," * bool(self.test_images)
        note = f" (licence note: {self.license_note})" * bool(self.license_note)
        return f"{images}{tests} in {self.folder}{note}"


UNKNOWN_IMAGES = TrainedOn(folder="images that are not recorded", fingerprint="0" * 64, images=1, classes=1)
"""Stands for the images that trained weights of which nothing is recorded."""


def folder_name(folder: Path) -> str:
    """Name of a folder of images for `TrainedOn.folder`: without its path and control characters."""
    return re.sub(r"[\x00-\x1f\x7f]", "?", folder.resolve().name)[:100]


def contents_of(digests: Sequence[bytes]) -> str:
    """`TrainedOn.contents` of images with these SHA-256; empty of more than `MAX_CONTENTS`."""
    return "".join(sorted({one.hex()[:CONTENT_DIGITS] for one in digests})) if len(digests) <= MAX_CONTENTS else ""


def written_sets(sets: Sequence[TrainedOn]) -> list[dict[str, Any]]:
    """Sets of images as JSON holds them, the last `MOST_SETS`."""
    return [
        {key: value for key, value in dataclasses.asdict(one).items() if value or key not in _OPTIONAL_SET_RULES}
        for one in sets[-MOST_SETS:]
    ]


def read_sets(raw: object) -> tuple[TrainedOn, ...] | None:
    """Sets of images as `written_sets` writes them; None: ``raw`` is something else."""
    if not isinstance(raw, list) or not 0 < len(raw) <= MOST_SETS:
        return None
    if not all(isinstance(one, dict) and _is_set(one) for one in raw):
        return None
    rules = _SET_RULES | _OPTIONAL_SET_RULES
    return tuple(TrainedOn(**{key: one[key] for key in rules if key in one}) for one in raw)


_SET_RULES: dict[str, Rule] = {
    "folder": text(),
    "fingerprint": digest,
    "images": count(1),
    "classes": count(),
    "test_images": count(),
    "license_note": text(),
}
_OPTIONAL_SET_RULES: dict[str, Rule] = {
    "several_labels": lambda v: isinstance(v, bool),
    "contents": lambda v: isinstance(v, str) and _CONTENTS.fullmatch(v) is not None,
}
"""Of keys that a set may lack."""


def _is_set(one: Mapping[str, Any]) -> bool:
    return all(key in one and rule(one[key]) for key, rule in _SET_RULES.items()) and all(
        rule(one[key]) for key, rule in _OPTIONAL_SET_RULES.items() if key in one
    )
