"""A table that divides the images into parts (train, val, test) without labelling them, such as CelebA's partition."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.common.errors import DataError, counted, listed
from trainer.data.readers.columns.choose_columns import Columns
from trainer.data.readers.columns.header import column_names, has_header
from trainer.data.readers.columns.label_names import NOT_LABELS, is_usual_label, plain_name
from trainer.data.readers.columns.part_columns import described
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.reading.table_files import first_rows, read_table
from trainer.data.readers.tables.wide_parts import column_for_each_part
from trainer.formats.delimited import Table
from trainer.formats.labels import is_missing, is_number
from trainer.formats.part_words import Part
from trainer.formats.parts import flagged_parts, numbered_parts, part_of

_MOST_COLUMNS = 5  # an id, three parts, and perhaps a number of the row; of one column of parts, a further column
_MOST_OF_ONE_COLUMN = 3
_COLUMN = "part"  # name of the column that the parts become
_IS_FLAG = re.compile(r"(?:is|in|for|use|used)_")  # in the name of a file without a header


@dataclass(frozen=True, kw_only=True)
class PartTable:
    """The part of each image that a table names.

    parts: by the table's cell.
    numbers: the meaning of the numbers 0, 1 and 2; empty where the table holds words.
    names: names of several files or folders that divide the images together; empty for one table.
    what: what they are.
    """

    path: Path
    parts: Mapping[str, Part]
    numbers: Mapping[str, Part]
    names: str = ""
    what: str = "lists"

    @property
    def divides(self) -> str:
        """The beginning of a sentence about what divides the images."""
        return f"the {self.what} {self.names} divide" if self.names else f"{self.path.name} divides"


def find_part_tables(paths: Iterable[Path], matcher: ImageMatcher, encoding: str | None) -> list[PartTable]:
    """Those of the tables that name images, and say nothing else but their parts: in one column, or in one for each."""
    found = []
    for path in paths:
        try:
            rows = first_rows(path, 2, encoding=encoding)
            if rows and 1 < max(map(len, rows)) <= _MOST_COLUMNS:
                found.append(part_table(read_table(path, encoding=encoding), matcher))
        except DataError:  # no table; the search for labels reports it where it matters
            continue
    return [table for table in found if table is not None]


def part_table(table: Table, matcher: ImageMatcher) -> PartTable | None:
    """A table as one that divides the images; None if it is none."""
    header = has_header(table, matcher)
    names = column_names(table, header)
    rows = table.rows[1:] if header else table.rows
    if not rows or any(map(is_usual_label, names)):
        return None
    if (parts := column_for_each_part(names, rows, matcher)) is not None:
        return PartTable(path=table.path, parts=parts, numbers={})
    if table.width > _MOST_OF_ONE_COLUMN:
        return None
    found = [len(matcher.match(row[column] for row in rows[:200]).paths) for column in range(table.width)]
    ids = max(range(table.width), key=lambda column: found[column])
    if not found[ids]:
        return None
    for column in range(table.width):
        if column == ids:
            continue
        counts = Counter(row[column].strip().lower() for row in rows)
        name = plain_name(names[column] if header else table.path.stem)
        numbers = numbered_parts(name, counts) or numbered_parts(plain_name(table.path.stem), counts) or {}
        # A file train.txt lists training images, and its two values may be labels.
        flags = flagged_parts(name, counts) if header or _IS_FLAG.match(name) else {}
        parts = numbers or flags or {value: part for value in counts if (part := part_of(value))}
        numbers = numbers or {value: part for value, part in flags.items() if is_number(value)}
        others = [other for other in range(table.width) if other not in (ids, column)]
        said = header and re.search("partition|split", table.path.stem, re.IGNORECASE)
        if not said and any(_repeats(names[other], rows, other) for other in others):
            continue  # a column of labels, as in Google's AutoML: TRAIN,gs://bucket/cat/1.jpg,cat
        if len(parts) == len(counts) > 1 and "train" in parts.values():
            given = {row[ids].strip(): parts[row[column].strip().lower()] for row in rows}
            return PartTable(path=table.path, parts=given, numbers=numbers)
    return None


def _repeats(name: str, rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether a column may hold labels by its name and its values: several, and one of them in several rows."""
    values = {row[column].strip() for row in rows}
    return plain_name(name) not in NOT_LABELS and 1 < len(values) < len(rows)


