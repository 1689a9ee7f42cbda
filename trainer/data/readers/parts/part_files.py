"""Read the files that list the images of one part, such as ``train.txt``, or of several, such as ``split.json``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, counted, listed
from trainer.data.names.lists import lists_unused
from trainer.data.names.own_files import is_data
from trainer.data.names.parts import is_held_out, split_of
from trainer.data.names.words import VALIDATION_WORDS, words_in
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.parts.json_names import named_in_json
from trainer.data.readers.parts.json_parts import json_parts, refuse_deeper_parts
from trainer.data.readers.parts.listed_images import check_labels, listed_images
from trainer.data.readers.tables.reading.records.tables import JSON_SUFFIXES, is_json_table
from trainer.formats.part_words import Part, with_joined_parts
from trainer.formats.parts import SHORT_PARTS, part_of
from trainer.inference.printable import printable

SUFFIXES = (".txt", ".lst", ".list", ".dat", ".log", ".csv", ".tsv", ".json", ".jsonl", ".ndjson")
_JOINED = re.compile(
    r"(trainval|train|test|val|valid)(?:ing|idation)?[_\-]?(?:lists?|names?|files?|ids?|imgs?|split)[_\-]?\d*"
)
_KIND = re.compile(r"[_\- ]*(?:lists?|names?|files?|ids?|liste)$")
_HELD_OUT = re.compile(r"(?:^|[^a-z])(?:hold|held)[_-]?out(?:[^a-z]|$)")
_NUMBER = re.compile(r"\d+")
_PAIRS = re.compile(r"duplicat|(?:^|[^a-z])pairs", re.IGNORECASE)
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
    folder: Path,
    places: Iterable[Path],
    known: Mapping[str, str],
    classes: Collection[str],
    encoding: str | None,
    *,
    table: Path | None = None,
) -> list[PartFile]:
    """The files that are called after a part, or hold several, and name more images than other things.

    Args:
        folder: the data folder.
        places: the folders that may hold such files.
        known: `spellings` of the images.
        classes: names of the class folders, with which labels in the files have to agree.
        table: the training table, which is no such file.

    Raises:
        DataError: a file lists images that are not to be used, contradicts the class folders, or is JSON that seems to
            divide them and cannot be read.
    """
    lists = []
    for path in list_files(places):
        if path == table:
            continue
        part = part_of_stem(path.stem)
        name = path.relative_to(folder).as_posix()
        if lists_unused(path.stem):
            in_json = _is_json_of_parts(path)
            images = named_in_json(path, known) if in_json else listed_images(path, known, encoding)[0]
            if part != "train" or 2 * len(images) <= len(set(known.values()) - {""}):
                _refuse_exclusion(name, images)
                continue
        if path.suffix.lower() == ".json":
            refuse_deeper_parts(path, name, known)
        found: Mapping[Part, tuple[Sequence[str], Sequence[str]]]
        if _is_json_of_parts(path):
            found = json_parts(path, name, part, known, classes)
        else:
            found = {} if part is None else {part: listed_images(path, known, encoding)}
            check_labels(path, name, known, classes, encoding)
        lists += [
            PartFile(path=path, name=name, part=of, images=images, lost=lost)
            for of, (images, lost) in found.items()
            if len(images) > len(lost)
        ]
    return _without_unions(lists)


def _refuse_exclusion(name: str, images: Sequence[str]) -> None:
    if images:
        raise DataError(
            f"{name} lists {counted(len(images), 'image')}, such as {printable(images[0])}, and may say by its name "
            "that these are not to be used. Move them and the list out of the data folder; to use them, move the list "
            "alone"
        )


def images_apart(files: ImageFiles) -> dict[Part, list[str]]:
    """The images in folders for testing and for validation."""
    held_out = [path for path in files.paths if any(map(is_held_out, PurePosixPath(path).parts[:-1]))]
    return {"test": files.paths_below("test"), "val": held_out}


def of_own_folders(
    lists: Sequence[PartFile], apart: Mapping[Part, Sequence[str]], encoding: str | None
) -> list[PartFile]:
    """The lists; those of a part with a folder of its own name the images in it, if they fit these no worse.

    Training, validation and test images may have the same names, such as ``1.jpg``.

    Args:
        apart: `images_apart`.
    """
    look_up = OwnFolders(apart, encoding)
    found = []
    for one in lists:
        if not _is_json_of_parts(one.path) and (own := look_up.named_by(one.path, one.part)):
            part, images, lost = own
            if len(images) >= len(one.images):
                one = dataclasses.replace(one, part=part, images=images, lost=lost)
        found.append(one)
    return found


class OwnFolders:
    """The folders of images for testing and validation, of which lists may speak."""

    def __init__(self, apart: Mapping[Part, Sequence[str]], encoding: str | None) -> None:
        """
        Args:
            apart: `images_apart`.
        """
        self._apart, self._encoding = apart, encoding

    def named_by(self, path: Path, part: Part | None) -> tuple[Part, Sequence[str], Sequence[str]] | None:
        """What a list names in the folder of its part, or in that of held-out images with its name: ``holdout.csv``.

        Returns:
            The part of the folder, the images and what names none; None without such a folder.
        """
        stem = path.stem.lower()
        own = [image for image in self._apart.get("val", ()) if stem in map(str.lower, PurePosixPath(image).parts[:-1])]
        if own:
            return "val", *listed_images(path, spellings(own), self._encoding)
        if part is None or not self._apart.get(part):
            return None
        return part, *listed_images(path, self._spellings[part], self._encoding)

    @cached_property
    def _spellings(self) -> Mapping[Part, Mapping[str, str]]:
        return {part: spellings(images) for part, images in self._apart.items()}


def part_of_stem(stem: str) -> Part | None:
    """The part that the name of a list mentions; None for lists of pairs, such as ``Training_Duplicates``."""
    if _PAIRS.search(stem):
        return None
    stem = with_joined_parts(stem)
    if joined := _JOINED.fullmatch(stem.lower()):
        return part_of(joined[1])
    plain = _KIND.sub("", stem.lower())
    if is_holdout(plain):  # as a column of this name
        return "test"
    if is_held_out(plain):
        return "val"
    held_out = not {*VALIDATION_WORDS, "valid"}.isdisjoint(words_in(stem))  # my_val, val_df, valid_fold0
    return split_of(stem) or part_of(plain) or SHORT_PARTS.get(plain) or ("val" if held_out else None)


def is_holdout(stem: str) -> bool:
    """Whether the name of a list says that its images are held out."""
    return _HELD_OUT.search(stem.lower()) is not None


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
            raise DataError(_several_divisions(lists, own))
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


def _several_divisions(lists: Sequence[PartFile], own: Sequence[PartFile]) -> str:
    """Message for several lists of one part: ``train1.txt`` to ``train10.txt``, with their ``test1.txt`` and others."""
    names = [one.name for one in own]
    number = _NUMBER.search(PurePosixPath(names[0]).name)
    first = [one.name for one in lists if number and _NUMBER.findall(PurePosixPath(one.name).name) == [number[0]]]
    kept = list(dict.fromkeys(first)) if len(first) > 1 else names[:1]
    return (
        f"{listed(names, 4)}: each lists other {own[0].part} images. Keep one division, such as {listed(kept, 4)}, and "
        f"move the other lists out of the data folder, {ALL_PARTS}"
    )


def spellings(paths: Sequence[str]) -> dict[str, str]:
    """The image of each way to write its path: any ending of it, with or without extension, and in lower case.

    A spelling that fits two images means none.
    """
    known: dict[str, str] = {}
    lower: dict[str, str] = {}
    for path in paths:
        folders = PurePosixPath(path).parts
        whole = {"/".join(folders[start:]) for start in range(len(folders))}
        for key in {composed(text) for name in whole for text in (name, str(PurePosixPath(name).with_suffix("")))}:
            known[key] = path if known.setdefault(key, path) == path else ""
            small = key.casefold()
            lower[small] = path if lower.setdefault(small, path) == path else ""
    return lower | known


def list_files(places: Iterable[Path]) -> list[Path]:
    """The files in some folders that may be lists, by their extension and size."""
    return sorted(
        path
        for place in dict.fromkeys(places)
        for path in place.iterdir()
        if (path.suffix.lower() in SUFFIXES or (not path.suffix and part_of_stem(path.stem) is not None))
        and path.is_file()
        and is_data(path)
        and (path.suffix.lower() not in JSON_SUFFIXES[1:] or is_json_table(path))
        and path.stat().st_size <= _MOST_BYTES
    )


def _is_json_of_parts(path: Path) -> bool:
    """Whether `json_parts` reads a file; one that is a table is read as such."""
    return path.suffix.lower() == ".json" and not is_json_table(path)


def _without_unions(lists: list[PartFile]) -> list[PartFile]:
    """The lists without one that joins those of two parts, as PASCAL VOC's ``trainval.txt`` beside ``train.txt``."""
    kept = []
    for one in lists:
        others = [other for other in lists if other is not one and other.part in ("train", "val")]
        joined = {image for other in others for image in other.images}
        if "trainval" in with_joined_parts(one.path.stem.lower()) and len(others) > 1 and joined == set(one.images):
            continue
        kept.append(one)
    return kept
