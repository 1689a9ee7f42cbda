"""Write decisions in the Unicode forms of the data: macOS decomposes file names, and spreadsheets compose text."""

from __future__ import annotations

from dataclasses import replace

from trainer.data.corrections.label_cells import LabelCells
from trainer.data.image_set import ImageSet
from trainer.formats.label_tables import Correction, ReviewRow
from trainer.formats.labels import spelled_as_among


class DataSpellings:
    """The ids, the labels and the label source of a data set, as the data spell them.

    What the data lack stays as it is.
    """

    def __init__(self, image_set: ImageSet) -> None:
        self.cells = LabelCells.of(image_set)
        self._id = spelled_as_among(image_set.train_ids)
        self._label_source = image_set.label_source
        self._source = spelled_as_among([image_set.label_source])

    def correction(self, correction: Correction) -> Correction:
        """A correction with the names of several labels in the order of the classes, so that equal lists are equal.

        One about labels from another source stays as it is.
        """
        source = self._source(correction.label_source)
        if not replace(correction, label_source=source).is_about(self._label_source):
            return correction
        return replace(
            correction,
            id=self._id(correction.id),
            given=self.cells.canonical(correction.given),
            label=None if correction.label is None else self.cells.canonical(correction.label),
            label_source=source,
        )

    def review_row(self, row: ReviewRow) -> ReviewRow:
        """A row of a review; its labels are as they were, because `LabelCells` reads them in any Unicode form."""
        return replace(row, id=self._id(row.id), label_source=self._source(row.label_source))
