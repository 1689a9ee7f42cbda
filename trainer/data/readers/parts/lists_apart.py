"""Lists that are not read and may name test images among those of training: ``lists/holdout_ids.txt``."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from trainer.common.errors import DataError, counted
from trainer.data.names.own_files import is_data
from trainer.data.names.put_aside import is_aside, is_unsure
from trainer.data.names.words import IMAGE_WORDS, words_in
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.parts.json_names import named_in_json
from trainer.data.readers.parts.listed_images import listed_images
from trainer.data.readers.parts.part_files import OwnFolders, part_of_stem
from trainer.data.readers.tables.reading.table_files import is_surely_table, read_lines
from trainer.formats.part_words import Part
from trainer.formats.parts import part_of
from trainer.inference.printable import printable

_SUFFIXES = (".txt", ".lst", ".list")
_OTHER_WORDS: Mapping[str, Part] = dict.fromkeys(("gold", "unseen", "blind", "private"), "test")
"""Further words for images that are not for training."""
_MOST = 50
"""Files that are read at most."""
_MOST_BYTES = 2**22
_PROBED_LINES = 50
_FEW = 20


def warn_of_lists(
    folder: Path,
    table: Path | None,
    images: Collection[str],
    known: Mapping[str, str],
    apart: Mapping[Part, Sequence[str]],
) -> list[str]:
    """Warn of every list in the data folder that speaks of test or validation images by its name, and names ``images``.

    A text file has to have such a name itself; of a table that of its folder counts as well. A list of nothing but
    images needs no such name: ``errata.txt`` and ``blurred.csv``, say, may name images that are not to be used. Nor
    does a table called after doubtful images: ``unsure.csv`` with a column of reasons.

    Args:
        table: the training table; None: class folders give the labels.
        images: paths of the training images.
        known: `trainer.data.readers.parts.part_files.spellings` of the images.
        apart: `trainer.data.readers.parts.part_files.images_apart`; a list that names these is about no training image.
    """
    rows = "move them out of the class folders" if table is None else f"remove their rows from {printable(table.name)}"
    warnings, trained, own_folders = [], set(images), OwnFolders(apart, None)
    for path in _candidates(folder, table):
        is_named = _is_named_held_out(path, folder)
        if not is_named and not _speaks_of_doubt(path.stem) and not _names_alone(path, known):
            continue
        try:
            listed, lost = (
                (named_in_json(path, known), []) if _is_plain_json(path) else listed_images(path, known, None)
            )
        except DataError:
            continue
        own = own_folders.named_by(path, part_of_stem(path.stem))
        if own is not None and len(own[1]) >= len(listed):
            continue
        both = [image for image in listed if image in trained]
        if not both or len(lost) > len(listed) or len(both) == len(trained):
            continue
        if not is_named and 2 * len(both) >= len(trained):
            continue
        name = printable(path.relative_to(folder).as_posix())
        warnings.append(
            f"not used: {name}, which names {counted(len(both), 'training image')}, such as {printable(both[0])}; if "
            f"these are not for training, {rows}"
        )
    return warnings


def _candidates(folder: Path, table: Path | None) -> list[Path]:
    """The first `_MOST` files that may be lists: those whose names speak of test images, then those of small folders.

    A folder with more files than `_FEW` holds one for each image, as those of boxes.
    """
    named, others = [], []
    for paths in _files(folder):
        own = [path for path in paths if path != table and path.stat().st_size <= _MOST_BYTES]
        found = [path for path in own if _is_named_held_out(path, folder)]
        named += found
        others += [path for path in own if path not in found] if len(paths) <= _FEW else []
        if len(named) >= _MOST:
            break
    return [*named, *others][:_MOST]


def _is_named_held_out(path: Path, folder: Path) -> bool:
    place = path.relative_to(folder)
    words = [path.stem, *(place.parts[:-1] if is_surely_table(path) else ())]
    return any(map(_speaks_of_held_out, words))


def _names_alone(path: Path, known: Mapping[str, str]) -> bool:
    """Whether each of the first lines is the name of an image and nothing else; the first one may be a header."""
    try:
        lines = list(filter(None, map(str.strip, read_lines(path))))[: 1 + _PROBED_LINES]
    except DataError:
        return False
    return len(lines) > 1 and all(known.get(composed(line.strip("\"'"))) for line in lines[1:])


def _files(folder: Path) -> Iterator[list[Path]]:
    """The files of each folder that may be lists by their extensions."""
    for here, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if is_data(Path(here) / name))
        paths = (Path(here) / name for name in sorted(names))
        yield [path for path in paths if _may_be_list(path) and path.is_file() and is_data(path)]


def _may_be_list(path: Path) -> bool:
    if _is_plain_json(path):
        return _speaks_of_doubt(path.stem)
    return path.suffix.lower() in _SUFFIXES or is_surely_table(path)


def _is_plain_json(path: Path) -> bool:
    """Whether a file is JSON, and no table."""
    return path.suffix.lower() == ".json" and not is_surely_table(path)


def _speaks_of_doubt(stem: str) -> bool:
    """Whether a list may name images that are doubtful or put aside by its name: ``unsicher``, ``unsure_images``."""
    rest = "".join(word for word in words_in(stem) if word not in IMAGE_WORDS)
    return any(is_unsure(name) or is_aside(name) for name in (stem, rest))


def _speaks_of_held_out(name: str) -> bool:
    words = words_in(name)
    joined = [f"{first}_{second}" for first, second in pairwise(words)]
    return any((part_of(word) or _OTHER_WORDS.get(word)) in ("test", "val") for word in (*words, *joined))
