"""A warning about files that were made from an image and lie beside it: ``7-d.bmp`` beside ``7.bmp``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from trainer.common.errors import listed
from trainer.data.names.versions import versions_among
from trainer.inference.printable import printable

_BOUNDARY = re.compile(r"(?<=[^\W_])(?=[\W_])|(?<=\d)(?=[^\W\d_])|(?<=[a-z])(?=[A-Z])|(?<=[\W_])(?=[^\W_])")
_FEWEST = 3  # images of a class folder that have such a file
_SHARE = 0.9  # of the images of a class folder

Addition = tuple[str, bool]
"""What the name of a file has beside that of an image, and whether it stands before it."""


def derived_files(paths: Sequence[str]) -> list[str]:
    """A warning if nearly each image of a class folder, or of all, has a file with one and the same addition beside it.

    The addition may be any, as files of masks and results are called in many ways. A number alone counts the images
    (``a_1`` and ``a_2``, ``1`` and ``10``), unless there is an image without it, as ``a`` beside ``a_1``. Names of
    altered versions, which stay in one fold, are left out.

    Args:
        paths: the images of all class folders, relative to the data folder.
    """
    folders: dict[PurePosixPath, dict[str, str]] = defaultdict(dict)
    for path in _without_versions(paths):
        pure = PurePosixPath(path)
        folders[pure.parent][pure.stem] = path
    pairs: dict[Addition, list[tuple[str, str]]] = {}
    everywhere: dict[Addition, list[tuple[str, str]]] = defaultdict(list)
    count = originals = 0
    for known in folders.values():
        found = _pairs(known)
        rest = len(known) - len({path for own in found.values() for _, path in own})
        count, originals = count + len(known), originals + rest
        for addition, own in found.items():
            everywhere[addition] += own
            if _are_nearly_all(addition, own, len(known), rest):
                pairs.setdefault(addition, []).extend(own)
    pairs |= {one: own for one, own in everywhere.items() if _are_nearly_all(one, own, count, originals)}
    if not pairs:
        return []
    derived = {path for own in pairs.values() for _, path in own}
    (image, example), *_ = next(iter(pairs.values()))
    additions = listed((text for text, _ in pairs), 4)
    return [
        f"{len(derived)} of {len(paths)} images are called as another one beside them and {additions}, such as "
        f"{printable(example)} beside {printable(image)}: all are read as images of their classes; if they were made "
        "from the others, as masks, results or changed copies are, move them out of the data"
    ]


def _without_versions(paths: Sequence[str]) -> list[str]:
    """The images without altered versions, which stay in one fold with their originals: another line counts them."""
    versions = set[int]()
    folders = [PurePosixPath(path).parent for path in paths]
    for members in versions_among(paths, folders).members:
        original = min(members, key=lambda index: len(paths[index]))
        versions.update(member for member in members if member != original)
    return [path for index, path in enumerate(paths) if index not in versions]


def _pairs(known: dict[str, str]) -> dict[Addition, list[tuple[str, str]]]:
    """The images in a folder and the files beside them whose stem has an addition, by this.

    Args:
        known: the paths by their stems.
    """
    found: dict[Addition, list[tuple[str, str]]] = defaultdict(list)
    for stem, path in known.items():
        for rest, addition in _divided(stem):
            if rest in known:
                found[addition].append((known[rest], path))
    return found


def _divided(stem: str) -> Iterator[tuple[str, Addition]]:
    """The stems that begin or end a stem, each with the rest."""
    for mark in _BOUNDARY.finditer(stem):
        first, last = stem[: mark.start()], stem[mark.start() :]
        if not first[-1].isalnum():
            yield last, (first, True)
        elif not last.isdecimal():
            yield first, (last, False)


def _are_nearly_all(addition: Addition, pairs: Sequence[tuple[str, str]], count: int, originals: int) -> bool:
    """Whether nearly all images without an addition are in the pairs; with one number, all but those with that number.

    Args:
        count: of all images.
        originals: the number of those that are not called as another one and an addition.
    """
    counts = re.fullmatch(r"[\W\d_]+", addition[0]) is not None and any(map(str.isdecimal, addition[0]))
    return len(pairs) >= max(_FEWEST, _SHARE * (count - len(pairs) if counts else originals))
