"""Read the rows of a training table: id, label and image file of each, and all errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trainer.common.errors import DataError, TrainerError, listed
from trainer.data.readers.base import SkippableProblem
from trainer.data.readers.columns import Columns
from trainer.data.readers.image_files import (
    IMAGE_SUFFIXES,
    ImageFiles,
    ImageLookupError,
    ImageMissingError,
)
from trainer.formats.delimited import Table
from trainer.formats.labels import is_number, text_problem

SUM_TOLERANCE = 0.01  # largest distance from 1 of the sum of a row's probabilities


@dataclass(frozen=True, kw_only=True)
class TrainingRow:
    """One usable row.

    path: the image file, relative to the data folder.
    row: the row's name in messages, such as ``train.csv row 7``.
    group: value of the group column; empty without one.
    """

    id: str
    label: str
    path: str
    row: str
    group: str


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """The usable rows in the table's order, and the problems of the other rows, as in `ReadResult`."""

    rows: tuple[TrainingRow, ...]
    problems: tuple[str, ...]
    skippable: tuple[SkippableProblem, ...]
    warnings: tuple[str, ...]


class _BadRowError(TrainerError):
    """A cell that cannot be used. The message is the cause alone, without the row's name."""


def read_training_rows(
    table: Table, first: int, names: Sequence[str], columns: Columns, files: ImageFiles
) -> TrainingRows:
    """Read the rows from index ``first`` on, and find the image file of each.

    Args:
        names: the column names.
        columns: the columns that hold ids, image names, labels and groups.

    Raises:
        DataError: no row can be used.
    """
    labels, problems, ties = _read_labels(table, first, names, columns)
    kept, repeated, two_labels = _drop_repeated(table, columns, labels)
    usable: list[TrainingRow] = []
    unfound: list[SkippableProblem] = []
    labels_of_unfound: set[str] = set()
    all_missing = not repeated
    for index in kept:
        cells, row = table.rows[index], table.row_name(index)
        identifier = cells[columns.id]
        try:
            path = files.find(cells[columns.image], "train")
        except ImageLookupError as error:
            unfound.append(SkippableProblem(lost_id=identifier, message=f"{row}: {error}"))
            labels_of_unfound.add(labels[index])
            all_missing &= isinstance(error, ImageMissingError)
            continue
        group = "" if columns.group is None else cells[columns.group].strip()
        usable.append(TrainingRow(id=identifier, label=labels[index], path=path, row=row, group=group))
    skippable = [*repeated, *unfound]
    if not usable:
        if not problems and skippable and not all_missing:
            problems = [problem.message for problem in skippable]
        raise DataError(
            problems or _nothing_found(table, names, columns, files, listed_rows=len(skippable)),
            files.missing_hint(),
        )
    found = {row.label for row in usable}
    classes = [names[column] for column in columns.classes]
    empty = sorted(labels_of_unfound - found) + [name for name in classes if name not in found | labels_of_unfound]
    problems += [f"{table.path.name}: the label {label!r} has no image" for label in empty]
    problems += _shared_files(usable)
    return TrainingRows(
        rows=tuple(usable),
        problems=tuple(problems),
        skippable=tuple(skippable),
        warnings=(*ties, *two_labels),
    )


def _read_labels(
    table: Table, first: int, names: Sequence[str], columns: Columns
) -> tuple[dict[int, str], list[str], list[str]]:
    """The label of each row with a usable id and label, by row index; then problems, then warnings about ties."""
    labels: dict[int, str] = {}
    problems: list[str] = []
    warnings: list[str] = []
    for index in range(first, len(table.rows)):
        cells, row = table.rows[index], table.row_name(index)
        try:
            label, tie = _label(cells, names, columns)
            if problem := text_problem(cells[columns.id]):
                raise _BadRowError(f"the id {problem}")
        except _BadRowError as error:
            problems.append(f"{row}: {error}")
            continue
        labels[index] = label
        if tie:
            warnings.append(f"{row}: two classes are equally probable; the first one becomes the label")
    return labels, problems, warnings


