"""Step 3: the training images and their labels, with the doubts about them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from trainer.common.errors import DataError
from trainer.data.readers.columns.measured_numbers import refuse_measured_labels
from trainer.data.readers.columns.several.denied_rows import refuse_all_labels
from trainer.data.readers.columns.several_labels import encode_lists
from trainer.data.readers.doubts.doubtful_labels import doubtful_labels, doubtful_lists, soft_labels
from trainer.data.readers.sample_submission import spelled_as_in
from trainer.data.readers.tables.against_folders import (
    against_folders,
    named_by_folders,
    other_than_folders,
    other_than_names,
)
from trainer.data.readers.tables.choice.folder_levels import folder_levels
from trainer.data.readers.tables.reading.sources import Sources
from trainer.data.readers.tables.reading.training_part import TrainingPart
from trainer.data.readers.tables.reading.training_rows import TrainingRows, read_training_rows
from trainer.evaluation.several_labels import Labels
from trainer.formats.labels import encode


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledRows:
    """The training images and their labels."""

    train: TrainingRows
    """The usable rows; their notes and warnings are among those below."""
    class_names: tuple[str, ...]
    y: Labels
    """As `ImageSet.y`."""
    problems: tuple[str, ...]
    """What forbids the use of the rows, beside what ``train`` may leave out."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    """About whole classes or columns. Those about other sources of the labels come first in the list of all."""
    contradictions: tuple[str, ...]
    """Warnings about names of files and folders that say something else than the labels."""


def read_labelled_rows(sources: Sources, part: TrainingPart) -> LabelledRows:
    """Read the labels of the training images.

    Raises:
        DataError: no row can be used.
    """
    options, sample, where = sources.options, sources.sample, part.table.name
    several = part.lists_labels
    train = read_training_rows(
        part.table,
        part.first,
        part.names,
        part.columns,
        sources.matcher.files,
        options.similar_labels,
        whole=not any("." in value for value in sources.hints.values),
    )
    refuse_all_labels(part.table, part.first, part.names, part.columns, options.several_labels)
    doubts = soft_labels(part.table, part.first, part.columns)
    if part.columns.label is not None and not several:
        given = [row.label for row in train.rows]
        refuse_measured_labels(where, part.names[part.columns.label], given)
        doubts += doubtful_labels(where, given, lists=options.several_labels == "auto", cells=True)
    contradictions = [] if several else other_than_names(train.rows, where)
    train, notes = _named_classes(sources, part, train)
    problems = list(train.problems)
    labels = [row.label for row in train.rows]
    try:
        class_names, y = encode_lists(labels) if several else encode(spelled_as_in(sample, labels))
    except DataError as error:
        # A class may lack images for the first of these reasons.
        reasons = [*problems, *(problem.message for problem in train.skippable)]
        raise type(error)([*reasons[:1], *error.problems, *reasons[1:]]) from error
    if several:
        doubts += doubtful_lists(where, class_names, int(y.sum(axis=1).max()), options.several_labels)
    elif options.table is None and options.layout is None and sources.chosen.of_folders is None:
        paths = {row.path for row in train.rows}
        levels = folder_levels(paths, sources.files.paths, sources.class_folders)
        problems += against_folders(train.rows, levels, sources.files)
        contradictions += other_than_folders(train.rows, levels, sources.files, where)
    return LabelledRows(
        train=train,
        class_names=class_names,
        y=y,
        problems=tuple(problems),
        notes=notes,
        warnings=(*train.warnings, *doubts),
        contradictions=tuple(contradictions),
    )


def _named_classes(sources: Sources, part: TrainingPart, train: TrainingRows) -> tuple[TrainingRows, tuple[str, ...]]:
    """The rows with the names of the class folders for which the labels are numbers, and a note; else as they are."""
    if part.has_header or sources.sample is not None or part.lists_labels:
        return train, ()
    names = named_by_folders(train.rows, sources.class_folders)
    if not names:
        return train, ()
    rows = tuple(dataclasses.replace(row, label=names[row.label]) for row in train.rows)
    number = next(iter(names))
    note = (
        f"the numbers in {part.table.name} stand for the folders, such as {number} for {names[number]!r}; "
        "--layout table keeps the numbers"
    )
    return dataclasses.replace(train, rows=rows), (note,)
