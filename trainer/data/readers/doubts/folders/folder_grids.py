"""Warnings about class folders that may be parts of the same classes: ``cats_v2`` and ``dogs_v2`` beside both."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import product

from trainer.common.errors import listed
from trainer.data.names.put_aside import is_aside

_BOUNDARY = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
_SEPARATOR = re.compile(r"[\W_]+")
_DENIALS = frozenset(("no", "not", "non", "without", "un", "nicht", "kein", "ohne", "sans", "sin", "senza", "sem"))
_MOST_CLASSES_OF_TWO, _MOST_CLASSES_OF_EACH = 16, 40
"""Classes among which two pairs with one addition mean something, and classes for each of three pairs or more.

Among more classes they are chance, such as crocodile_head and flamingo_head, unless the addition has a number."""
_ENOUGH = 2  # names, additions, rows or columns


def same_classes(names: Sequence[str]) -> tuple[list[str], frozenset[str]]:
    """Warnings about folders that look like several parts of the same classes, and the names of these folders.

    Args:
        names: of all class folders.
    """
    pairs = _pairs(names)
    if pairs:
        (other, further), *_ = pairs
        others, names_of_further = ([pair[place] for pair in pairs] for place in (0, 1))
        return [
            f"the folders {listed(names_of_further, 3)} are called as {listed(others, 3)} but for the same addition, "
            "and all are read as classes of their own; if they are further images of the same classes, move those of "
            f"{further!r} into {other!r}, under different file names, remove the empty folder, and do the same with "
            "the others; if they are changed copies, move them out of the data"
        ], frozenset((*others, *names_of_further))
    grid = _grid(names)
    if grid is None:
        return [], frozenset()
    rows, columns, found = grid
    return [
        f"the folders {listed(found, 4)} combine {listed(rows, 3)} with {listed(columns, 3)}, and each is read as a "
        f"class of its own; if only {listed(rows, 3)} or only {listed(columns, 3)} are the classes, put the images of "
        "each of these into one folder, under different file names, and changed copies out of the data"
    ], frozenset(found)


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """The folders that are called as others with one and the same addition, each after the other one."""
    known = {name.casefold(): name for name in names}
    by_addition: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for name in names:
        for mark in _BOUNDARY.finditer(name):
            for place, rest, addition in (
                ("end", name[: mark.start()], name[mark.start() :]),
                ("start", name[mark.end() :], name[: mark.end()]),
            ):
                other = known.get(rest.casefold())
                if other not in (None, name) and not _denies(_SEPARATOR.sub("", addition).casefold()):
                    by_addition[place, re.sub(r"\d+", "0", addition.casefold())][name] = other
    found: dict[str, str] = {}
    for (_, addition), pairs in by_addition.items():
        others = set(pairs.values())
        most = _MOST_CLASSES_OF_TWO if len(others) == 2 else _MOST_CLASSES_OF_EACH * len(others)
        if len(others) >= _ENOUGH and ("0" in addition or len(names) <= most):
            found.update(pairs)
    return [(other, name) for name, other in found.items()]


def _denies(addition: str) -> bool:
    """Whether an addition makes the opposite of a class: ``no_helmet``, ``unripe_banana``."""
    return addition in _DENIALS or (addition.startswith("un") and not is_aside(addition))


def _grid(names: Sequence[str]) -> tuple[list[str], list[str], list[str]] | None:
    """The first and the second halves of names that are all combinations of these, and these names; None without.

    They are more than half of all names. Numbers as second halves count for `doubtful_folders`, as codes or parts.
    """
    cells: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for name in names:
        for mark in _SEPARATOR.finditer(name):
            left, right = name[: mark.start()], name[mark.end() :]
            if left and right and not right.isdecimal():
                cells[mark[0]][left, right] = name
    for halves in cells.values():
        for turned in (False, True):
            beside: dict[str, list[str]] = defaultdict(list)
            for left, right in halves:
                beside[left if turned else right].append(right if turned else left)
            alike: dict[frozenset[str], list[str]] = defaultdict(list)
            for half, others in beside.items():
                alike[frozenset(others)].append(half)
            for shared, own in alike.items():
                if min(len(shared), len(own)) < _ENOUGH:
                    continue
                ordered = [half for half in dict.fromkeys(key[turned] for key in halves) if half in shared]
                rows, columns = (own, ordered) if turned else (ordered, own)
                if 2 * len(rows) * len(columns) > len(names):
                    return rows, columns, [halves[key] for key in product(rows, columns)]
    return None
