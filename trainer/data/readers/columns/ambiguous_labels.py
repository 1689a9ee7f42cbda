"""Errors for tables in which no column, or several, may hold the labels."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from trainer.common.errors import DataError, listed

_ODD_DELIMITERS = "\uff0c\u3001\uff1b\uff1a\uff5c:^~;|/#&"
"""Characters that separate columns in some tables, but for `read_table` in none, or not in every row."""


class NoLabelColumnError(DataError):
    """A table none of whose columns can hold labels."""


def ambiguous(
    file: str,
    columns: Sequence[str],
    *,
    attributes: bool = False,
    counted: bool = False,
    unread: Sequence[str] = (),
    odd_rows: str = "",
    why: str = "",
) -> DataError:
    """The error for several possible columns of labels.

    Args:
        attributes: whether each holds two values, as yes and no.
        counted: whether they have one name, with a number or a word such as secondary.
        why: a sentence about the columns, with a blank at its end.
        odd_rows: which rows are not one-hot, the end of a sentence.
        unread: the values, if the user asks for several labels and they are not read as yes and no.
    """
    if unread and not counted:
        why += (
            f"Several labels are read from columns of 0 and 1, not of {listed(unread, 4)}: write 1 where an image has "
            "the label, and 0 where it does not. "
        )
    elif counted:
        why += "--several-labels yes (data.several_labels) reads all of them as labels of an image. "
    elif attributes:
        why += (
            f"Each has two values, but they are not one-hot{odd_rows}: if an image may have several of these labels, "
            "add --several-labels yes (data.several_labels). "
        )
    return DataError(
        f"{file}: the label column is ambiguous; it could be {listed(columns)}. {why}Choose one with --label-column "
        "NAME (data.label_column)"
    )


def pair_or_column(file: str, pair: Sequence[str], others: Sequence[str]) -> DataError:
    """The error for two one-hot columns beside other columns that can hold labels."""
    return DataError(
        f"{file}: the labels are ambiguous; they could be the one-hot columns {listed(pair)}, or {listed(others)}. "
        f"Remove {listed(others)} from the table to read the one-hot columns, or choose one with --label-column NAME "
        "(data.label_column)"
    )


def label_for_each_side(file: str, sides: Sequence[str]) -> DataError:
    """The error for a row about two images, such as those of both eyes, that names neither of them."""
    return DataError(
        f"{file}: {listed(sides)} hold a label for each of two images, and no column names these. Write one row for "
        "each image, with the columns image and label"
    )


def other_facts(file: str, name: str, kind: str | None) -> NoLabelColumnError:
    """The error for a table whose only possible column says something else about an image.

    Args:
        kind: what its cells hold (`trainer.data.readers.doubts.metadata_cells`); None: its name says it.
    """
    why = f"which holds {kind}" if kind else "whose name says something else about an image"
    return NoLabelColumnError(
        f"{file}: the only column that could hold labels is {name!r}, {why}. If these are the labels, add "
        f"--label-column {shlex.quote(name)} (data.label_column); else write the labels into a column of this table"
    )


def predicted_labels(file: str, columns: Sequence[str]) -> NoLabelColumnError:
    """The error for a table whose labels would be columns that are called after predictions."""
    if len(columns) > 1:
        return NoLabelColumnError(
            f"{file}: the columns that could hold labels are called after predictions: {listed(columns, 4)}. If they "
            "are the labels, give them the names of the classes; else write the labels into a column of this table"
        )
    name = columns[0]
    return NoLabelColumnError(
        f"{file}: the column that could hold labels is {name!r}, which holds predictions by its name, not labels. If "
        f"these are the labels, add --label-column {shlex.quote(name)} (data.label_column); else write the labels into "
        "a column of this table, such as label"
    )


def no_label_column(file: str, names: Sequence[str]) -> NoLabelColumnError:
    """The error for a table without a possible column."""
    if len(names) == 1 and (mark := next((mark for mark in _ODD_DELIMITERS if mark in names[0]), None)):
        return NoLabelColumnError(
            f"{file}: its delimiter was not recognised, so {names[0]!r} is read as the only column; if {mark!r} "
            "separates the columns, save the table with commas"
        )
    if len(names) == 1:
        return NoLabelColumnError(
            f"{file} has only one column: a table of labels names the images in one column, and their labels in another"
        )
    return NoLabelColumnError(
        f"{file}: no column can hold the labels; the columns are {listed(names)}. A column of labels has at least two "
        "values, and several rows with the same one; --label-column NAME (data.label_column) names it"
    )