def divided(
    table: Table,
    first: int,
    names: Sequence[str],
    columns: Columns,
    tables: Sequence[PartTable],
    matcher: ImageMatcher,
) -> tuple[Table, tuple[str, ...], Columns]:
    """The training table with the parts of a part table as a further column; as it is without a part table.

    Args:
        first: index of the first row below the header.
        names: the column names.
        columns: the columns; those of a table that has a column of parts stay as they are.

    Raises:
        DataError: several part tables fit, or images have no part.
    """
    if columns.part is not None or not tables:
        return table, tuple(names), columns
    if len(tables) > 1:
        given = listed(entry.path.name for entry in tables)
        raise DataError(f"{given}: each divides the images into parts; move all but one out of the data folder")
    (chosen,) = tables
    by_path = {path: chosen.parts[cell] for cell, path in matcher.match(chosen.parts).paths.items()}
    found = matcher.match(row[columns.image] for row in table.rows[first:]).paths
    cells = [row[columns.image] for row in table.rows[first:]]
    parts = [chosen.parts.get(cell.strip()) or by_path.get(found.get(cell, "")) for cell in cells]
    if (missing := parts.count(None)) and missing < len(parts):
        raise DataError(
            f"{chosen.divides} the images into parts, but names none for {missing} of {len(parts)} rows of "
            f"{table.path.name}, such as {cells[parts.index(None)]!r}: add these rows, or move it out of the data "
            "folder"
        )
    if missing:
        return table, tuple(names), columns
    rows = [*((*row, _COLUMN) for row in table.rows[:first])]
    rows += [(*row, part or "") for row, part in zip(table.rows[first:], parts, strict=True)]
    meaning = f" ({described(chosen.numbers)})" if chosen.numbers else ""
    note = f"{chosen.divides} the rows of {table.path.name}{meaning}: " + ", ".join(
        f"{count} {part}" for part, count in Counter(part for part in parts if part).most_common()
    )
    known: dict[str, Part] = {"train": "train", "val": "val", "test": "test"}
    return (
        dataclasses.replace(table, rows=tuple(rows)),
        (*names, _COLUMN),
        dataclasses.replace(columns, part=len(names), parts=known, notes=(*columns.notes, note)),
    )


def split_parts(table: Table, first: int, columns: Columns) -> tuple[Table, Table | None, list[str]]:
    """The rows for training, those of the test part (None without a column of parts), and warnings about the others."""
    if columns.part is None or columns.parts is None:
        return table, None, []
    rows: dict[str, list[int]] = {part: list(range(first)) for part in ("train", "val", "test")}
    for index in range(first, len(table.rows)):
        rows[columns.parts[table.rows[index][columns.part].strip().lower()]].append(index)

    def part(name: str) -> Table:
        kept = rows[name]
        return dataclasses.replace(
            table, rows=tuple(table.rows[i] for i in kept), numbers=tuple(table.numbers[i] for i in kept)
        )

    if len(rows["train"]) == first:
        raise DataError(f"{table.path.name} has no row whose part is train, so there is nothing to train on")
    warnings = []
    if left := len(rows["val"]) - first:
        rows_left = counted(left, "validation row")
        warnings.append(f"not read: {rows_left} of {table.path.name} (folds are cut from the training rows)")
    return part("train"), part("test") if len(rows["test"]) > first else None, warnings


def warn_of_untrained(whole: Table, trained: Table, first: int, label: int | None) -> list[str]:
    """A warning if rows of other parts hold labels that no training row holds.

    Args:
        whole: the table of all parts.
        trained: its rows for training.
        label: the column of labels, of which each image has one; None: columns of classes hold them.
    """
    if label is None:
        return []
    all_labels, own = ({row[label].strip() for row in table.rows[first:]} for table in (whole, trained))
    lost = sorted(name for name in all_labels - own if not is_missing(name))
    return [f"not trained: {listed(lost, 4)}, classes without a training row of {whole.path.name}"] if lost else []
