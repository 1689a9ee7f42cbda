"""A table that may hold training labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath

from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions
from trainer.data.readers.columns.ambiguous_labels import NoLabelColumnError
from trainer.data.readers.columns.choose_columns import Columns, choose_columns
from trainer.data.readers.columns.header import column_names, has_header, refuse_title
from trainer.data.readers.columns.image_column import is_file_name
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.columns.label_names import any_usual_label
from trainer.data.readers.columns.several.stated_labels import may_be_predicted
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.box_columns import class_before_boxes
from trainer.data.readers.tables.find_tables import is_named_training
from trainer.data.readers.tables.folder_labels import FolderTable
from trainer.data.readers.tables.links.linked_table import LinkedTable
from trainer.formats.delimited import Table


class TrainingTable:
    """A table that may hold training labels, with its columns.

    matcher: finds the images that it names.
    of_folders: the table that labels folders, of which ``table`` has one row for each image; None for another table.
    linked: the table that was joined with one of image names, in place of ``table``; None for another table.
    boxes: the column of boxes that became one of labels; None without it.
    """

    def __init__(
        self,
        table: Table,
        options: DataOptions,
        matcher: ImageMatcher,
        sample: SampleHints,
        of_folders: FolderTable | None = None,
        linked: LinkedTable | None = None,
    ) -> None:
        self.of_folders = of_folders
        self.linked = linked
        if of_folders is not None:
            table, folders = of_folders.expanded()
            asked = None if options.id_column == folders else options.id_column
            options = dataclasses.replace(options, id_column=asked, group_column=options.group_column or folders)
        if linked is not None:
            table = linked.checked().table
        self.boxes = class_before_boxes(table)
        self.table = table = table if self.boxes is None else self.boxes.table
        self.header = has_header(table, matcher) if linked is None else linked.first == 1
        self.names = column_names(table, self.header)
        self.first = 1 if self.header else 0
        self._options, self._sample = options, sample
        self.matcher = matcher

    @cached_property
    def columns(self) -> Columns:
        """The columns.

        Raises:
            DataError: they are ambiguous.
        """
        refuse_title(self.table)
        rows: Sequence[Sequence[str]] = self.table.rows[self.first :]
        if self.of_folders is not None:
            rows = self.of_folders.representatives()
        try:
            joined = None if self.linked is None else (self.linked.key, self.linked.image)
            return choose_columns(self.table, self.names, rows, self._options, self.matcher, self._sample, joined)
        except DataError as error:
            if self.table.delimiter != " " or self.header or isinstance(error, NoLabelColumnError):
                raise
            advice = "Blanks separate the columns: if labels or file names hold blanks, save the table with commas"
            raise DataError(error.problems, "\n".join(filter(None, (error.advice, advice)))) from error

    @cached_property
    def unclear(self) -> DataError | None:
        """Why the columns are ambiguous; None if they are not."""
        try:
            _ = self.columns
        except DataError as error:
            return error
        return None

    @cached_property
    def paths(self) -> Mapping[str, str]:
        """The path of the image of each cell that names one. Needs `columns`."""
        return self.matcher.match(self.image_cells()).paths

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """The label of each image file that is found, as the table spells it. Needs `columns`."""
        columns, rows, paths = self.columns, self.table.rows[self.first :], self.paths
        return {paths[row[columns.image]]: self._label(row) for row in rows if row[columns.image] in paths}

    def image_cells(self) -> list[str]:
        """The cell of each row that names its image. Needs `columns`."""
        return [row[self.columns.image] for row in self.table.rows[self.first :]]

    def names_files(self) -> bool:
        """Whether most cells of its image column are file names, no numbers that classes may have, too."""
        cells = self.image_cells()
        return 2 * sum(map(is_file_name, cells)) > len(cells)

    def contradicts_folders(self, class_folders: Sequence[str]) -> bool:
        """Whether it names files, and labels one of them with another class folder than its own."""
        if self.unclear is not None or not self.names_files():
            return False
        known = set(map(composed, class_folders))
        pairs = ((label, composed(PurePosixPath(path).parent.name)) for path, label in self.labels.items())
        return any(label in known and own in known - {label} for label, own in pairs)

    def is_asked(self) -> bool:
        """Whether the sample submission has one of its columns, beside that of the ids."""
        return self._sample.asks_for(self.names)

    def may_be_predicted(self) -> bool:
        """Whether its columns are those of the output of a network: images, labels, and how sure these are."""
        if self.unclear is not None or (label := self.columns.label) is None:
            return False
        rows = self.table.rows[self.first :]
        return may_be_predicted(self.table.name, self.names, rows, self.columns.image, label)

    def claims_labels(self) -> bool:
        """Whether the table's name, that of a column, or the sample submission says that it holds labels."""
        return self.is_asked() or is_named_training(self.table.path) or any_usual_label(self.names)

    def owns_labels(self) -> bool:
        """Whether a column has a usual name of labels, or the sample submission asks for it."""
        return self.is_asked() or any_usual_label(self.names)

    def repeats_labels(self) -> bool:
        """Whether a column with a usual name of labels has several rows of one value: no list of classes."""
        rows = self.table.rows[self.first :]
        columns = [column for column, name in enumerate(self.names) if any_usual_label([name])]
        return any(1 < len({row[column].strip() for row in rows}) < len(rows) for column in columns)

    def is_excerpt_of(self, other: TrainingTable) -> bool:
        """Whether each row is one of a longer table, as in Oxford's pets: ``trainval.txt`` of ``list.txt``."""
        rows = self.table.rows[self.first :]
        return len(rows) < len(other.table.rows) - other.first and set(rows) <= set(other.table.rows)

    def _label(self, row: Sequence[str]) -> str:
        if self.columns.label is not None:
            return composed(row[self.columns.label].strip())
        shares = [value or 0.0 for value in self.columns.shares(row)]
        return self.names[self.columns.classes[shares.index(max(shares))]]
