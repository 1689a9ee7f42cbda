"""The images that JSON of any form names, and lists of parts in it that lie deeper than those that are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.data.readers.matching.id_spellings import composed, has_image_suffix
from trainer.formats.part_words import Part
from trainer.formats.parts import part_of

_KEY = re.compile(r'"([^"\\]{1,40})"\s*:\s*[\[{]')


def named_in_json(path: Path, known: Mapping[str, str]) -> list[str]:
    """The images that a file names in lists, also by their numbers, and elsewhere by the names of their files.

    Args:
        known: the image of each spelling of its path.
    """
    content = _content(path)
    return list(dict.fromkeys(filter(None, (known.get(name) for name in _names(content, numbers=True)))))


def held_out_deeper(path: Path, known: Mapping[str, str], *, repeated: bool) -> list[str]:
    """The images for testing and validation by lists of parts that lie in a list or another object; mostly none.

    As in ``{"fold_0": {"train": [...], "test": [...]}}`` and ``[{"train": [...], "test": [...]}]``.

    Args:
        known: the image of each spelling of its path.
        repeated: whether those that are training images by another of the objects count, as in a cross-validation.
    """
    text = _text(path)
    if len({part_of(key.strip().lower()) for key in _KEY.findall(text)} - {None}) < 2:
        return []
    content = _content(path)
    inner = content if isinstance(content, list) else content.values() if isinstance(content, dict) else ()
    trained: set[str] = set()
    held_out: dict[str, None] = {}
    for parts in _divisions(list(inner), known):
        trained.update(parts.get("train", ()))
        for part, images in parts.items():
            held_out |= dict.fromkeys(images if part != "train" else ())
    return [image for image in held_out if repeated or image not in trained]


def _divisions(value: Any, known: Mapping[str, str]) -> Iterator[Mapping[Part, Sequence[str]]]:
    """The images of each part by every object that has the names of two parts as its keys."""
    if isinstance(value, dict):
        found: dict[Part, list[str]] = {}
        for key, inner in value.items():
            part = part_of(key.strip().lower()) if isinstance(inner, (list, dict)) else None
            images = [image for name in _names(inner, numbers=False) if (image := known.get(name))] if part else []
            if part is not None and images:
                found.setdefault(part, []).extend(images)
        if len(found) > 1:
            yield found
            return
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _divisions(inner, known)


def _names(value: Any, *, numbers: bool) -> Iterator[str]:
    """The texts in lists, and the texts elsewhere that are names of image files."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (_plain(text) for text in (key, inner) if isinstance(text, str) and has_image_suffix(text))
            yield from _names(inner, numbers=numbers)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, str) or (numbers and isinstance(inner, int) and not isinstance(inner, bool)):
                yield _plain(str(inner))
            else:
                yield from _names(inner, numbers=numbers)


def _plain(text: str) -> str:
    return composed(text.strip().replace("\\", "/").removeprefix("./"))


def _content(path: Path) -> Any:
    """What a file holds; None if it is no JSON."""
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError):  # another rule reports it where it matters
        return None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="replace")
