"""Choose the columns of a training table that hold ids, image names, labels and groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainer.common.errors import DataError, listed
from trainer.data.image_set import DataOptions
from trainer.formats.delimited import Table
from trainer.formats.labels import is_number

PROBED_ROWS = 200  # rows read to decide what a column holds
LABEL_NAMES = (
    "label", "labels", "class", "class_name", "label_name", "class_id", "label_id", "category", "category_id",
    "target", "y", "species", "diagnosis",
)  # fmt: skip
"""Usual names of label columns, in order of preference."""
ID_NAMES = ("id", "image_id", "image", "img", "filename", "file_name", "file", "name", "path", "image_name")
"""Usual names of id columns."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Positions of the columns, from 0.

    Either ``label`` is the column of labels, or ``label`` is None and ``classes`` are one-hot or probability columns,
    one per class. ``image`` may equal ``id``. ``group`` is None without a group column.
    """

    id: int
    image: int
    label: int | None
    classes: tuple[int, ...]
    group: int | None


def has_header(table: Table, names_image: Callable[[str], bool]) -> bool:
    """Whether the first row is a header, that is, none of its cells names an image."""
    return not any(names_image(cell) for cell in table.rows[0])


def column_names(table: Table, header: bool) -> tuple[str, ...]:
    """The header's cells, or ``1``, ``2``, ... for a table without a header."""
    return tuple(cell.strip() for cell in table.rows[0]) if header else tuple(map(str, range(1, table.width + 1)))


def choose_columns(
    table: Table,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    options: DataOptions,
    names_image: Callable[[str], bool],
    sample_columns: Sequence[str],
) -> Columns:
    """Choose the columns by the user's options, else the sample's header, else the cells, else usual column names.

    Args:
        table: the training table.
        names: its column names.
        rows: its rows below the header.
        options: column names that the user gave.
        names_image: whether a cell names a training image.
        sample_columns: header of the sample submission; empty where it has none.

    Raises:
        DataError: two columns have the same name, an option names no column, or the label column is ambiguous. The
            message lists the columns and names the option that decides.
    """
    file = table.path.name
    if len(set(names)) != len(names):
        raise DataError(f"{file} has two columns with the same name: {listed(names)}")

    def position(name: str, option: str) -> int:
        if name not in names:
            raise DataError(f"{file} has no column {name!r} (data.{option}); it has {listed(names)}")
        return list(names).index(name)

    probed = rows[:PROBED_ROWS]
    # Count distinct images: a label column of 0 and 1 may name 0.png and 1.png too, but only these two.
    n_images = [sum(map(names_image, {row[column] for row in probed})) for column in range(len(names))]
    best = max(range(len(names)), key=lambda column: n_images[column])
    if options.id_column is not None:
        id_position = position(options.id_column, "id_column")
    elif sample_columns and sample_columns[0] in names:
        id_position = list(names).index(sample_columns[0])
    elif n_images[best]:
        id_position = best
    else:
        id_position = next((column for column, name in enumerate(names) if name.lower() in ID_NAMES), 0)
    image = id_position if n_images[id_position] or not n_images[best] else best
    group = None if options.group_column is None else position(options.group_column, "group_column")
    label: int | None
    classes: tuple[int, ...]
    if options.label_column is not None:
        label, classes = position(options.label_column, "label_column"), ()
    else:
        free = [column for column in range(len(names)) if column not in {id_position, image, group}]
        label, classes = _labels(file, names, rows, free, sample_columns[1:])
    return Columns(id=id_position, image=image, label=label, classes=classes, group=group)


def _labels(
    file: str, names: Sequence[str], rows: Sequence[Sequence[str]], free: Sequence[int], predicted: Sequence[str]
) -> tuple[int | None, tuple[int, ...]]:
    """The label column, or None and the class columns, out of the columns ``free``.

    ``predicted`` are the sample submission's prediction columns; empty where it has no header.
    """
    by_name = {names[column]: column for column in free}
    if len(predicted) == 1 and predicted[0] in by_name:
        return by_name[predicted[0]], ()
    if len(predicted) > 1:
        if all(name in by_name for name in predicted):
            return None, tuple(sorted(by_name[name] for name in predicted))
        # The sample has one column per class: the label column holds exactly these class names.
        holding = [column for column in free if {row[column].strip() for row in rows} == set(predicted)]
        if len(holding) == 1:
            return holding[0], ()
    if len(free) == 1:
        return free[0], ()
    usual = [column for name in LABEL_NAMES for column in free if names[column].lower() == name]
    if usual:
        return usual[0], ()
    if len(free) > 1 and _are_shares(rows, free):
        return None, tuple(free)
    raise DataError(
        f"{file}: the label column is ambiguous; the columns are {listed(names)}. Choose one with "
        "--set data.label_column=NAME"
    )


def _are_shares(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> bool:
    """Whether the columns are one-hot or probabilities: numbers in 0..1 that add up to 1 in every probed row."""
    for row in rows[:PROBED_ROWS]:
        cells = [row[column].strip() for column in columns]
        if not all(is_number(cell) and 0 <= float(cell) <= 1 for cell in cells):
            return False
        if abs(sum(map(float, cells)) - 1) > 0.01:
            return False
    return bool(rows)
