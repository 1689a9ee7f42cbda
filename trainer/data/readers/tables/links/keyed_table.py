"""A table that may share a column of keys with another one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from trainer.common.errors import DataError
from trainer.data.readers.columns.class_columns import SUM_TOLERANCE
from trainer.data.readers.columns.header import column_names, has_header
from trainer.data.readers.columns.image_column import PROBED_ROWS, image_column
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.columns.label_names import NOT_LABELS, any_usual_label, is_usual_label, plain_name
from trainer.data.readers.matching.id_spellings import alike, composed, is_image_name, unpadded
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.find_tables import is_named_training
from trainer.formats.delimited import Table
from trainer.formats.shares import are_shares


class KeyedTable:
    """A table with its header, and the column that names images.

    image: the column whose cells name images; None without one.
    lists_images: whether most of its cells do so, or those that do are file names.
    problem: why that column is unclear; None if it is not.
    """

    def __init__(self, table: Table, matcher: ImageMatcher, image: int | None = None) -> None:
        self.table = table
        self.header = has_header(table, matcher)
        self.first = 1 if self.header else 0
        self.names = column_names(table, self.header)
        self.rows = table.rows[self.first :]
        self._cells: dict[int, list[str]] = {}
        self._values: dict[int, frozenset[str]] = {}
        self.image = image
        self.problem: DataError | None = None
        columns = range(table.width)
        matches = [matcher.match(row[column] for row in self.rows[:PROBED_ROWS]) for column in columns]
        if image is None and any(match.paths for match in matches):
            try:
                self.image = image_column(table.path.name, self.names, self.rows, columns, matches, None, [])
            except DataError as error:
                self.problem = error
        match = None if self.image is None else matches[self.image]
        self.lists_images = match is not None and (
            len(match.paths) > len(match.errors) or all(map(is_image_name, match.paths))
        )

    @property
    def image_cells(self) -> list[str]:
        """The cells that name images, one a row. Needs `image`."""
        assert self.image is not None, "a column names images"
        return self.cells(self.image)

    def cells(self, column: int) -> list[str]:
        """The cells of a column below the header, without blanks around them."""
        if column not in self._cells:
            self._cells[column] = [composed(row[column].strip()) for row in self.rows]
        return self._cells[column]

    def values(self, column: int) -> frozenset[str]:
        """The distinct cells of a column that are not empty."""
        if column not in self._values:
            self._values[column] = frozenset(self.cells(column)) - {""}
        return self._values[column]

    def numbers_images(self) -> bool:
        """Whether the images are named by mere numbers. Needs `image`."""
        return all(map(is_number, self.image_cells))

    def names_images_by(self, column: int) -> bool:
        """Whether a column is the one that names images, or no other one with words in its names does."""
        return self.image in (None, column) or self.numbers_images()

    def label_columns(self, keys: Sequence[int]) -> list[int]:
        """The columns beside ``keys`` that may hold labels: of a usual name, or with several rows of one value."""
        return [
            column
            for column, name in enumerate(self.names)
            if column not in (*keys, self.image)
            and (is_usual_label(name) or (plain_name(name) not in NOT_LABELS and self._repeats(column)))
        ]

    @cached_property
    def known_cells(self) -> frozenset[str]:
        """The cells of all columns, as `shortened`."""
        return frozenset(shortened(cell) for column in range(self.table.width) for cell in self.values(column))

    def is_asked(self, sample: SampleHints) -> bool:
        """Whether the sample submission has one of the columns, beside that of the ids."""
        return sample.asks_for(self.names)

    def owns_labels(self, key: int, sample: SampleHints) -> bool:
        """Whether a column has a usual name of labels, or the sample submission asks for it."""
        names = [name for column, name in enumerate(self.names) if column not in (key, self.image)]
        return self.is_asked(sample) or any_usual_label(names)

    def claims_labels(self, key: int, sample: SampleHints) -> bool:
        """Whether a table with columns for labels says that it holds them: also by its own name."""
        owns = self.owns_labels(key, sample) or is_named_training(self.table.path) or self._is_one_hot(key)
        return owns and bool(self.label_columns([key]))

    def _is_one_hot(self, key: int) -> bool:
        """Whether all columns but those of the keys and the images are one-hot."""
        columns = [column for column in range(self.table.width) if column not in (key, self.image)]
        cells = [[row[column] for column in columns] for row in self.rows[:PROBED_ROWS]]
        return len(columns) > 1 and are_shares(cells, SUM_TOLERANCE)

    def _repeats(self, column: int) -> bool:
        return 1 < len(self.values(column)) < len(self.rows)


def shortened(cell: str) -> str:
    """A cell without leading zeros and without case, as `alike`."""
    return unpadded(alike(cell))


def is_number(cell: str) -> bool:
    """Whether a key is a whole number."""
    return unpadded(cell).isdecimal()
