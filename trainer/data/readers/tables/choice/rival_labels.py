"""Refuse a table of another question, such as ``train_metadata.csv`` with the sex, beside one called after labels."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError
from trainer.data.names.words import words_in
from trainer.data.readers.columns.label_names import may_be_label
from trainer.data.readers.doubts.other_tables import bare_tables, how_to_save, may_give_labels, other_tables
from trainer.data.readers.parts.json_names import names_nothing
from trainer.data.readers.tables.choice.label_search import LabelSearch
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.delimited import Table
from trainer.inference.printable import printable

_LABEL_WORDS = re.compile(
    r"labels?|gt|ground_?truth|annotations?|targets?|diagnos[ei]s|class(?:es)?|species|categor(?:y|ies)|answers?"
)

_FEW = 3
"""Most files of labels in one folder: more of them describe an image each."""


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


def refuse_unread_labels(search: LabelSearch, chosen: TrainingTable) -> None:
    """Refuse a table of which nothing says that it holds labels, where a file of another kind may hold them.

    As ``photos.csv`` with the light, above ``annotations.xlsx``.

    Raises:
        DataError: there is such a file, in a folder of the images or above.
    """
    options, columns = search.options, chosen.columns
    if options.table is not None or options.label_column is not None or columns.label is None:
        return
    name = chosen.names[columns.label]
    if may_be_label(name) or chosen.claims_labels() or _says_labels(search, chosen):
        return
    folders = {folder for path in chosen.labels for folder in PurePosixPath(path).parents}
    stems = {PurePosixPath(path).stem for path in search.files.paths}
    for folder in sorted(folders):
        place = search.folder / folder
        found = [path for path in (*other_tables(place), *bare_tables(place)) if may_give_labels(path)]
        found = [path for path in found if path.stem not in stems and not names_nothing(path, search.files.paths)]
        if found and len(found) <= _FEW:
            unread, where = search.place_of(found[0]), search.place_of(chosen.table.path)
            raise DataError(
                f"the labels may be the column {name!r} of {where}, or in {printable(unread)}, which is not read: "
                f"{how_to_save(found[0])}. If the column holds the labels, add --label-column {shlex.quote(name)} "
                "(data.label_column)"
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
