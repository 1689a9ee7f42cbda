"""Lists of a file name or a number and a label in each line, where the one or the other holds blanks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainer.formats.parts import part_of

_FILE = re.compile(r"(.+?\.(?:jpe?g|png|bmp|gif|tiff?|webp))[ \t]+(\S.*)", re.IGNORECASE)
_NUMBERED = re.compile(r"(\S*\d\S*)[ \t]+(\S.*)")
_LETTER = re.compile(r"[^\W\d_]")


def split_at_label(lines: Sequence[str]) -> list[list[str]] | None:
    """The two fields of each line: ``0034309`` and ``Canadair CRJ-700``, ``my photo.jpg`` and ``cat``.

    The names end in the extension of an image, or are words with a digit. They all differ, and each label stands in two
    lines on average at least. None for other lines: those with one word in each field, those with several numbers in
    place of a label, and those with several labels or fields, such as ``a.jpg cat dog`` beside ``b.jpg cat``,
    ``a.jpg cat train``, or ``7 a.jpg cat scan``.

    Args:
        lines: the lines, blank ones among them. The first one may be a header of two words.
    """
    filled = [line.strip() for line in lines if line.strip()]
    if _number_first(filled):
        return None
    for pattern in (_FILE, _NUMBERED):
        found = [pattern.fullmatch(line) for line in filled]
        header = filled[0].split() if found and found[0] is None else []
        rows = [[match[1], match[2].strip()] for match in found if match]
        if len(rows) < max(2, len(filled) - (len(header) == 2)):
            continue
        names, labels = {name for name, _ in rows}, {label for _, label in rows}
        apart = len(names) == len(rows) >= 2 * len(labels)
        blanks = any(re.search(r"\s", field) for row in rows for field in row)
        if not apart or not blanks or _several(labels) or _fields(labels):
            return None
        return [*([header] if header else []), *rows]
    return None


def _number_first(lines: Sequence[str]) -> bool:
    """Whether each line holds a number, a file and two other words at least, as those of COVIDx: ``1 a.png cat x``."""
    words = [line.split() for line in lines]
    return all(len(own) > 3 and own[0].isdecimal() and _FILE.fullmatch(" ".join(own[1:3])) for own in words)


def _several(labels: set[str]) -> bool:
    """Whether some labels are lists of others."""
    return any(len(words := label.split()) > 1 and labels.issuperset(words) for label in labels)


def _fields(labels: set[str]) -> bool:
    """Whether some labels of several words are a label with other fields: a part, a number, or another attribute.

    Labels with equally many words hold no other attribute if one of these words tells them apart.
    """
    words = [label.split() for label in labels]
    if any(len(one) > 1 and not _LETTER.search("".join(one)) for one in words):
        return True
    if max(map(len, words)) > 1 and any(_are_no_names({one[end] for one in words}) for end in (0, -1)):
        return True
    if len(set(map(len, words))) > 1:
        return False
    columns = [set(column) for column in zip(*words, strict=True)]
    return max(map(len, columns)) < len(labels) or (len(columns) > 1 and any(map(_are_no_names, columns)))


def _are_no_names(words: set[str]) -> bool:
    """Whether all words are numbers, or all are parts such as train and test."""
    return all(map(str.isdecimal, words)) or all(part_of(word.lower()) for word in words)
