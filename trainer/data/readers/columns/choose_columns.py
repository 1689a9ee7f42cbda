"""Choose the columns of a training table that hold ids, image names, labels, groups and parts (train, test)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

from trainer.common.errors import DataError, listed
from trainer.data.image_set import DataOptions
from trainer.data.readers.columns.label_columns import (
    LABEL_NAMES,
    SampleHints,
    choose_labels,
    is_usual_label,
    plain_name,
)
from trainer.data.readers.columns.part_columns import choose_part_column, unused_folds
from trainer.data.readers.columns.several_labels import LabelLists
from trainer.data.readers.columns.stated_labels import leave_statements
from trainer.data.readers.matching.id_spellings import composed, is_image_name, words_of
from trainer.data.readers.matching.image_files import IMAGE_SUFFIXES
from trainer.data.readers.matching.match_images import ColumnMatch, ImageMatcher
from trainer.formats.delimited import Table
from trainer.formats.labels import unquoted
from trainer.formats.part_words import Part
from trainer.formats.shares import are_signed, share, signed_share

_PIXEL_COLUMNS = 60  # columns from which a table that names no image may hold pixels
_WHOLE = re.compile(r"(\d{1,18})(?:\.0+)?", re.ASCII)
PROBED_ROWS = 200  # rows read to decide what a column holds
ID_NAMES = (
    "id", "ids", "image_id", "imageid", "image", "images", "img", "img_id", "filename", "file_name", "file", "name",
    "path", "filepath", "file_path", "image_path", "img_path", "image_name", "img_name", "uuid",
)  # fmt: skip
"""Usual names of id columns."""
_NAMES_OF_IMAGES = tuple(name for name in ID_NAMES if re.search("image|img|file|path", name))
_TITLE_ROWS = 6  # rows in which a header is looked for below a title
_COUNTER_NAMES = ("", "index", "idx", "no", "no.", "nr", "#", "row", "level_0")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Positions of the columns, from 0.

    Either ``label`` is the column of labels, or ``label`` is None and ``classes`` are one-hot or probability columns,
    one per class. ``image`` may equal ``id``. ``group`` and ``part`` are None without such a column.

    signed: whether the class columns hold 1 for yes and -1 for no.
    lists: how several labels of an image are written; None if each image has one.
    one_label: whether the user says that each image has one label.
    parts: the part (train, val or test) of each value of the column ``part``.
    notes: why a column was chosen where that is not obvious.
    warnings: which columns may be labels and are not read as such.
    """

    id: int
    image: int
    label: int | None
    classes: tuple[int, ...]
    group: int | None
    signed: bool = False
    lists: LabelLists | None = None
    one_label: bool = False
    part: int | None = None
    parts: Mapping[str, Part] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def shares(self, cells: Sequence[str]) -> list[float | None]:
        """The values, 0 to 1, of a row's class columns; None for a cell that holds none."""
        value_of = signed_share if self.signed else share
        return [value_of(cells[column]) for column in self.classes]


def has_header(table: Table, matcher: ImageMatcher) -> bool:
    """Whether the first row is a header: it holds a usual column name, or none of its cells names an image.

    A first row whose cells have the form of the cells below, such as numbers, is none.
    """
    first = [cell.strip() for cell in table.rows[0]]
    below = [{row[column].strip() for row in table.rows[1:]} for column in range(table.width)]
    if any(
        plain_name(unquoted(cell) or cell) in (*ID_NAMES, *LABEL_NAMES) and cell not in cells
        for cell, cells in zip(first, below, strict=True)
    ):
        return True
    if any(PurePosixPath(cell).suffix.lower() in IMAGE_SUFFIXES for cell in first):
        return False
    probed = [[row[column] for row in table.rows[:PROBED_ROWS]] for column in range(table.width)]
    if any(matcher.match(cells).paths.get(cells[0]) for cells in probed):
        return False
    return not _continues(table, first, below)


def refuse_title(table: Table) -> None:
    """Check that no row above the header is a title.

    Raises:
        DataError: one of the next rows holds the usual names of the columns of ids and labels, the first row neither.
    """
    for index, row in enumerate(table.rows[:_TITLE_ROWS]):
        known = [any(plain_name(cell) in usual for cell in row) for usual in (ID_NAMES, LABEL_NAMES)]
        if index and all(known):
            title = next(cell for cell in table.rows[0] if cell.strip())
            raise DataError(
                f"{table.row_name(index)} looks like the header, but {title[:60]!r} stands above it: remove the rows "
                "above the header"
            )
        if any(known):
            return


