"""Tables that share a column of keys: one names the image file of each key, the other one labels these keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from trainer.common.errors import DataError
from trainer.data.readers.columns.choose_columns import (
    ID_NAMES,
    PROBED_ROWS,
    column_names,
    has_header,
    image_column,
    is_counter,
)
from trainer.data.readers.columns.label_columns import (
    NOT_LABELS,
    SampleHints,
    any_usual_label,
    is_usual_label,
    plain_name,
)
from trainer.data.readers.matching.id_spellings import alike, composed, is_image_name, unpadded
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.find_tables import is_named_training
from trainer.formats.delimited import Table

_FEW = 0.5  # share of the keys that both tables have, below which columns without a common name are no keys
_NEARLY_ALL = 0.9  # the same of numbers, which are equal by chance in many columns
Spelling = Callable[[str], str]


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

    @cached_property
    def image_cells(self) -> list[str]:
        """The cells that name images, one a row. Needs `image`."""
        assert self.image is not None, "a column names images"
        return self.cells(self.image)

    def cells(self, column: int) -> list[str]:
        """The cells of a column below the header, without blanks around them."""
        return [composed(row[column].strip()) for row in self.rows]

    def numbers_images(self) -> bool:
        """Whether the images are named by mere numbers. Needs `image`."""
        return all(map(_is_number, self.image_cells))

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

    def known_cells(self) -> set[str]:
        """The cells of all columns, as `shortened`."""
        return {shortened(cell) for column in range(self.table.width) for cell in self.cells(column) if cell}

    def is_asked(self, sample: SampleHints) -> bool:
        """Whether the sample submission has one of the columns, beside that of the ids."""
        return not set(sample.header[1:]).isdisjoint(self.names)

    def owns_labels(self, key: int, sample: SampleHints) -> bool:
        """Whether a column has a usual name of labels, or the sample submission asks for it."""
        names = [name for column, name in enumerate(self.names) if column not in (key, self.image)]
        return self.is_asked(sample) or any_usual_label(names)

    def claims_labels(self, key: int, sample: SampleHints) -> bool:
        """Whether a table with columns for labels says that it holds them: also by its own name."""
        owns = self.owns_labels(key, sample) or is_named_training(self.table.path)
        return owns and bool(self.label_columns([key]))

    def _repeats(self, column: int) -> bool:
        values = set(self.cells(column)) - {""}
        return 1 < len(values) < len(self.rows)


@dataclass(frozen=True, kw_only=True)
class Key:
    """A column of keys that a table of image names shares with another table.

    listing, other: position of the column in the table of image names, and in the other one.
    sure: whether the columns have one name or usual names of ids, or their cells are no mere numbers.
    spelled: the form in which the keys are compared.
    files: the cells that name the images of each key.
    """

    listing: int
    other: int
    sure: bool
    spelled: Spelling
    files: Mapping[str, Sequence[str]]

    def repeats(self) -> bool:
        """Whether a key has several images, as that of a patient."""
        return any(len(images) > 1 for images in self.files.values())


def find_keys(listing: KeyedTable, other: KeyedTable) -> list[Key]:
    """The most probable pairs of columns of keys; several are equally probable, and none may be found.

    Columns of one name, or with usual names of ids, go before columns that only have the same cells.
    """
    ranked: dict[int, list[Key]] = defaultdict(list)
    for column, name in enumerate(listing.names):
        if column == listing.image or is_usual_label(name):
            continue
        for theirs, their_name in enumerate(other.names):
            if is_usual_label(their_name):
                continue
            rank = _rank(name, their_name)
            key = _key(listing, column, other, theirs, named=rank < _UNNAMED)
            if key is not None:
                # A column with one image for each key says more than that of a site, which both tables may have.
                ranked[2 * rank + key.repeats()].append(key)
    return ranked[min(ranked)] if ranked else []


_UNNAMED = 2


def _rank(name: str, other: str) -> int:
    """How much the names of two columns say that both hold the same ids, 0 the most."""
    plain, plain_other = plain_name(name), plain_name(other)
    if plain in ID_NAMES and plain_other in ID_NAMES:
        return 0
    return 1 if plain == plain_other and not is_counter(name) else _UNNAMED


def _key(listing: KeyedTable, column: int, other: KeyedTable, theirs: int, *, named: bool) -> Key | None:
    """The two columns as keys; None if they share too few cells."""
    ours, wanted = listing.cells(column), set(other.cells(theirs)) - {""}
    spelled = _spelling(set(ours) - {""}, wanted)
    keys, wanted = {spelled(cell) for cell in ours if cell}, {spelled(cell) for cell in wanted}
    shared = keys & wanted
    if len(shared) < min(2, len(wanted)) or not shared:
        return None
    of_theirs, of_ours = len(shared) / len(wanted), len(shared) / len(keys)
    numbers = all(map(_is_number, shared))
    if named:
        enough = max(of_theirs, of_ours) >= _FEW
    elif numbers:  # a few of the groups may have labels
        enough = (of_theirs if len(keys) < len(ours) else min(of_theirs, of_ours)) >= _NEARLY_ALL
    else:
        enough = of_theirs > _FEW
    if not enough:
        return None
    files: dict[str, list[str]] = defaultdict(list)
    for cell, image in zip(ours, listing.image_cells, strict=True):
        if cell and image not in files[spelled(cell)]:
            files[spelled(cell)].append(image)
    return Key(listing=column, other=theirs, sure=named or not numbers, spelled=spelled, files=files)


def _spelling(ours: set[str], theirs: set[str]) -> Spelling:
    """How keys are compared: as they are, or without leading zeros and case where more of them are then equal."""
    best, most = _as_it_is, len(ours & theirs)
    for spelled in (unpadded, shortened):
        short, their_short = ({spelled(cell) for cell in cells} for cells in (ours, theirs))
        distinct = len(short) == len(ours) and len(their_short) == len(theirs)
        if distinct and len(short & their_short) > most:
            best, most = spelled, len(short & their_short)
    return best


def _as_it_is(cell: str) -> str:
    return cell


def shortened(cell: str) -> str:
    """A cell without leading zeros and without case, as `alike`."""
    return unpadded(alike(cell))


def _is_number(cell: str) -> bool:
    return unpadded(cell).isdecimal()
