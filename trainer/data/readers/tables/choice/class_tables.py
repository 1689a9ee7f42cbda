"""Tell tables that list the classes from tables that label images."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.data.names.parts import split_of
from trainer.data.readers.tables.choice.best_table import found_images
from trainer.data.readers.tables.choice.label_search import LabelSearch
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.class_lists import lists_values


def without_class_lists(
    search: LabelSearch, candidates: Sequence[TrainingTable], naming: Sequence[TrainingTable]
) -> list[TrainingTable]:
    """The candidates that do not list the classes of a longer table of labels. A class number may name an image."""
    kept = []
    for candidate in candidates:
        labelled = next((table for table in naming if _lists_classes_of(candidate, table)), None)
        if labelled is None:
            kept.append(candidate)
        else:
            place = search.place_of(labelled.table.path)
            search.unread.leave_out(candidate.table.path, f", which lists the classes of {place}")
    return kept


def _lists_classes_of(candidate: TrainingTable, table: TrainingTable) -> bool:
    rows, longer = candidate.table.rows[candidate.first :], table.table.rows[table.first :]
    if len(rows) >= len(longer) or not found_images(table):
        return False
    most_unused = 1.0
    if candidate.unclear is None and candidate.columns.label is not None:
        most_unused = float("inf")
        if len({row[candidate.columns.label] for row in rows}) < len(rows):  # several images of a class
            return False
        if candidate.names_files() and _contradicts(candidate, table):  # a correction of one image of each class
            return False
    elif split_of(candidate.table.path.stem) == "train":
        return False
    if table.unclear is None and table.columns.label is None:
        return lists_values(rows, [table.names[column] for column in table.columns.classes], most_unused)
    columns = range(len(table.names)) if table.unclear else [table.columns.label or 0]
    values = [{row[column] for row in longer} for column in columns]
    return any(len(known) < len(longer) and lists_values(rows, known, most_unused) for known in values)


def _contradicts(one: TrainingTable, other: TrainingTable) -> bool:
    """Whether two tables label an image with different classes of the second one."""
    if other.unclear is not None:
        return False
    known = set(other.labels.values())
    return any(label in known and other.labels.get(path, label) != label for path, label in one.labels.items())
