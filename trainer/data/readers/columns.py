"""Which column of a training table holds the ids, the image names, the labels and the groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainer.common.errors import DataError, listed
from trainer.data.image_set import DataOptions
from trainer.formats.delimited import Table
from trainer.formats.labels import is_number

PROBED_ROWS = 200  # rows by which it is judged whether a column names images
LABEL_NAMES = (
    "label", "labels", "class", "class_name", "label_name", "class_id", "label_id", "category", "category_id",
    "target", "y", "species", "diagnosis",
)  # fmt: skip
"""What label columns are called, the surest first."""
ID_NAMES = ("id", "image_id", "image", "img", "filename", "file_name", "file", "name", "path", "image_name")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Positions of columns. Either ``label`` is given, or ``classes`` are the one-hot or probability columns."""

    id: int
    image: int
    label: int | None
    classes: tuple[int, ...]
    group: int | None


def has_header(table: Table, names_image: Callable[[str], bool]) -> bool:
    """Whether the first row is a header: it is not where one of its cells names an image."""
    return not any(names_image(cell) for cell in table.rows[0])


def column_names(table: Table, header: bool) -> tuple[str, ...]:
    """The header's cells, or ``1``, ``2``, ... for a table without one."""
    return tuple(cell.strip() for cell in table.rows[0]) if header else tuple(map(str, range(1, table.width + 1)))


def choose_columns(
    table: Table,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    options: DataOptions,
    names_image: Callable[[str], bool],
    sample_columns: Sequence[str],
) -> Columns:
    """Choose by what a person said, then by the sample's header, then by what the cells hold, then by usual names.

    ``rows`` are the rows below the header; ``sample_columns`` the sample's header, empty where it has none.

    Raises:
        DataError: no column, or several, could be the one; the message lists them and names the option that decides.
    """
    file = table.path.name
    if len(set(names)) != len(names):
        raise DataError(f"{file} has two columns of the same name: {listed(names)}")

    def position(name: str, option: str) -> int:
        if name not in names:
            raise DataError(f"{file} has no column {name!r} (data.{option}); it has {listed(names)}")
        return list(names).index(name)

    probed = rows[:PROBED_ROWS]
    # Distinct images: a label column of 0 and 1 also "names" 0.png and 1.png, again and again.
    found = [sum(map(names_image, {row[column] for row in probed})) for column in range(len(names))]
    best = max(range(len(names)), key=lambda column: found[column])
    if options.id_column is not None:
        id_position = position(options.id_column, "id_column")
    elif shared := [name for name in sample_columns[:1] if name in names]:
        id_position = list(names).index(shared[0])
    elif found[best]:
        id_position = best
    else:
        usual = [column for column, name in enumerate(names) if name.lower() in ID_NAMES]
        id_position = usual[0] if usual else 0
    image = id_position if found[id_position] or not found[best] else best
    group = None if options.group_column is None else position(options.group_column, "group_column")
    taken = {id_position, image, group}
    free = [column for column in range(len(names)) if column not in taken]
    if options.label_column is not None:
        return Columns(
            id=id_position, image=image, label=position(options.label_column, "label_column"), classes=(), group=group
        )
    label, classes = _labels(file, names, rows, free, sample_columns[1:] if sample_columns else ())
    return Columns(id=id_position, image=image, label=label, classes=classes, group=group)


def _labels(
    file: str, names: Sequence[str], rows: Sequence[Sequence[str]], free: Sequence[int], predicted: Sequence[str]
) -> tuple[int | None, tuple[int, ...]]:
    by_name = {names[column]: column for column in free}
    if len(predicted) == 1 and predicted[0] in by_name:
        return by_name[predicted[0]], ()
    if len(predicted) > 1:
        if all(name in by_name for name in predicted):
            return None, tuple(sorted(by_name[name] for name in predicted))
        # The sample's columns are classes: the label column is the one that holds their names.
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
        f"{file}: which column holds the label? It has {listed(names)}. Say so with --set data.label_column=NAME"
    )


def _are_shares(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> bool:
    """Whether these columns are one-hot or probabilities: numbers 0..1 that add up to 1 in every probed row."""
    for row in rows[:PROBED_ROWS]:
        cells = [row[column].strip() for column in columns]
        if not all(is_number(cell) and 0 <= float(cell) <= 1 for cell in cells):
            return False
        if abs(sum(map(float, cells)) - 1) > 0.01:
            return False
    return bool(rows)
