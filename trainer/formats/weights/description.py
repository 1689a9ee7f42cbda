"""Descriptions of registered weights: ``NAME.json`` beside ``NAME.safetensors`` in a weights folder.

A description says which images the weights were trained on, how well they did, under which licences they stand, and
which content the weights file has. It may come from another machine, so it is checked like any other input.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.common.errors import BackboneError
from trainer.common.files import replacing
from trainer.formats.weights.trained_on import TrainedOn, read_sets, written_sets
from trainer.formats.weights.value_rules import Rule, count, digest, number, scalars, text

FORMAT = "retable weights 1"
"""Marks the file, so that no other JSON file beside weights is taken for a description."""
MAX_BYTES = 8 * 2**20
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
"""Valid names of registered weights. A name becomes that of a file and a part of a study's name."""

SUPERVISED, SELF_SUPERVISED = "supervised", "self-supervised"
METHODS = (SUPERVISED, SELF_SUPERVISED)


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


_RULES: dict[str, Rule] = {
    "name": text(NAME_PATTERN.pattern),
    "backbone": text(r"\w+(\.\w+)?"),
    "method": lambda v: v in METHODS,
    "init": text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"),
    "sha256": digest,
    "request": digest,
    "recipe": scalars,
    "metric": text(),
    "score": number,
    "score_error": number,
    "held_out": count(),
    "weights_license": text(),
    "note": text(limit=2000),
    "versions": scalars,
    "created": text(),
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
