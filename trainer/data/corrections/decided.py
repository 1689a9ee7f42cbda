"""The labels about which the corrections beside the data have decided."""

from __future__ import annotations

import os
from collections.abc import Iterable

from trainer.data.corrections.apply import corrections_path
from trainer.data.corrections.label_cells import LabelCells
from trainer.data.image_set import ImageSet
from trainer.formats.label_tables import Correction, read_corrections


def corrections_about(images: ImageSet) -> list[Correction]:
    """The corrections beside the images that are about their labels.

    Raises:
        DataError: they cannot be read.
    """
    path = corrections_path(images)
    found = read_corrections(path) if os.path.lexists(path) else []
    return [each for each in found if each.is_about(images.label_source)]


def decided_labels(corrections: Iterable[Correction], cells: LabelCells) -> frozenset[tuple[str, str]]:
    """The ids of images with labels that are no candidates again, as ``cells`` write them: those before and after."""
    return frozenset(
        (each.id, cells.canonical(label))
        for each in corrections
        for label in (each.given, each.label)
        if label is not None
    )
