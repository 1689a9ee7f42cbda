"""The rows of a training table: id, label and image of each, and everything that is wrong with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trainer.common.errors import DataError, listed
from trainer.data.readers.base import Defect
from trainer.data.readers.columns import Columns
from trainer.data.readers.image_files import ENDINGS, ImageFiles, LookupFailedError
from trainer.formats.delimited import Table
from trainer.formats.labels import is_number, text_problem

SHARE_TOLERANCE = 0.01  # by how much the probabilities of a row may miss 1


@dataclass(frozen=True, kw_only=True)
class TrainRow:
    """One usable row. ``group`` is empty where there is no group column; ``row`` is what messages call it."""

    id: str
    label: str
    path: str
    row: str
    group: str


@dataclass(frozen=True, kw_only=True)
class TrainRows:
    """All usable rows in the table's order, and what was found in the others (see `Reading`)."""

    rows: tuple[TrainRow, ...]
    problems: tuple[str, ...]
    defects: tuple[Defect, ...]
    warnings: tuple[str, ...]


class _BadRowError(ValueError):
    """A cell that cannot be used; the message follows the row's name."""


def read_train_rows(table: Table, first: int, names: Sequence[str], columns: Columns, files: ImageFiles) -> TrainRows:
    """Read the rows from index ``first`` on; ``names`` are the column names.

    Raises:
        DataError: not one row can be used.
    """
    problems: list[str] = []
    defects: list[Defect] = []
    warnings: list[str] = []
    usable: list[TrainRow] = []
    unfound: set[str] = set()
    by_id: dict[str, list[int]] = defaultdict(list)
    labels: dict[int, str] = {}
    for index in range(first, len(table.rows)):
        cells, row = table.rows[index], table.row_name(index)
        try:
            labels[index], tie = _label(cells, names, columns)
            if problem := text_problem(cells[columns.id]):
                raise _BadRowError(f"the id {problem}")
        except _BadRowError as error:
            problems.append(f"{row}: {error}")
            continue
        if tie:
            warnings.append(f"{row}: two classes are equally probable; the first is taken for the label")
        by_id[cells[columns.id]].append(index)
    kept: list[int] = []
    for identifier, indices in by_id.items():
        first_with = {labels[index]: index for index in reversed(indices)}
        kept += first_with.values()
        if len(first_with) < len(indices):
            defects.append(Defect(id=None, why=_given_again(table, identifier, indices, labels)))
        elif len(first_with) > 1:
            warnings.append(_two_labels(table, identifier, indices, labels))
    for index in sorted(kept):
        cells, row, label = table.rows[index], table.row_name(index), labels[index]
        identifier = cells[columns.id]
        try:
            path = files.find(cells[columns.image], "train")
        except LookupFailedError as cause:
            defects.append(Defect(id=identifier, why=f"{row}: {cause}"))
            unfound.add(label)
            continue
        group = "" if columns.group is None else cells[columns.group].strip()
        usable.append(TrainRow(id=identifier, label=label, path=path, row=row, group=group))
    if not usable:
        raise DataError(problems or _nothing_found(table, names, columns, files, defects))
    found = {row.label for row in usable}
    classes = [names[column] for column in columns.classes]
    empty = sorted(unfound - found) + [name for name in classes if name not in found | unfound]
    problems += [f"{table.path.name}: the label {label!r} has no image" for label in empty]
    problems += _shared_files(usable)
    return TrainRows(rows=tuple(usable), problems=tuple(problems), defects=tuple(defects), warnings=tuple(warnings))


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
    if abs(sum(values) - 1) > SHARE_TOLERANCE:
        hot = [names[column] for column, value in zip(columns.classes, values, strict=True) if value == 1]
        what = f"it has the labels {listed(hot)}" if len(hot) > 1 else f"its classes add up to {sum(values):g}"
        raise _BadRowError(f"{what}; each image needs exactly one label, or probabilities that add up to 1")
    best = max(values)
    return names[columns.classes[values.index(best)]], values.count(best) > 1


def _given_again(table: Table, identifier: str, indices: Sequence[int], labels: Mapping[int, str]) -> str:
    """An id with the same label in several rows: tables were joined by mistake, perhaps."""
    again = sorted({labels[index] for index in indices})
    return (
        f"{_rows(table, indices)}: the id {identifier!r} is given {len(indices)} times, with the "
        f"label{'s' * (len(again) > 1)} {listed(again)}; one row for each label is enough"
    )


def _two_labels(table: Table, identifier: str, indices: Sequence[int], labels: Mapping[int, str]) -> str:
    """An id with different labels: a picture that people judged differently. Nobody knows who is right."""
    given = " and ".join(repr(labels[index]) for index in indices)
    return f"{_rows(table, indices)}: the image {identifier!r} has the labels {given}; both rows are kept, in one fold"


def _rows(table: Table, indices: Sequence[int]) -> str:
    return f"{table.path.name} rows {' and '.join(str(table.numbers[index]) for index in indices)}"


def _shared_files(rows: Iterable[TrainRow]) -> list[str]:
    owners: dict[str, TrainRow] = {}
    problems = []
    for row in rows:
        owner = owners.setdefault(row.path, row)
        if owner.id != row.id:
            problems.append(f"{row.row}: {row.path} is the image of the id {owner.id!r} already ({owner.row})")
    return problems


def _nothing_found(
    table: Table, names: Sequence[str], columns: Columns, files: ImageFiles, defects: Sequence[Defect]
) -> list[str]:
    """Why no row is usable: one sentence where every image is merely absent, each row's own cause otherwise."""
    if not defects:
        return [f"{table.path.name} lists no images"]
    if not all("there is no image" in defect.why for defect in defects):
        return [defect.why for defect in defects]
    where = f"{len(files.paths)} image files" if files.paths else f"no image files ({' '.join(ENDINGS)})"
    links = f" and {files.linked_folders[0]}, a link to a folder, which is not followed" if files.linked_folders else ""
    return [
        f"{table.path.name}: no value of the column {names[columns.image]!r} names an image (the first is "
        f"{table.rows[-1][columns.image]!r}); the folder holds {where}{links}. Put the images into train/, "
        "train_images/ or images/; if another column holds the ids, say so with --set data.id_column=NAME"
    ]
