"""Read the files that list the images of one part, such as ``train.txt``, or of several, such as ``split.json``."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, listed
from trainer.data.file_names import is_held_out, split_of
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.parts.json_parts import json_parts
from trainer.formats.part_words import Part
from trainer.formats.parts import part_of

SUFFIXES = (".txt", ".lst", ".csv", ".json")
_MOST_BYTES = 2**26
ALL_PARTS = "or train on the images of all parts with --layout folders (data.layout)"


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """A file, or a section of one, that lists images of one part.

    name: its path relative to the data folder.
    lost: entries that name no image.
    """

    path: Path
    name: str
    part: Part
    images: Sequence[str]
    lost: Sequence[str]


def read_part_files(
    folder: Path, places: Iterable[Path], known: Mapping[str, str], classes: Collection[str], encoding: str | None
) -> list[PartFile]:
    """The files that are called after a part, or hold several, and name more images than other things.

    Args:
        folder: the data folder.
        places: the folders that may hold such files.
        known: `spellings` of the images.
        classes: names of the class folders, with which the labels of a JSON file have to agree.

    Raises:
        DataError: a JSON file seems to divide the images, but cannot be read, or contradicts the class folders.
    """
    lists = []
    for path in _candidates(places):
        part = part_of_stem(path.stem)
        name = path.relative_to(folder).as_posix()
        found: Mapping[Part, tuple[Sequence[str], Sequence[str]]]
        if path.suffix.lower() == ".json":
            found = json_parts(path, name, part, known, classes)
        else:
            found = {} if part is None else {part: _listed_images(path, known, encoding)}
        lists += [
            PartFile(path=path, name=name, part=of, images=images, lost=lost)
            for of, (images, lost) in found.items()
            if len(images) > len(lost)
        ]
    return _without_unions(lists)


def of_test_folder(lists: Sequence[PartFile], known: Mapping[str, str], encoding: str | None) -> list[PartFile]:
    """The lists; those of test images name the images of the test folder, if they fit these no worse.

    Training and test images may have the same names, such as ``1.jpg``.

    Args:
        known: `spellings` of the images in the test folder.
    """
    found = []
    for one in lists:
        if one.part == "test" and one.path.suffix.lower() != ".json":
            images, lost = _listed_images(one.path, known, encoding)
            if len(images) >= len(one.images):
                one = dataclasses.replace(one, images=images, lost=lost)
        found.append(one)
    return found


def part_of_stem(stem: str) -> Part | None:
    """The part that the name of a list mentions."""
    return "val" if is_held_out(stem) else split_of(stem) or part_of(stem.lower())


def parts_of_images(lists: Sequence[PartFile], given: str) -> tuple[dict[str, Part], list[str]]:
    """The part of each listed image, and warnings.

    Args:
        given: names of the lists, for messages.

    Raises:
        DataError: several lists of one part that differ, or images in the lists of two parts.
    """
    parts: dict[str, Part] = {}
    warnings = []
    for wanted in ("train", "val", "test"):
        own = [one for one in lists if one.part == wanted]
        if len({frozenset(one.images) for one in own}) > 1:
            raise DataError(
                f"{listed((one.name for one in own), 4)}: each lists other {wanted} images. Move all but one out "
                f"of the data folder, {ALL_PARTS}"
            )
        for one in own[:1]:
            if twice := [image for image in one.images if image in parts]:
                raise DataError(
                    f"{one.name} lists {twice[0]} as a {one.part} image, which is a {parts[twice[0]]} image by another "
                    f"list ({given}; {len(twice)} such images): remove these lines from one of the lists, {ALL_PARTS}"
                )
            parts.update(dict.fromkeys(one.images, one.part))
            if one.lost:
                warnings.append(
                    f"{one.name}: {len(one.lost)} lines name no image of the classes, such as {one.lost[0]!r}"
                )
    return parts, warnings


def spellings(paths: Sequence[str]) -> dict[str, str]:
    """The image of each way to write its path: any ending of it, with or without extension.

    A spelling that fits two images means none.
    """
    known: dict[str, str] = {}
    for path in paths:
        folders = PurePosixPath(path).parts
        whole = {"/".join(folders[start:]) for start in range(len(folders))}
        for key in {composed(text) for name in whole for text in (name, str(PurePosixPath(name).with_suffix("")))}:
            known[key] = path if known.setdefault(key, path) == path else ""
    return known


def _candidates(places: Iterable[Path]) -> list[Path]:
    return sorted(
        path
        for place in dict.fromkeys(places)
        for path in place.iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file() and path.stat().st_size <= _MOST_BYTES
    )


def _listed_images(path: Path, known: Mapping[str, str], encoding: str | None) -> tuple[list[str], list[str]]:
    """The images that the lines of a file name, and the lines that name none. Numbers may follow a name."""
    try:
        lines = path.read_text(encoding=encoding or "utf-8-sig").splitlines()
    except (UnicodeError, LookupError):  # no list
        return [], []
    found: dict[str, None] = {}
    lost = []
    for line in filter(None, map(str.strip, lines)):
        text = composed(line.replace("\\", "/").strip("\"'").removeprefix("./"))
        ends = (text, text.rpartition(" ")[0].rstrip(" ,"), text.rpartition(",")[0], *_without_numbers(text))
        name = next(filter(None, map(known.get, ends)), None)
        if name:
            found[name] = None
        else:
            lost.append(line)
    return list(found), lost


def _without_numbers(text: str) -> list[str]:
    """The first field of a line whose other fields are numbers: ``Abyssinian_100`` of ``Abyssinian_100 1 1 1``."""
    first, *rest = text.replace(",", " ").split()
    return [first] if rest and all(field.lstrip("-").isdecimal() for field in rest) else []


def _without_unions(lists: list[PartFile]) -> list[PartFile]:
    """The lists without one that joins those of two parts, as PASCAL VOC's ``trainval.txt`` beside ``train.txt``."""
    kept = []
    for one in lists:
        others = [other for other in lists if other is not one and other.part in ("train", "val")]
        joined = {image for other in others for image in other.images}
        if "trainval" in one.path.stem.lower() and len(others) > 1 and joined == set(one.images):
            continue
        kept.append(one)
    return kept
