"""Choose the column that divides the rows of a table into parts for training, validation and testing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from trainer.common.errors import DataError, listed
from trainer.data.readers.columns.label_names import is_usual_label, plain_name
from trainer.formats.part_words import Part
from trainer.formats.parts import (
    TRUE,
    divides_rows,
    is_part_column,
    may_divide,
    numbered_parts,
    part_of,
    parts_of_flag,
    seems_numbered,
)

_FOLD_NAMES = (
    "fold", "folds", "kfold", "k_fold", "fold_id", "fold_no", "fold_number", "foldid", "cv_fold", "cv",
)  # fmt: skip


def choose_part_column(
    file: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    taken: Collection[int | None],
    notes: list[str],
) -> tuple[int | None, Mapping[str, Part] | None]:
    """The column that says which rows are for training and which for testing, and the part of each of its values.

    Args:
        taken: columns that are no candidates.
        notes: a sentence is added where numbers are read as parts.

    Raises:
        DataError: the column has values whose part is unknown.
    """
    for column, name in enumerate(names):
        if column in taken or is_usual_label(name):
            continue
        counts = Counter(row[column].strip().lower() for row in rows)
        values = set(counts)
        plain = plain_name(name)
        if (numbered := numbered_parts(plain, counts)) is not None:
            notes.append(f"the numbers in {name!r} are parts: {described(numbered)}")
            return column, numbered
        flags = parts_of_flag(plain) or {}
        parts = {value: part for value in values if (part := flags.get(value) or part_of(value))}
        if len(values) == 2 and "" in values and flags and max(values) in TRUE:  # a mark or nothing
            parts[""] = flags["0"]
        flagged = bool(values & flags.keys())
        if flagged and len(values) == len(parts):
            return column, parts
        named = is_part_column(plain)
        if len(values) == len(parts) and (len(values) > 1 or named) and (named or "train" in parts.values()):
            return column, parts
        if flagged or divides_rows(plain, values) or seems_numbered(plain, counts) or may_divide(plain, values):
            unknown = [cell for cell in dict.fromkeys(row[column].strip() for row in rows) if cell.lower() not in parts]
            count = sum(row[column].strip().lower() not in parts for row in rows)
            raise DataError(
                f"{file}: the column {name!r} seems to divide the rows for training and testing, but {count} rows hold "
                f"{listed(unknown, 4)}. Write train, val or test there, or remove these rows; if the column says "
                "something else, remove it, or choose it with --label-column or --group-column"
            )
    return None, None


def unused_folds(names: Sequence[str], used: Collection[int | None]) -> list[str]:
    """A note on each column of folds that is not ``used``."""
    return [
        f"the column {name!r} is not used, because new folds are cut: `search start --study STUDY --folds TABLE` "
        "takes the folds of a table with the columns image_id and fold"
        for column, name in enumerate(names)
        if column not in used and plain_name(name) in _FOLD_NAMES
    ]


def described(parts: Mapping[str, Part]) -> str:
    """Numbers and their parts for a message: ``0 train, 1 val, 2 test``."""
    return ", ".join(f"{value} {part}" for value, part in sorted(parts.items()))
