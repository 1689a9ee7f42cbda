"""The file name that is nearest to an id without an image, for messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from trainer.data.readers.matching.id_spellings import alike, was_rounded
from trainer.data.readers.matching.image_files import IMAGE_SUFFIXES
from trainer.inference.printable import printable

MOST_COMPARED = 5000  # file names; of more, those of about the same length
_LAST_NUMBER = re.compile(r"(\d{1,18})\D*$", re.ASCII)
LEAST_LIKENESS = 0.3  # ratio of equal characters, 0 to 1, of an id with fewer than `LONG` characters
_NEARLY_EQUAL = 0.9  # ratio of equal characters of two paths
LONG = 8
LEAST_OF_LONG = 0.65
"""Least ratio of longer ids. The best of 2000 random hexadecimal names of eight characters has 0.62 by chance."""


def nearly_the_path(identifier: str, namesakes: Sequence[str]) -> str:
    """The message on a path without an image of which a file of this name is nearly the path; empty without one.

    Folders that differ in a number are others: P01, P02.
    """
    path = identifier.strip().replace("\\", "/")
    numbers = re.findall(r"\d+", path)
    alikes = [other for other in namesakes[:MOST_COMPARED] if re.findall(r"\d+", other) == numbers]
    near = difflib.get_close_matches(path, alikes, 1, _NEARLY_EQUAL) if "/" in path else []
    if not near:
        return ""
    means = "if it is meant, write this path into the table"
    return f"there is no image {identifier!r} ({printable(near[0])} is nearly the same path; {means})"


def nearest_name_hint(identifier: str, paths: Sequence[str]) -> str:
    """The end of a message, ``; the nearest file name is ...``; empty if no name is like the id.

    Args:
        identifier: an id that names none of ``paths``.
        paths: the image files that it may mean.
    """
    if was_rounded(identifier):
        return "; a spreadsheet has rounded this number: read the ids again from their source, as text"
    wanted = _stem(identifier)
    stems = {path: _stem(path) for path in paths}
    if wanted.isascii() and wanted.isdigit():
        numbers = {path: int(found[1]) for path, stem in stems.items() if (found := _LAST_NUMBER.search(stem))}
        if numbers:
            return _hint(min(numbers, key=lambda path: abs(numbers[path] - int(wanted))))
    for slack in (len(wanted), 2, 0):
        kept = {path: stem for path, stem in stems.items() if abs(len(stem) - len(wanted)) <= slack}
        if len(kept) <= MOST_COMPARED:
            break
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    best, likeness = "", LEAST_LIKENESS if len(wanted) < LONG else LEAST_OF_LONG
    for path, stem in list(kept.items())[:MOST_COMPARED]:
        matcher.set_seq1(stem)
        if matcher.real_quick_ratio() > likeness and matcher.quick_ratio() > likeness and matcher.ratio() > likeness:
            best, likeness = path, matcher.ratio()
    return _hint(best) if best else ""


def _stem(path: str) -> str:
    name = PurePosixPath(alike(path)).name
    stem = name.removesuffix(next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), ""))
    return re.sub(r"^\W+|\W+$|(?<=^\d)(\d*)\.0+$", r"\1", stem)


def _hint(path: str) -> str:
    return f"; the nearest file name is {printable(path)}"
