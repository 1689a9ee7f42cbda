"""Read the rows of a training table: id, label and image file of each, and all errors."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from trainer.common.errors import DataError, listed, rows_named
from trainer.data.readers.base import SkippableProblem
from trainer.data.readers.columns.choose_columns import Columns
from trainer.data.readers.columns.row_labels import labels_of_images, mixed_lists, read_labels
from trainer.data.readers.columns.several_labels import JOINT
from trainer.data.readers.doubts.shifted_numbers import shifted_numbers
from trainer.data.readers.matching.folder_column import folder_column
from trainer.data.readers.matching.image_files import IMAGE_SUFFIXES, ImageFiles
from trainer.data.readers.matching.lookup_errors import ImageAmbiguousError, ImageMissingError
from trainer.data.readers.matching.match_images import ColumnMatch, ImageMatcher
from trainer.data.readers.tables.folder_labels import MISSING
from trainer.formats.delimited import Table
from trainer.formats.labels import SimilarLabels, unify_labels
from trainer.inference.printable import name_problem, printable

SHOWN_IDS = 5  # repeated ids that are named one by one


@dataclass(frozen=True, kw_only=True)
class TrainingRow:
    """One usable row.

    path: the image file, relative to the data folder.
    row: the row's name in messages, such as ``train.csv row 7``.
    group: value of the group column; empty without one.
    """

    id: str
    label: str
    """Several labels are joined by `JOINT`; empty for an image without any."""
    path: str
    row: str
    group: str


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """The usable rows in the table's order, and the problems of the other rows, as in `ReadResult`.

    notes: by which rules ids were matched with files.
    """

    rows: tuple[TrainingRow, ...]
    problems: tuple[str, ...]
    skippable: tuple[SkippableProblem, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


class NoImageNamedError(DataError):
    """A training table that names no image file of the data folder."""


def read_training_rows(
    table: Table,
    first: int,
    names: Sequence[str],
    columns: Columns,
    files: ImageFiles,
    similar: SimilarLabels,
    *,
    whole: bool = True,
) -> TrainingRows:
    """Read the rows from index ``first`` on, and find the image file of each.

    Args:
        names: the column names.
        columns: the columns that hold ids, image names, labels and groups.
        similar: what to do about labels that differ only in spelling.
        whole: whether labels such as 1.0 lose the decimal point, if all are whole numbers.

    Raises:
        NoImageNamedError: no row names an image.
        DataError: no row can be used, or labels differ only in spelling.
    """
    labels, problems, unlabelled, warnings = read_labels(table, first, names, columns)
    several = columns.lists is not None
    if columns.label is not None:
        try:
            labels, merged = _unified(labels, similar, several=several, whole=whole)
        except DataError as error:
            raise DataError([*problems, *error.problems], error.advice) from error
        warnings += merged
    if columns.lists is not None and columns.lists.separator is not None:
        problems += mixed_lists(table, columns.lists.separator, labels)
    if several:
        labels = labels_of_images(table, columns, labels)
    kept, repeated = _drop_repeated(table, columns, labels)
    usable: list[TrainingRow] = []
    unfound: list[SkippableProblem] = []
    labels_of_unfound: set[str] = set()
    ambiguous: dict[str, SkippableProblem] = {}  # the first row of each label that names several images
    all_missing = not repeated
    matcher = ImageMatcher(files, "train")
    match = matcher.match(table.rows[index][columns.image] for index in kept)
    _refuse_names_without_folders(table, first, names, columns, matcher, match)
    for index in kept:
        cells, row = table.rows[index], table.row_name(index)
        identifier = cells[columns.id]
        path = match.paths.get(cells[columns.image])
        if path is None:
            cause = match.errors[cells[columns.image]]
            why = matcher.explained(cells[columns.image], cause) if len(unfound) < SHOWN_IDS else str(cause)
            if cells[columns.image].endswith(MISSING):
                why = f"there is no folder {cells[columns.image]!r} with images"
            unfound.append(SkippableProblem(lost_id=identifier, message=f"{row}: {why}"))
            labels_of_unfound.add(labels[index])
            all_missing &= isinstance(cause, ImageMissingError)
            if isinstance(cause, ImageAmbiguousError):
                ambiguous.setdefault(labels[index], unfound[-1])
            continue
        group = "" if columns.group is None else cells[columns.group].strip()
        usable.append(TrainingRow(id=identifier, label=labels[index], path=path, row=row, group=group))
    skippable = [*repeated, *unfound, *unlabelled]
    if not usable:
        if not problems and skippable and (not all_missing or not unfound):
            problems = [problem.message for problem in skippable]
        if problems:
            raise DataError(problems, files.missing_hint())
        nothing = _nothing_found(table, names, columns, files, matcher, listed_rows=len(unfound))
        raise NoImageNamedError(nothing, files.missing_hint())
    if match.errors:
        ids = [table.rows[index][columns.image] for index in kept]
        if shift := shifted_numbers(ids, match.errors, [row.path for row in usable], files.paths):
            problems.append(f"{table.name}: {shift}")
    found, lost = (
        {name for label in own for name in (label.split(JOINT) if several else [label]) if name or not several}
        for own in ([row.label for row in usable], labels_of_unfound)
    )
    without_image = [
        f"{ambiguous[label].message}. Else the label {label!r} has no image"
        if label in ambiguous
        else f"{table.name}: the label {label!r} has no image; add its images or remove its rows"
        for label in sorted(lost - found)
    ]
    # Without these rows, a class would have no image: they cannot be skipped.
    needed = {ambiguous[label].message for label in lost - found if label in ambiguous}
    skippable = [problem for problem in skippable if problem.message not in needed]
    if unused := [names[column] for column in columns.classes if names[column] not in found | lost]:
        warnings.append(
            f"{table.name}: no image has the label {listed(unused)}: not trained, and always 0 in a submission"
        )
    return TrainingRows(
        rows=tuple(usable),
        problems=(*problems, *without_image, *_shared_files(usable)),
        skippable=tuple(skippable),
        warnings=tuple(warnings),
        notes=match.notes,
    )


def _unified(
    labels: Mapping[int, str], similar: SimilarLabels, *, several: bool, whole: bool
) -> tuple[dict[int, str], list[str]]:
    """The labels in one spelling each, and warnings about those that were merged. Of several labels each by itself.

    Raises:
        DataError: labels differ only in spelling, and ``similar`` does not say what to do.
    """
    each = [label.split(JOINT) if several else [label] for label in labels.values()]
    unified, merged = unify_labels([name for own in each for name in own], similar, whole=whole)
    of_rows = iter(unified)
    joined = {
        index: JOINT.join(dict.fromkeys(next(of_rows) for _ in own)) for index, own in zip(labels, each, strict=True)
    }
    return joined, merged


def _refuse_names_without_folders(
    table: Table, first: int, names: Sequence[str], columns: Columns, matcher: ImageMatcher, match: ColumnMatch
) -> None:
    """Raise a DataError if file names occur in several folders, and another column names the folder."""
    ambiguous = {cell for cell, error in match.errors.items() if isinstance(error, ImageAmbiguousError)}
    found = folder_column(table.rows[first:], columns.image, ambiguous, matcher) if ambiguous else None
    if found is not None:
        column, path = found
        raise DataError(
            f"{table.name}: the columns {names[column]!r} and {names[columns.image]!r} name the images together, "
            f"because {len(ambiguous)} file names occur in several folders. Write both into one column, such as "
            f"{path!r}, and choose it with --id-column NAME (data.id_column)"
        )


def _drop_repeated(
    table: Table, columns: Columns, labels: Mapping[int, str]
) -> tuple[list[int], list[SkippableProblem]]:
    """The first row of each pair of id and label, and problems of repeated rows."""
    by_id: dict[str, list[int]] = defaultdict(list)
    for index in labels:
        by_id[table.rows[index][columns.id]].append(index)
    kept: list[int] = []
    repeated: list[SkippableProblem] = []
    differing = 0
    for identifier, indices in by_id.items():
        first_with = {labels[index]: index for index in reversed(indices)}
        kept += first_with.values()
        if len(first_with) < len(indices):
            repeated.append(SkippableProblem(lost_id=None, message=_given_again(table, identifier, indices, labels)))
        differing += len(first_with) > 1
    if len(repeated) > SHOWN_IDS:
        message = _many_given_again(table, by_id, labels, len(repeated), differing)
        repeated = [SkippableProblem(lost_id=None, message=message)]
    return sorted(kept), repeated


def _given_again(table: Table, identifier: str, indices: Sequence[int], labels: Mapping[int, str]) -> str:
    """Message for an id with the same label in several rows, which a wrong join of tables may cause."""
    again = sorted({labels[index] for index in indices})
    return (
        f"{_rows(table, indices)}: the id {identifier!r} is given {len(indices)} times, with the "
        f"label{'s' * (len(again) > 1)} {listed(again)}; one row for each label is enough"
    )


def _many_given_again(
    table: Table, by_id: Mapping[str, Sequence[int]], labels: Mapping[int, str], count: int, differing: int
) -> str:
    """Message for many ids of `_given_again`: a table of boxes, or a wrong join of tables.

    Args:
        differing: the number of ids with several labels.
    """
    also = f". {differing} ids have several labels, and each would be kept" if differing else ""
    identifier, indices = max(by_id.items(), key=lambda entry: len(entry[1]))
    return (
        f"{table.name}: {count} ids are given several times with the same label, such as {identifier!r} in "
        f"{len(indices)} rows ({_rows(table, indices)}). One row for each label is enough: if the table lists boxes or "
        f"crops, write one row for each image, with its main class{also}"
    )


def _rows(table: Table, indices: Sequence[int]) -> str:
    return rows_named(table.name, [str(table.numbers[index]) for index in indices], unit=table.unit)


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
    table: Table,
    names: Sequence[str],
    columns: Columns,
    files: ImageFiles,
    matcher: ImageMatcher,
    *,
    listed_rows: int,
) -> list[str]:
    """One message for a table that names no image file of the folder."""
    if not listed_rows:
        return [f"{table.name} lists no images"]
    unreadable = next(((path, why) for path in files.paths if (why := name_problem(path)) is not None), None)
    if unreadable is not None:
        return [
            f"{table.name}: no value of the column {names[columns.image]!r} names an image; the name of the file "
            f"{printable(unreadable[0])} {unreadable[1]}"
        ]
    if not files.paths and files.packed_hint():
        return [f"{table.name} names {listed_rows} images, but the folder holds none"]
    where = (
        f"{len(files.paths)} image files, such as {printable(files.paths[0])}"
        if files.paths
        else f"no image files ({' '.join(IMAGE_SUFFIXES)})"
    )
    last = table.rows[-1][columns.image]
    why = ""
    if files.paths and (error := matcher.match([last]).errors.get(last)) is not None:
        why = matcher.explained(last, error).removeprefix(f"there is no image {last!r}")
    begins = re.compile(rf"{re.escape(last.strip())}[\W_]")
    several = [path for path in files.paths if last.strip() and begins.match(PurePosixPath(path).name)]
    if len({PurePosixPath(path).stem for path in several}) > 1:
        return [
            f"{table.name}: no value of the column {names[columns.image]!r} names an image, but the names of "
            f"several begin with one: {listed(several, 3)} with {last.strip()!r}. Write one row for each image, with "
            "its name and its label"
        ]
    links = f" and {files.linked_folders[0]}, a link to a folder, which is not followed" if files.linked_folders else ""
    return [
        f"{table.name}: no value of the column {names[columns.image]!r} names an image (the last value is "
        f"{last!r}{why}); the folder holds {where}{links}. Put the images into train/, "
        "train_images/ or images/; if another column holds the ids, choose it with --id-column NAME (data.id_column)"
    ]
