"""Descriptions of registered weights: ``NAME.json`` beside ``NAME.safetensors`` in a weights folder.

A description says which images the weights were trained on, how well they did, under which licences they stand, and
which content the weights file has. It may come from another machine, so it is checked like any other input.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.common.errors import BackboneError
from trainer.common.files import replacing

FORMAT = "retable weights 1"
"""Marks the file, so that no other JSON file beside weights is taken for a description."""
MAX_BYTES = 8 * 2**20
MAX_NOTE = 200  # characters of a note, a name of a folder, or any other text
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
"""Valid names of registered weights. A name becomes that of a file and a part of a study's name."""

SUPERVISED, SELF_SUPERVISED = "supervised", "self-supervised"
METHODS = (SUPERVISED, SELF_SUPERVISED)

_Rule = Callable[[object], bool]

_DIGEST = re.compile(r"[0-9a-f]{64}")
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


@dataclass(frozen=True, kw_only=True)
class WeightsDescription:
    """What is known of registered weights."""

    name: str
    """Of the files, and the value of ``recipe.init``."""
    backbone: str
    """timm name of the network that the weights belong to."""
    method: str
    """One of `METHODS`."""
    init: str
    """Weights from which the training began: ``pretrained``, ``scratch``, or a name of registered weights."""
    trained_on: tuple[TrainedOn, ...]
    """The last set is that of this training; the sets before it are those of the weights from which it began."""
    sha256: str
    """SHA-256 (hex) of the weights file."""
    request: str
    """SHA-256 (hex) of the data and the settings of the training: equal requests train equal weights."""
    recipe: Mapping[str, Any]
    """Flat, as trained."""
    metric: str = ""
    score: float | None = None
    """``metric`` on the images that were held out; None if no image was."""
    score_error: float | None = None
    """Standard error of ``score``."""
    held_out: int = 0
    """Number of images that were held out."""
    weights_license: str = ""
    """Licence of the published weights from which the first training began; empty: random weights."""
    note: str = ""
    """What happened in the training, such as that a deadline shortened it."""
    versions: Mapping[str, Any] = field(default_factory=dict)
    """Releases of the libraries."""
    created: str = ""
    """Date, ISO 8601."""

    @property
    def words(self) -> str:
        """Origin of the weights for people, a sentence without its full stop."""
        license_note = f", licence {self.weights_license}" * bool(self.weights_license)
        begin = {"pretrained": f"published weights{license_note}", "scratch": "random weights"}
        start = begin.get(self.init, f"{self.init}{license_note}")
        sets = "; then on ".join(trained.words for trained in self.trained_on)
        return f"{self.backbone}, from {start}, {self.method} on {sets}"

    @property
    def scored(self) -> str:
        """Score for people; ``-`` if no image was held out."""
        if self.score is None:
            return "-"
        return f"{self.metric} {self.score:.4f} ± {self.score_error or 0.0:.4f} on {self.held_out:,} held-out images"


def folder_name(folder: Path) -> str:
    """Name of a folder of images for `TrainedOn.folder`: without its path and control characters."""
    return re.sub(r"[\x00-\x1f\x7f]", "?", folder.resolve().name)[:100]


def contents_of(digests: Sequence[bytes]) -> str:
    """`TrainedOn.contents` of images with these SHA-256; empty of more than `MAX_CONTENTS`."""
    return (
        "".join(sorted({digest.hex()[:CONTENT_DIGITS] for digest in digests})) if len(digests) <= MAX_CONTENTS else ""
    )


def check_weights_name(name: str) -> str:
    """Return ``name`` if weights may be registered under it.

    Raises:
        BackboneError: it is not of `NAME_PATTERN`, or a word that ``recipe.init`` has another use for.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise BackboneError(
            f"weights cannot be called {name!r}: use up to 40 ASCII letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit"
        )
    if name in ("pretrained", "scratch", "imagenet"):
        raise BackboneError(
            f"weights cannot be called {name!r}: init = {name!r} has another meaning; choose another name"
        )
    return name


def description_path(weights_file: Path, name: str) -> Path:
    """Where the description of the weights called ``name`` is."""
    return weights_file.with_name(f"{name}.json")


def write_description(path: Path, description: WeightsDescription) -> None:
    """Write a description; the file appears complete or not at all.

    Raises:
        OSError: it cannot be written.
    """
    content = {"format": FORMAT, **dataclasses.asdict(description)}
    content["trained_on"] = written_sets(description.trained_on)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_description(path: Path) -> WeightsDescription | None:
    """Read a description; None if there is no such file, or if the file is another program's.

    Raises:
        BackboneError: the file cannot be read, is damaged, or describes weights of another name.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackboneError(f"the description {path} cannot be read: {error.strerror or error}") from error
    try:
        raw = json.loads(content.decode()) if len(content) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        return None
    problems = list(_problems(raw, path.name.removesuffix(".json")))
    if problems:
        raise BackboneError(
            f"the description {path} is damaged ({problems[0]}): restore it together with its weights, or remove both"
        )
    sets = read_sets(raw["trained_on"])
    assert sets is not None, "it was checked with the rest"
    return WeightsDescription(**{**{key: raw[key] for key in _RULES}, "trained_on": sets})


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


def _text(pattern: str = r"[^\x00-\x1f\x7f]*", limit: int = MAX_NOTE) -> _Rule:
    return lambda v: isinstance(v, str) and len(v) <= limit and re.fullmatch(pattern, v) is not None


def _count(low: int = 0) -> _Rule:
    return lambda v: type(v) is int and low <= v < 2**53


def _number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))


def _digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _scalars(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str | int | float | bool) for v in value.values())


_SET_RULES: dict[str, _Rule] = {
    "folder": _text(),
    "fingerprint": _digest,
    "images": _count(1),
    "classes": _count(),
    "test_images": _count(),
    "license_note": _text(),
}
_OPTIONAL_SET_RULES: dict[str, _Rule] = {
    "several_labels": lambda v: isinstance(v, bool),
    "contents": lambda v: isinstance(v, str) and _CONTENTS.fullmatch(v) is not None,
}
"""Of keys that a set may lack."""
_RULES: dict[str, _Rule] = {
    "name": _text(NAME_PATTERN.pattern),
    "backbone": _text(r"\w+(\.\w+)?"),
    "method": lambda v: v in METHODS,
    "init": _text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"),
    "sha256": _digest,
    "request": _digest,
    "recipe": _scalars,
    "metric": _text(),
    "score": _number,
    "score_error": _number,
    "held_out": _count(),
    "weights_license": _text(),
    "note": _text(limit=2000),
    "versions": _scalars,
    "created": _text(),
}
"""What each value has to be. Further keys are ignored: a later release may write them."""


def _problems(raw: Mapping[str, Any], name: str) -> Iterator[str]:
    """What is wrong with the values, a few words each."""
    for key, rule in _RULES.items():
        if key not in raw or not rule(raw[key]):
            yield f"{key} is not valid"
    if read_sets(raw.get("trained_on")) is None:
        yield "trained_on is no list of image sets"
    if raw.get("name") != name:
        yield f"it describes {str(raw.get('name'))[:60]!r}"


def _is_set(one: Mapping[str, Any]) -> bool:
    return all(key in one and rule(one[key]) for key, rule in _SET_RULES.items()) and all(
        rule(one[key]) for key, rule in _OPTIONAL_SET_RULES.items() if key in one
    )