def _drop_repeated(
    table: Table, columns: Columns, labels: Mapping[int, str]
) -> tuple[list[int], list[SkippableProblem], list[str]]:
    """The first row of each pair of id and label; problems of repeated rows; warnings about ids with several labels."""
    by_id: dict[str, list[int]] = defaultdict(list)
    for index in labels:
        by_id[table.rows[index][columns.id]].append(index)
    kept: list[int] = []
    repeated: list[SkippableProblem] = []
    warnings: list[str] = []
    for identifier, indices in by_id.items():
        first_with = {labels[index]: index for index in reversed(indices)}
        kept += first_with.values()
        if len(first_with) < len(indices):
            repeated.append(SkippableProblem(lost_id=None, message=_given_again(table, identifier, indices, labels)))
        elif len(first_with) > 1:
            warnings.append(_two_labels(table, identifier, indices, labels))
    return sorted(kept), repeated, warnings


def _label(cells: Sequence[str], names: Sequence[str], columns: Columns) -> tuple[str, bool]:
    """The label of a row, and whether another class is as probable."""
    if columns.label is not None:
        label = cells[columns.label].strip()
        if problem := text_problem(label):
            raise _BadRowError(f"the label {problem}")
        return label, False
    shares = [cells[column].strip() for column in columns.classes]
    if wrong := [share for share in shares if not is_number(share) or not 0 <= float(share) <= 1]:
        raise _BadRowError(f"{wrong[0]!r} in a class column is neither 0, 1 nor a probability")
    values = [float(share) for share in shares]
    if abs(sum(values) - 1) > SUM_TOLERANCE:
        hot = [names[column] for column, value in zip(columns.classes, values, strict=True) if value == 1]
        what = f"it has the labels {listed(hot)}" if len(hot) > 1 else f"its classes add up to {sum(values):g}"
        raise _BadRowError(f"{what}; each image needs exactly one label, or probabilities that add up to 1")
    best = max(values)
    return names[columns.classes[values.index(best)]], values.count(best) > 1


def _given_again(table: Table, identifier: str, indices: Sequence[int], labels: Mapping[int, str]) -> str:
    """Message for an id with the same label in several rows, which a wrong join of tables may cause."""
    again = sorted({labels[index] for index in indices})
    return (
        f"{_rows(table, indices)}: the id {identifier!r} is given {len(indices)} times, with the "
        f"label{'s' * (len(again) > 1)} {listed(again)}; one row for each label is enough"
    )


def _two_labels(table: Table, identifier: str, indices: Sequence[int], labels: Mapping[int, str]) -> str:
    """Message for an id with different labels. Annotators may disagree, so both rows are kept."""
    given = " and ".join(repr(labels[index]) for index in indices)
    return f"{_rows(table, indices)}: the image {identifier!r} has the labels {given}; both rows are kept, in one fold"


def _rows(table: Table, indices: Sequence[int]) -> str:
    return f"{table.path.name} rows {' and '.join(str(table.numbers[index]) for index in indices)}"


def _shared_files(rows: Iterable[TrainingRow]) -> list[str]:
    """Messages for image files that two different ids lead to."""
    owners: dict[str, TrainingRow] = {}
    problems = []
    for row in rows:
        owner = owners.setdefault(row.path, row)
        if owner.id != row.id:
            problems.append(f"{row.row}: {row.path} is the image of the id {owner.id!r} already ({owner.row})")
    return problems


def _nothing_found(
    table: Table, names: Sequence[str], columns: Columns, files: ImageFiles, *, listed_rows: int
) -> list[str]:
    """One message for a table that names no image file of the folder."""
    if not listed_rows:
        return [f"{table.path.name} lists no images"]
    where = f"{len(files.paths)} image files" if files.paths else f"no image files ({' '.join(IMAGE_SUFFIXES)})"
    links = f" and {files.linked_folders[0]}, a link to a folder, which is not followed" if files.linked_folders else ""
    return [
        f"{table.path.name}: no value of the column {names[columns.image]!r} names an image (the last value is "
        f"{table.rows[-1][columns.image]!r}); the folder holds {where}{links}. Put the images into train/, "
        "train_images/ or images/; if another column holds the ids, choose it with --set data.id_column=NAME"
    ]
