"""Find the corrections that lead from the labels of a data folder to stored labels of the same images."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.data.corrections.label_cells import LabelCells
from trainer.data.image_set import ImageSet
from trainer.formats.label_tables import Correction


def corrections_between(
    images: ImageSet, train_ids: Sequence[str], y: NDArray[np.int64]
) -> tuple[Correction, ...] | None:
    """The decisions after which ``images`` have the stored labels; None where no decision leads there.

    Where an id occurs more than once, its rows hold the same image, so that it does not matter which row gets which
    label.

    Args:
        images: the data set without corrections, n images.
        train_ids: the stored ids, at most n.
        y: the stored labels, by the classes of ``images``: int64 ``(len(train_ids),)``, or ``(len(train_ids), C)`` of 0
            and 1 if an image may have several.
    """
    if y.shape[1:] != images.y.shape[1:] or not Counter(train_ids) <= Counter(images.train_ids):
        return None
    cells = LabelCells.of(images)
    given, stored = _by_id(images.train_ids, images.y, cells), _by_id(train_ids, y, cells)
    return tuple(
        Correction(id=identifier, given=before, label=after, fingerprint=images.fingerprint)
        for identifier, labels in given.items()
        for before, after in _changes(labels, stored[identifier])
    )


def _by_id(ids: Sequence[str], y: NDArray[np.int64], cells: LabelCells) -> dict[str, list[str]]:
    labels: dict[str, list[str]] = defaultdict(list)
    for identifier, label in zip(ids, y, strict=True):
        labels[identifier].append(cells.write(label))
    return labels


def _changes(given: Sequence[str], stored: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each label that is not stored, with one that is stored instead; with None if the row is left out."""
    new = list((Counter(stored) - Counter(given)).elements())
    for label in (Counter(given) - Counter(stored)).elements():
        yield label, new.pop(0) if new else None
