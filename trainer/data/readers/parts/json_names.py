"""The images that JSON of any form names, and lists of parts in it that lie deeper than those that are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from trainer.data.names.parts import names_no_class, part_alone, split_of
from trainer.data.readers.matching.id_spellings import composed, has_image_suffix
from trainer.formats.part_words import Part
from trainer.formats.parts import part_of

_KEY = re.compile(r'"([^"\\]{1,40})"\s*:\s*[\[{]')
_NAMES_IMAGE = re.compile(
    r"ima?ge?|file|photo|pic(?:ture)?(?:[^a-z]|s|$)|name|(?:^|[^a-z])ids?(?:[^a-z]|$)", re.IGNORECASE
)
"""In the names of fields that hold the number of an image."""
_MOST_BYTES = 2**26
_DEEPEST = 100  # levels of lists and objects


def named_in_json(path: Path, known: Mapping[str, str]) -> list[str]:
    """The images that a file names in lists, also by their numbers, and elsewhere by the names of their files.

    Args:
        known: the image of each spelling of its path.
    """
    content = _parsed(_text(path))
    return list(dict.fromkeys(filter(None, (known.get(name) for name in _names(content, numbers=True)))))


def held_out_deeper(path: Path, known: Mapping[str, str], *, repeated: bool) -> list[str]:
    """The images for testing and validation by lists of parts that are not read; mostly none.

    They lie in a list or another object, or have other names: ``{"fold_0": {"train": [...], "test": [...]}}``,
    ``[{"train": [...], "test": [...]}]``, ``{"train_files": [...], "test_files": [...]}``.

    Args:
        known: the image of each spelling of its path.
        repeated: whether those that are training images by another of the objects count, as in a cross-validation.
    """
    text = _text(path)
    if len({*map(_part, _KEY.findall(text))} - {None}) < 2:
        return []
    content = _parsed(text)
    is_read = isinstance(content, dict) and any(part_of(key.strip().lower()) for key in content)
    inner = content.values() if is_read else [content]
    trained: set[str] = set()
    held_out: dict[str, None] = {}
    for parts in _divisions([*inner], known):
        trained.update(parts.get("train", ()))
        for part, images in parts.items():
            held_out |= dict.fromkeys(images if part != "train" else ())
    return [image for image in held_out if repeated or image not in trained]


def names_nothing(path: Path, images: Sequence[str]) -> bool:
    """Whether an object of JSON names neither images nor folders, and so labels none: ``dataset-metadata.json``.

    Files that are not there count as images, because the names may be those of copies, and so do numbers in the place
    of one. A single name may be that of a picture for a web page. A list with an entry for each image may label them
    in their order, and lists of whole numbers for two parts may divide them.

    Args:
        images: paths of the images in the data folder.
    """
    if path.suffix.lower() != ".json" or path.stat().st_size > _MOST_BYTES:
        return False
    content = _parsed(_text(path))
    if not isinstance(content, dict) or not content or _lists_numbers(content, len(images)):
        return False
    stems = {_plain(PurePosixPath(image).stem).casefold() for image in images}
    places = {part for image in images for part in PurePosixPath(image).parts[:-1]}
    folders = {_plain(name).casefold() for name in places if part_alone(name) is None and not names_no_class(name)}
    found: set[str] = set()
    for text, is_key in _texts(content):
        name = PurePosixPath(_plain(text)).name.casefold()
        if is_key and name in folders:
            return False
        if name in stems or (has_image_suffix(name) and "*" not in name):
            found.add(name)
        if len(found) > 1:
            return False
    return True


def _lists_numbers(value: Any, count: int) -> bool:
    """Whether ``value`` may speak of images by their places: in a list of ``count`` entries, or in lists of parts."""
    if isinstance(value, list):
        return len(value) == count or any(_lists_numbers(one, count) for one in value)
    if not isinstance(value, dict):
        return False
    lists = {_part(key) for key, inner in value.items() if _are_places(inner)}
    return len(lists - {None}) > 1 or any(_lists_numbers(one, count) for one in value.values())


def _part(key: str) -> Part | None:
    """The part that a key means or mentions: ``val``, ``train_files``."""
    return part_of(key.strip().lower()) or split_of(key)


def _are_places(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, int) for one in value)


def _texts(value: Any, key: str | None = None) -> Iterator[tuple[str, bool]]:
    """The texts in a file, and the numbers that may name images by the name of their field.

    Each comes with whether it is a key, but for those of inner objects that number classes: ``label2id``.
    """
    if isinstance(value, dict):
        numbers_names = (
            key is not None
            and all(isinstance(inner, int) for inner in value.values())
            and len({*value.values()}) == len(value)
        )
        for name, inner in value.items():
            yield name, not numbers_names
            yield from _texts(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key)
    elif isinstance(value, str):
        yield value, False
    elif isinstance(value, int) and _NAMES_IMAGE.search(key or ""):
        yield str(value), False


def _divisions(value: Any, known: Mapping[str, str]) -> Iterator[Mapping[Part, Sequence[str]]]:
    """The images of each part by every object that has the names of two parts as its keys."""
    if isinstance(value, dict):
        found: dict[Part, list[str]] = {}
        for key, inner in value.items():
            part = _part(key) if isinstance(inner, (list, dict)) else None
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


def _parsed(text: str) -> Any:
    """The value of a text; None if it is no JSON, or nested so deeply that it cannot be searched."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):  # another rule reports it where it matters
        return None
    return content if _is_shallow(content) else None


def _is_shallow(content: Any) -> bool:
    level = [content]
    for _ in range(_DEEPEST):
        lists = [
            value.values() if isinstance(value, dict) else value for value in level if isinstance(value, (dict, list))
        ]
        level = [inner for values in lists for inner in values]
        if not level:
            return True
    return False


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="replace")