def _continues(table: Table, first: Sequence[str], below: Sequence[set[str]]) -> bool:
    """Whether the first row looks like the rows below: one cell is a label of several rows, another one an id.

    An id is a number, or as long as all those below.
    """
    columns = list(zip(first, below, strict=True))
    if any(cell.isdecimal() and all(map(str.isdecimal, cells)) for cell, cells in columns):
        return any(cell in cells and len(cells) > 1 for cell, cells in columns)
    rows = len(table.rows) - 1
    is_label = any(cell in cells and 1 < len(cells) <= rows // 2 for cell, cells in columns)
    return is_label and any(
        cells and len(cells) == rows and {*map(len, cells)} == {len(cell)} for cell, cells in columns
    )


def column_names(table: Table, header: bool) -> tuple[str, ...]:
    """The header's cells, with ``Unnamed: N`` for an empty one; ``1``, ``2``, ... for a table without a header.

    Quotation marks around a name are no part of it, unless two columns would have one name.
    """
    if not header:
        return tuple(map(str, range(1, table.width + 1)))
    cells = [composed(cell.strip()) for cell in table.rows[0]]
    bare = [unquoted(cell) or cell for cell in cells]
    if len(set(bare)) == len(set(cells)):
        cells = bare
    return tuple(cell or f"Unnamed: {column}" for column, cell in enumerate(cells))


def choose_columns(
    table: Table,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    options: DataOptions,
    matcher: ImageMatcher,
    sample: SampleHints,
    joined: tuple[int, int] | None = None,
) -> Columns:
    """Choose the columns by the user's options, else the sample's header, else the cells, else usual column names.

    Args:
        table: the training table.
        names: its column names.
        rows: its rows below the header.
        options: column names that the user gave.
        matcher: finds training images.
        sample: what the sample submission says about the columns.
        joined: the columns of ids and of image names, if two tables were joined by the ids.

    Raises:
        DataError: two columns have the same name, an option names no column, or several columns fit equally well. The
            message lists the columns and names the option that decides.
    """
    file = table.path.name
    if len(set(names)) != len(names):
        raise DataError(f"{file} has two columns with the same name: {listed(names)}")

    def position(name: str, option: str) -> int:
        if composed(name) not in names:
            flag = f"--{option.replace('_', '-')}"
            raise DataError(f"{file} has no column {name!r} ({flag}, data.{option}); it has {listed(names)}")
        return list(names).index(composed(name))

    probed = rows[:PROBED_ROWS]
    matches = [matcher.match(row[column] for row in probed) for column in range(len(names))]
    if len(names) > _PIXEL_COLUMNS and not any(match.paths for match in matches):
        raise DataError(
            f"{file}: none of its {len(names)} columns names an image. Tables of pixel values are not read: save each "
            "row as an image file, and name the files in a table of ids and labels"
        )
    label = None if options.label_column is None else position(options.label_column, "label_column")
    group = None if options.group_column is None else position(options.group_column, "group_column")
    asked = None if options.id_column is None else position(options.id_column, "id_column")
    notes: list[str] = []
    warnings: list[str] = []
    part, parts = choose_part_column(file, names, rows, {label, group, asked}, notes)
    sampled = list(names).index(sample.header[0]) if sample.header and sample.header[0] in names else None
    if joined is not None:
        image = joined[1]
    elif asked is not None and matches[asked].paths:
        image = asked
    else:
        free = [column for column in range(len(names)) if column not in {label, group, part, asked}]
        image = image_column(file, names, rows, free, matches, sampled, notes)
    if asked is not None:
        id_position = asked
    elif sampled is not None:
        id_position = sampled
    elif joined is not None:
        id_position = joined[0]
    elif matches[image].paths:
        id_position = image
    else:
        usual = (column for column, name in enumerate(names) if plain_name(name) in ID_NAMES and column != label)
        id_position = next(usual, next(column for column in range(len(names)) if column != label or len(names) == 1))
    image = image if matches[image].paths or joined is not None else id_position
    classes: tuple[int, ...] = ()
    if label is None:
        taken = {id_position, image, group, part, *(joined or ())}
        free = [c for c in range(len(names)) if c not in taken and not _counts_rows(names, rows, c)]
        asked_for = [c for c in free if names[c] in sample.header]
        free = sorted({*leave_statements(names, rows, image, free), *asked_for})
        folders = [PurePosixPath(matches[image].paths.get(row[image], "")).parent.name for row in probed]
        words = words_of(row[image] for row in rows)
        label, classes = choose_labels(
            file,
            names,
            rows,
            free,
            sample,
            folders,
            words,
            notes,
            warnings,
            options.several_labels,
            lambda row: table.row_name(table.rows.index(tuple(row))),
        )
    notes += unused_folds(names, {id_position, image, label, group, part, *classes})
    return Columns(
        id=id_position,
        image=image,
        label=label,
        classes=classes,
        group=group,
        signed=bool(classes) and are_signed([[row[column] for column in classes] for row in rows]),
        part=part,
        parts=parts,
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def image_column(
    file: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    free: Sequence[int],
    matches: Sequence[ColumnMatch],
    sampled: int | None,
    notes: list[str],
) -> int:
    """The column that names the images.

    Distinct images are counted: a column of labels 0 and 1 may name 0.png and 1.png too, but only these two. Among the
    columns that name many, a file name or path goes before a number, the usual name of an id column before another
    one, and a column that numbers the rows comes last.

    Raises:
        DataError: two columns of the same kind name different images, or only numbers name images, while another
            column holds file names.
    """
    found = {column: len(set(matches[column].paths.values())) for column in free}
    most = max(found.values(), default=0)
    if not most:
        return free[0] if free else 0

    def rank(column: int) -> int:
        cells = list(matches[column].paths)
        explicit = sum(_is_file_name(cell) for cell in cells) * 2 > len(cells)
        usual = plain_name(names[column]) in ID_NAMES or column == sampled
        if explicit:
            return 0 if usual else 1
        return 4 if is_counter(names[column]) else 2 if usual else 3

    many = [column for column in free if found[column] * 2 >= most]
    many = [column for column in many if not is_usual_label(names[column])] or many
    best = min(map(rank, many))
    first = [column for column in many if rank(column) == best]
    chosen = sampled if sampled in first else max(first, key=lambda column: found[column])
    assert chosen is not None, "one column names images"
    rivals = [column for column in first if column != chosen]
    if _is_sequence([row[chosen] for row in rows]):
        # The row number may have the usual name of an id column.
        rivals += [c for c in many if rank(c) == best + 1 == 3 and c not in rivals]
    rivals = [column for column in rivals if _differ(rows, matches, chosen, column)]
    if rivals and chosen != sampled:
        both = listed(names[column] for column in sorted((chosen, *rivals)))
        raise DataError(
            f"{file}: the columns {both} name images, but different ones in the same row. Choose one with "
            "--id-column NAME (data.id_column)"
        )
    if all(_WHOLE.fullmatch(cell.strip()) for cell in matches[chosen].paths):
        counted = is_counter(names[chosen])
        unfound = [c for c in free if found[c] * 2 < most and _unfound_names(rows, c)]
        unfound += [c for c in free if counted and not found[c] and plain_name(names[c]) in _NAMES_OF_IMAGES]
        if unfound:
            cell = next(row[unfound[0]] for row in rows if row[unfound[0]].strip())
            raise DataError(
                f"{file}: the numbers in {names[chosen]!r} name images, but the column {names[unfound[0]]!r} holds "
                f"file names that the folder lacks, such as {cell!r}. Rename the files to these names, or choose the "
                "column of image names with --id-column NAME (data.id_column)"
            )
    passed_over = [names[c] for c in many if c != chosen and _differ(rows, matches, chosen, c)]
    if passed_over:
        notes.append(f"the values of {listed(passed_over)} are not read as image names, though there are such files")
    return chosen


def _is_file_name(cell: str) -> bool:
    return "/" in cell or "\\" in cell or PurePosixPath(cell.strip()).suffix.lower() in IMAGE_SUFFIXES


def _differ(rows: Sequence[Sequence[str]], matches: Sequence[ColumnMatch], one: int, other: int) -> bool:
    """Whether two columns name different images in a probed row."""
    for row in rows[:PROBED_ROWS]:
        path, other_path = matches[one].paths.get(row[one]), matches[other].paths.get(row[other])
        if path is not None and other_path is not None and path != other_path:
            return True
    return False


def _counts_rows(names: Sequence[str], rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether a column without a telling name numbers the rows."""
    return is_counter(names[column]) and _is_sequence([row[column] for row in rows])


def is_counter(name: str) -> bool:
    """Whether a column has no name, or one of a row number."""
    return name.strip().lower() in _COUNTER_NAMES or name.startswith("Unnamed")


def _is_sequence(cells: Sequence[str]) -> bool:
    """Whether the cells are whole numbers that always rise, or always fall; rows that were removed leave gaps."""
    found = [_WHOLE.fullmatch(cell.strip()) for cell in cells]
    numbers = [int(number[1]) for number in found if number]
    steps = [after - before for before, after in pairwise(numbers)]
    return 0 < len(numbers) == len(cells) and (all(step > 0 for step in steps) or all(step < 0 for step in steps))


def _unfound_names(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether most cells of a column are names of image files, and most of them differ."""
    cells = [row[column] for row in rows[:PROBED_ROWS] if row[column].strip()]
    named = {cell for cell in cells if is_image_name(cell)}
    return len(named) * 2 > len(cells)
