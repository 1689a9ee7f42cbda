"""What cached features are of: a file beside them, by which they are found without the network and the images."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from trainer.common.files import replacing

_LONGEST = 4096  # bytes of a file that is read
_KEY = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Images and network of features."""

    fingerprint: str
    """Of the image set, SHA-256 (hex)."""
    backbone: str
    image_size: int
    """Side of the images, in pixels."""


def write_origin(folder: Path, key: str, origin: Origin) -> None:
    """Write the origin of the features ``{key}-{view}.npy``. A folder that cannot be written to is logged."""
    try:
        with replacing(folder / f"{key}.json") as temporary:
            temporary.write_text(json.dumps(asdict(origin)), encoding="utf-8")
    except OSError as problem:
        log.warning("the origin of features is not kept in %s: %s", folder, problem.strerror or problem)


def find_features(folder: Path, fingerprint: str) -> list[tuple[Path, Origin]]:
    """The features of an image set in a cache: file of the unchanged view and origin, by backbone and image size.

    What is unreadable, or not as `write_origin` writes it, is skipped.
    """
    found = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        origin, features = _read(path), path.with_name(f"{path.stem}-identity.npy")
        if origin is not None and origin.fingerprint == fingerprint and features.is_file():
            found.append((features, origin))
    return sorted(found, key=lambda pair: (pair[1].backbone, pair[1].image_size, pair[0].name))


def _read(path: Path) -> Origin | None:
    try:
        if not _KEY.fullmatch(path.stem) or not path.is_file() or path.stat().st_size > _LONGEST:
            return None
        known = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(known, dict) or set(known) != set(Origin.__dataclass_fields__):
        return None
    is_valid = isinstance(known["fingerprint"], str) and isinstance(known["backbone"], str)
    return Origin(**known) if is_valid and type(known["image_size"]) is int else None
