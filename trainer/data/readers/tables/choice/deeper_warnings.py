"""Tables further down that are not read beside the table of labels: copies in ``backup/``, corrections, parts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from trainer.common.errors import counted
from trainer.data.names.predictions import is_table_of_predictions
from trainer.data.readers.columns.label_names import any_usual_label
from trainer.data.readers.tables.choice.label_search import LabelSearch
from trainer.data.readers.tables.find_tables import is_named_training
from trainer.data.readers.tables.part_tables import part_table
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.delimited import Table


def warn_of_deeper_tables(search: LabelSearch, chosen: TrainingTable, deeper: Sequence[Table]) -> None:
    """Warn of tables below the folder of ``chosen`` that give its images other labels, label others, or divide them.

    A table of other labels, as numbers instead of names, contradicts nothing.

    Args:
        deeper: those that name images, without tables that have another use, or a sentence of their own.
    """
    if chosen.unclear is not None:
        return
    for table in deeper:
        if table.path.parent == chosen.table.path.parent:
            continue
        place, used = search.place_of(table.path), search.place_of(chosen.table.path)
        if part_table(table, search.matcher) is not None:
            why = f", which seems to divide the images into parts; if it should, move it beside {used}"
            search.unread.warn(table.path, why)
        elif problem := _difference(search, chosen, table):
            search.unread.warn(table.path, f", which {problem}; --table {shlex.quote(place)} chooses it")


def _difference(search: LabelSearch, chosen: TrainingTable, table: Table) -> str:
    """What a table of labels says that the chosen one does not, as the end of a sentence; empty: nothing."""
    other = search.candidate(table)
    if other.may_be_predicted() or is_table_of_predictions(table.path.stem):
        return ""
    if other.unclear is not None or not (is_named_training(table.path) or any_usual_label(other.names)):
        return ""
    own, theirs = chosen.labels, other.labels
    if not set(own.values()) & set(theirs.values()):
        return ""
    differing = sorted(name for name in own.keys() & theirs.keys() if theirs[name] != own[name])
    if differing:
        name = differing[0]
        return (
            f"gives {len(differing)} of {len(own)} images another label than {search.place_of(chosen.table.path)}, "
            f"such as {theirs[name]!r} instead of {own[name]!r} for {name}"
        )
    further = len(theirs.keys() - own.keys())
    return f"labels {counted(further, 'further image')}" if further else ""
