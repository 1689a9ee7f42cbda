"""A table that may hold training labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property

from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions
from trainer.data.readers.columns.choose_columns import Columns, choose_columns, column_names, has_header
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.folder_labels import FolderTable
from trainer.formats.delimited import Table
from trainer.formats.shares import share


class TrainingTable:
    """A table that may hold training labels, with its columns.

    of_folders: the table that labels folders, of which ``table`` has one row for each image; None for another table.
    """

    def __init__(
        self,
        table: Table,
        options: DataOptions,
        matcher: ImageMatcher,
        sample: SampleHints,
        of_folders: FolderTable | None = None,
    ) -> None:
        self.of_folders = of_folders
        if of_folders is not None:
            table, folders = of_folders.expanded()
            asked = None if options.id_column == folders else options.id_column
            options = dataclasses.replace(options, id_column=asked, group_column=options.group_column or folders)
        self.table = table
        self.header = has_header(table, matcher)
        self.names = column_names(table, self.header)
        self.first = 1 if self.header else 0
        self._options, self._matcher, self._sample = options, matcher, sample

    @cached_property
    def columns(self) -> Columns:
        """The columns.

        Raises:
            DataError: they are ambiguous.
        """
        rows: Sequence[Sequence[str]] = self.table.rows[self.first :]
        if self.of_folders is not None:
            rows = self.of_folders.representatives()
        return choose_columns(self.table, self.names, rows, self._options, self._matcher, self._sample)

    @cached_property
    def unclear(self) -> DataError | None:
        """Why the columns are ambiguous; None if they are not."""
        try:
            _ = self.columns
        except DataError as error:
            return error
        return None

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """The label of each image file that is found, as the table spells it. Needs `columns`."""
        columns, rows = self.columns, self.table.rows[self.first :]
        paths = self._matcher.match(row[columns.image] for row in rows).paths
        return {paths[row[columns.image]]: self._label(row) for row in rows if row[columns.image] in paths}

    def _label(self, row: Sequence[str]) -> str:
        if self.columns.label is not None:
            return composed(row[self.columns.label].strip())
        return self.names[max(self.columns.classes, key=lambda column: share(row[column]) or 0.0)]
