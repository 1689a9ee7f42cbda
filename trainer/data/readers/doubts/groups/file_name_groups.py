"""Beginnings of file names that several images share: ``video03_frame0001.jpg``, ``slide4_x1_y3.png``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from trainer.data.names.versions import place_and_stem
from trainer.data.readers.doubts.groups.group_evidence import follow_labels, labels_agree

_WORD = re.compile(r"[^\W_]+")
_DATE = re.compile(r"(?:19|20)\d{2}(?:[01]\d(?:[0-3]\d)?)?")
_COUNTER = re.compile(r"\d|[\W_](?:left|right|l|r|od|os|front|back|rear|top|bottom)$", re.IGNORECASE)
_MOST = 0.8
"""Share of the images that share a beginning with others."""
_LEAST = 5
"""Beginnings of several images; and two times as many as there are labels, which may begin the names, too."""


def beginnings_that_group(paths: Sequence[str], labels: Sequence[str]) -> list[str]:
    """For each image the beginning of its file name, if these may say which images belong together; else empty.

    Most images share a beginning with others, there are many beginnings, each mostly with one label, and no label has
    only one or two of them: ``cat_001.jpg`` and ``n01440764_18.JPEG`` begin with their class.

    Args:
        paths: of the images, with ``/``.
        labels: of the images.
    """
    beginnings = [_beginning(path) for path in paths]
    counts = Counter(filter(None, beginnings))
    shared = ["" if counts[beginning] < 2 else beginning for beginning in beginnings]
    of_label = Counter(
        label for _, label in {(name, label) for name, label in zip(shared, labels, strict=True) if name}
    )
    images = sum(map(bool, shared))
    if images < _MOST * len(paths) or len(set(filter(None, shared))) < max(_LEAST, 2 * len(set(labels))):
        return []
    if 2 * sum(count > 2 for count in of_label.values()) < len(set(labels)) or follow_labels(shared, labels):
        return []
    return shared if labels_agree(shared, labels) else []


def _beginning(path: str) -> str:
    """A file name up to the end of its first word with a digit.

    It is empty without another number or a side after it (``10_left.jpeg``), and for dates and times of cameras.
    """
    _, stem = place_and_stem(path)
    numbered = next((word for word in _WORD.finditer(stem) if re.search(r"\d", word[0])), None)
    if numbered is None or _COUNTER.search(stem[numbered.end() :]) is None:
        return ""
    return "" if any(map(_DATE.fullmatch, re.findall(r"\d+", numbered[0]))) else stem[: numbered.end()]
