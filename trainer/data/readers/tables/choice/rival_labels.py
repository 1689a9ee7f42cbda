"""Refuse a table of another question, such as ``train_metadata.csv`` with the sex, beside one called after labels."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.names.words import words_in
from trainer.data.readers.tables.choice.label_search import LabelSearch
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.delimited import Table

_LABEL_WORDS = re.compile(
    r"labels?|gt|ground_?truth|annotations?|targets?|diagnos[ei]s|class(?:es)?|species|categor(?:y|ies)|answers?"
)


def refuse_rival_labels(
    search: LabelSearch, chosen: TrainingTable, others: Sequence[TrainingTable], deeper: Sequence[Table]
) -> None:
    """Refuse the chosen table if neither it nor its column is called after labels, and another one is.

    The columns of the chosen one may be unclear.

    Args:
        others: further tables that name images.
        deeper: tables further down that name images.

    Raises:
        DataError: there is such a table, which labels the same images otherwise.
    """
    options = search.options
    given = options.table is not None or options.label_column is not None
    if given or _says_labels(search, chosen) or (chosen.unclear is None and chosen.columns.classes):
        return
    for other in (*others, *map(search.candidate, deeper)):
        if other is not chosen and other.unclear is None and _is_rival(search, chosen, other):
            own, theirs = (search.place_of(table.table.path) for table in (chosen, other))
            if chosen.unclear is None:
                has = f"labels the images only by its column {chosen.names[chosen.columns.label or 0]!r}"
            else:
                has = "has no clear column of labels"
            raise DataError(
                f"{own} {has}, and {theirs} may hold the labels by its name. Choose with --table {shlex.quote(theirs)} "
                f"or --table {shlex.quote(own)} (data.table)"
            )


def _is_rival(search: LabelSearch, chosen: TrainingTable, other: TrainingTable) -> bool:
    if not _says_labels(search, other):
        return False
    if chosen.unclear is not None:
        return len(set(other.labels.values())) > 1
    both = chosen.labels.keys() & other.labels.keys()
    return (
        2 * len(both) > len(chosen.labels)
        and len(set(other.labels.values())) > 1
        and any(chosen.labels[image] != other.labels[image] for image in both)
    )


def _says_labels(search: LabelSearch, table: TrainingTable) -> bool:
    """Whether a column, the table or its folder is called after labels."""
    place = Path(search.place_of(table.table.path))
    words = [words_in(name) for name in (*place.parts[:-1], place.stem)]
    joined = ["_".join(pair) for own in words for pair in pairwise(own)]
    return table.owns_labels() or any(map(_LABEL_WORDS.fullmatch, [*(word for own in words for word in own), *joined]))
