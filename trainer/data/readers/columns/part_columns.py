"""Choose the column that divides the rows of a table into parts for training, validation and testing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath

from trainer.common.errors import DataError, listed
from trainer.data.readers.columns.label_names import is_usual_label, plain_name
from trainer.data.readers.matching.id_spellings import is_image_name
from trainer.formats.part_words import Part
from trainer.formats.parts import (
    TRUE,
    are_parts_alone,
    divides_rows,
    is_called_after_part,
    is_mark,
    is_part_column,
    may_divide,
    numbered_parts,
    often_divides,
    part_of,
    parts_of,
    parts_of_flag,
    seems_numbered,
    short_parts_of,
)

_BESIDE_TRAINING = frozenset((
    "external", "evaluate", "evaluating", "leaderboard", "challenge", "benchmark", "benchmarking", "final", "blind",
    "hidden", "unseen", "scoring", "submission", "inference", "predict", "prediction", "internal", "other", "none", "",
))  # fmt: skip
"""Words that may be parts beside ``train``, in lower case."""
_FOLD_NAMES = (
    "fold", "folds", "kfold", "k_fold", "fold_id", "fold_no", "fold_number", "foldid", "cv_fold", "cv",
)  # fmt: skip
_SOURCE = re.compile(r"\.(?:csv|tsv|txt|jsonl?|ndjson|zip|tar|parquet|xlsx)$|/$")
"""The end of the name of a file or folder from which a row comes, such as ``train.csv`` and ``img/test/``."""
IF_OTHER = "; if the column says something else, remove it, or choose it with --label-column or --group-column"
"""The end of the message on a column of the training table that seems to divide the rows."""
_FEW_PARTS = 4
"""Values up to which a column that is called as parts are may divide the rows."""


def choose_part_column(
    file: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    taken: Collection[int | None],
    notes: list[str],
    warnings: list[str],
    *,
    otherwise: str = IF_OTHER,
) -> tuple[int | None, Mapping[str, Part] | None]:
    """The column that says which rows are for training and which for testing, and the part of each of its values.

    Args:
        taken: columns that are no candidates.
        notes: a sentence is added where numbers are read as parts.
        warnings: a sentence is added for a column that may divide the rows and is not used.
        otherwise: what to do if a column does not divide the rows, the end of a sentence.

    Raises:
        DataError: the column has values whose part is unknown, or several columns divide the rows differently.
    """
    found: dict[int, Mapping[str, Part]] = {}
    _refuse_column_for_each_part(file, names, rows, taken)
    for column, name in enumerate(names):
        cells = [row[column].strip() for row in rows]
        if column in taken or (is_usual_label(name) and not are_parts_alone(set(cells))):
            continue
        parts = _parts_of_column(file, name, cells, notes, warnings, otherwise)
        if parts is not None and not _are_training_ids(name, cells, parts):
            found[column] = parts
    if not found:
        return None, None
    # A column with one part for all rows may name their source: it counts only if no other one divides them.
    dividing = {column: parts for column, parts in found.items() if len(set(parts.values())) > 1}
    dividing = dividing or dict(islice(found.items(), 1))
    first, *others = dividing
    said = _parts_of_rows(rows, first, dividing[first])
    rivals = [column for column in others if _parts_of_rows(rows, column, dividing[column]) != said]
    if rivals:
        raise DataError(
            f"{file}: the columns {listed(names[column] for column in (first, *rivals))} divide the rows for training "
            "and testing in different ways. Write one column split, with train, val or test in each row, in their place"
        )
    return first, dividing[first]


def _are_training_ids(name: str, cells: Sequence[str], parts: Mapping[str, Part]) -> bool:
    """Whether all cells differ and say train, as the ids ``train_1``, ``train_2`` do, which divide nothing."""
    return (
        set(parts.values()) == {"train"} and len(set(cells)) == len(cells) > 1 and not is_part_column(plain_name(name))
    )


def _refuse_column_for_each_part(
    file: str, names: Sequence[str], rows: Sequence[Sequence[str]], taken: Collection[int | None]
) -> None:
    """Refuse columns such as ``train``, ``val`` and ``test`` that mark the rows of one part each.

    Raises:
        DataError: there are several.
    """
    flags = [
        name
        for column, name in enumerate(names)
        if column not in taken
        and is_called_after_part(plain_name(name))
        and is_mark({row[column].strip().lower() for row in rows})
    ]
    if len(flags) > 1:
        raise DataError(
            f"{file}: the columns {listed(flags)} seem to mark the rows for training and testing. Write one column "
            "split, with train, val or test in each row, in their place"
        )


def _parts_of_rows(rows: Sequence[Sequence[str]], column: int, parts: Mapping[str, Part]) -> list[Part | None]:
    return [parts.get(row[column].strip().lower()) for row in rows]


def _parts_of_column(
    file: str, name: str, cells: Sequence[str], notes: list[str], warnings: list[str], otherwise: str
) -> Mapping[str, Part] | None:
    """The part of each value of a column, in lower case; None if it does not divide the rows.

    Raises:
        DataError: the column has values whose part is unknown, or says that most images are for validation.
    """
    if cells and all(map(is_image_name, cells)):  # test_0001.jpg is a test image
        stems = {cell.lower(): PurePosixPath(cell).stem.lower() for cell in cells}
        if not are_parts_alone(set(stems.values())):
            return None
        return {cell: part for cell, stem in stems.items() if (part := part_of(stem))}
    counts = Counter(cell.lower() for cell in cells)
    if len(counts) <= _FEW_PARTS and (sources := _parts_of_sources(counts)):
        return sources
    plain = plain_name(name)
    if (numbered := numbered_parts(plain, counts)) is not None:
        notes.append(f"the numbers in {name!r} are parts: {described(numbered)}")
        return numbered
    values, flags = set(counts), parts_of_flag(plain) or {}
    parts = _known_parts(values, flags)
    if is_part_column(plain) and (short := short_parts_of(values)):
        parts = short
    flagged, known = bool(values & flags.keys()), len(values) == len(parts)
    if flagged and known:
        _refuse_most_for_validation(file, name, counts, parts, flags)
        return parts
    named = is_part_column(plain)
    if known and (len(values) > 1 or named) and (named or "train" in parts.values()):
        return parts
    trained = "train" in parts.values() and not known and values - parts.keys() <= _BESIDE_TRAINING
    if flagged or trained or divides_rows(plain, values) or seems_numbered(plain, counts) or may_divide(plain, values):
        unknown = [cell for cell in dict.fromkeys(cells) if cell.lower() not in parts]
        count = sum(cell.lower() not in parts for cell in cells)
        raise DataError(
            f"{file}: the column {name!r} seems to divide the rows for training and testing, but {count} rows hold "
            f"{listed(unknown, 4)}. Write train, val or test there, or remove these rows{otherwise}"
        )
    if (named or often_divides(plain, values)) and plain not in _FOLD_NAMES and 1 < len(values) <= _FEW_PARTS:
        shown = ", ".join(f"{value!r} in {count} rows" for value, count in counts.most_common())
        warnings.append(
            f"{file}: the column {name!r} ({shown}) is not used; if it divides the rows, write train, val or test there"
        )
    return None


def _parts_of_sources(values: Collection[str]) -> Mapping[str, Part]:
    """The part of each value in lower case, where these name files or folders called after parts; else nothing."""
    sources = {value: PurePosixPath(_SOURCE.sub("", value)).name for value in values}
    if set(sources) == set(sources.values()) or not are_parts_alone(set(sources.values())):
        return {}
    return {value: part for value, source in sources.items() if (part := part_of(source))}


def _known_parts(values: Collection[str], flags: Mapping[str, Part]) -> dict[str, Part]:
    """The part of each of the ``values`` that says one, in words or as one of the ``flags`` of the column's name."""
    parts = {**parts_of(values), **{value: flags[value] for value in values if value in flags}}
    if len(values) == 2 and "" in values and flags and max(values) in TRUE:  # a mark or nothing
        parts[""] = flags["0"]
    return parts


def _refuse_most_for_validation(
    file: str, name: str, counts: Mapping[str, int], parts: Mapping[str, Part], flags: Mapping[str, Part]
) -> None:
    """Refuse a flag by which most images are for validation: it may say which images are good."""
    images, marked = sum(counts.values()), sum(count for value, count in counts.items() if parts[value] == "val")
    if 2 * marked > images and "val" in flags.values():
        raise DataError(
            f"{file}: the column {name!r} says that {marked} of {images} images are for validation. If it says "
            "which images can be used, remove the others and the column; if not, write train or val into it"
        )


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
