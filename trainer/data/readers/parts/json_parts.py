"""Read the parts of images from a JSON file: ``{"train": [...], "test": [...]}`` and its like."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from trainer.common.errors import DataError, counted
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.parts.json_names import held_out_deeper
from trainer.formats.part_words import Part
from trainer.formats.parts import part_of
from trainer.inference.printable import printable

Found = dict[Part, tuple[list[str], list[str]]]
_DIVIDES = re.compile(r"split|partition|subset", re.IGNORECASE)
_HELP = (
    'Write {"train": ["a.jpg", ...], "test": [...]}, or a text file for each part, such as train.txt, with one image '
    "a line; or move it out of the data folder, or add --layout folders (data.layout) if the folders are the classes "
    "and all images are for training"
)


def json_parts(path: Path, name: str, part: Part | None, known: Mapping[str, str], classes: Collection[str]) -> Found:
    """The images of each part, and the entries of the part that name none; empty if the file divides nothing.

    Known are an object of parts, a list or an object of classes in a file that is called after a part, an object of
    the part of each image, and a list of objects with a field of parts. An entry is a name, or an array or object that
    holds one; a class name beside it has to be that of the image's folder.

    Args:
        name: the file's name in messages.
        part: the part that the file's name mentions; None without one.
        known: the image of each spelling of its path.
        classes: names of the class folders.

    Raises:
        DataError: the file seems to divide the images, but cannot be read, or contradicts the class folders.
    """
    divides = _DIVIDES.search(path.stem) is not None
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if divides or part in ("val", "test"):  # train.json may hold labels, which `refuse_other_labels` reports
            raise DataError(f"{name} is no valid JSON: {error}. {_HELP}") from error
        return {}
    sections = _sections(content, part)
    found: Found = {}
    for of, entries in sections:
        images, lost = found.setdefault(of, ([], []))
        for entry, key in entries:
            image = _image(entry, key, known)
            if image is None:
                lost.append(str(entry)[:60])
            else:
                _check_class(name, image, entry, key, classes)
                images.append(image)
    if divides and not any(images for images, _ in found.values()):
        raise DataError(f"{name} seems to divide the images into parts, but names none of them. {_HELP}")
    unclear = [(images, lost) for images, lost in found.values() if images and lost]
    if divides and any(len(images) <= len(lost) for images, lost in unclear):
        lost = unclear[0][1]
        raise DataError(
            f"{name} names {counted(len(lost), 'image')} that the folder lacks, such as {lost[0]!r}. {_HELP}"
        )
    return {of: (list(dict.fromkeys(images)), lost) for of, (images, lost) in found.items()}


def refuse_deeper_parts(path: Path, name: str, known: Mapping[str, str]) -> None:
    """Refuse a file whose lists of parts are not read: ``{"fold_0": {"train": [...]}}``, ``{"train_files": [...]}``.

    The folds of a cross-validation, in which each image is a training image of another fold, hold no image back.

    Args:
        name: the file's name in messages.
        known: the image of each spelling of its path.

    Raises:
        DataError: it divides the images.
    """
    if held_out := held_out_deeper(path, known, repeated=_DIVIDES.search(path.stem) is not None):
        images = f"{counted(len(held_out), 'image')}, such as {printable(held_out[0])},"
        raise DataError(
            f"{name} seems to divide the images into parts, but its lists lie inside of other lists or objects, or "
            f"have other names, which is not read: {images} may not be for training. {_HELP}"
        )


def _sections(content: Any, part: Part | None) -> list[tuple[Part, list[tuple[Any, str]]]]:
    """Parts with their entries; an entry comes with the name of its class, empty without one."""
    if isinstance(content, dict):
        keyed = [(of, value) for key, value in content.items() if (of := part_of(key.strip().lower()))]
        if keyed and all(isinstance(value, (list, dict)) for _, value in keyed):
            return [(of, list(_entries(value))) for of, value in keyed]
        valued = {image: _part_in(value) for image, value in content.items()}
        if part is None and content and all(valued.values()):
            return [(of, [(image, "")]) for image, of in valued.items() if of is not None]
    if part is not None:
        return [(part, list(_entries(content)))]
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        for field in content[0]:
            parts = [_part_in(row.get(field)) for row in content]
            if all(parts):
                return [(of, [(row, "")]) for of, row in zip(parts, content, strict=True) if of is not None]
    return []


def _part_in(value: Any) -> Part | None:
    return part_of(value.strip().lower()) if isinstance(value, str) else None


def _entries(value: Any) -> Iterator[tuple[Any, str]]:
    """The entries of a list, or of an object of lists by class."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, list):
                yield from ((entry, key) for entry in inner)
            else:
                yield key, ""
    elif isinstance(value, list):
        yield from ((entry, "") for entry in value)


def _texts(entry: Any) -> list[str]:
    values = entry if isinstance(entry, list) else entry.values() if isinstance(entry, dict) else [entry]
    return [value for value in values if isinstance(value, str)]


def _image(entry: Any, key: str, known: Mapping[str, str]) -> str | None:
    for text in _texts(entry):
        name = composed(text.strip().replace("\\", "/").removeprefix("./"))
        if image := known.get(f"{composed(key)}/{name}") or known.get(name):
            return image
    return None


def _check_class(name: str, image: str, entry: Any, key: str, classes: Collection[str]) -> None:
    """Raise a DataError if a class that an entry names is not the folder of its image."""
    folder = next((part for part in reversed(PurePosixPath(image).parts[:-1]) if part in classes), "")
    plain = {_plain(one): one for one in classes}
    for text in (key, *_texts(entry)[isinstance(entry, str) :]):
        given = plain.get(_plain(text))
        if given is not None and folder and given != folder:
            raise DataError(
                f"{name} labels {image} as {text!r}, but it lies in the folder {folder!r}. Correct the one or the "
                "other; --layout folders (data.layout) trains on all images with the names of their folders as labels"
            )


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", composed(text)).casefold()
