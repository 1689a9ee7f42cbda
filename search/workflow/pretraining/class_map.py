"""The table of ``--classes``: which coarser class each class of a folder belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer.common.errors import DataError, listed, suggest
from trainer.formats.delimited import read_table
from trainer.formats.labels import spelled_as_among, text_problem, unify_labels

COLUMNS = ("class", "folder", "label")
"""Names of the first column in a header."""
COARSE_COLUMNS = ("coarse", "coarse_class", "group", "new", "to")
"""Names of the second column in a header."""


def read_class_map(path: Path) -> dict[str, str]:
    """Read a table of two columns: a class as the folder of images spells it, and its coarser class or nothing.

    An empty second cell leaves the class out. A first row that names the columns is skipped.

    Raises:
        DataError: the table cannot be read, has not two columns, gives a class twice or no name, spells a coarser class
            in two ways, or leaves fewer than two. Every mistake is named.
    """
    table = read_table(path)
    if table.width != 2:
        raise DataError(f"{path.name} has {table.width} columns; a class map has two: class, coarse class")
    first = 1 if _is_header(table.rows[0]) else 0
    problems = []
    found: dict[str, str] = {}
    for row in range(first, len(table.rows)):
        name, coarse = (cell.strip() for cell in table.rows[row])
        if not name:
            problems.append(f"{table.row_name(row)} names no class")
        elif name in found:
            problems.append(f"{table.row_name(row)} gives the class {name!r} again")
        elif coarse and (problem := text_problem(coarse)):
            problems.append(f"{table.row_name(row)}: the coarse class {problem}")
        else:
            found[name] = coarse
    coarser = sorted(set(found.values()) - {""})
    try:
        unify_labels(coarser, "ask")
    except DataError as error:
        problems += [f"{path.name}: coarse {problem}: write one of them" for problem in error.problems]
    if not problems and len(coarser) < 2:
        count = f"{len(coarser)} coarse class{'es' * (len(coarser) != 1)}"
        problems.append(f"{path.name} has {count} ({listed(coarser) or 'none'}); 2 are needed")
    if problems:
        raise DataError(problems)
    return found


def check_class_map(path: Path, found: Mapping[str, str], class_names: Sequence[str]) -> dict[str, str]:
    """Check that a class map has every class of the images and no other. Return it with the images' Unicode form.

    Raises:
        DataError: naming every class that is missing or unknown.
    """
    spelled = spelled_as_among(class_names)
    found = {name if spelled(name) in found else spelled(name): coarse for name, coarse in found.items()}
    problems = [
        f"{path.name}: the images have no class {name!r}{suggest(name, class_names)}"
        for name in found
        if name not in class_names
    ]
    missing = [name for name in class_names if name not in found]
    if missing:
        problems.append(
            f"{path.name} lacks {len(missing)} of the {len(class_names)} classes: {listed(missing)} "
            "(an empty coarse class leaves a class out)"
        )
    if problems:
        raise DataError(problems)
    return found


def _is_header(row: Sequence[str]) -> bool:
    names = [cell.strip().lower().replace(" ", "_") for cell in row]
    return names[0] in COLUMNS and names[1] in COARSE_COLUMNS
