"""Tables further down that contradict the table of labels, as a copy in ``backup/`` or ``old/`` does."""

from __future__ import annotations

from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.readers.tables.choice.label_search import LabelSearch
from trainer.data.readers.tables.choice.sort_tables import names_images
from trainer.data.readers.tables.find_tables import deeper_tables, is_named_training
from trainer.data.readers.tables.training_table import TrainingTable


def warn_of_deeper_labels(search: LabelSearch, chosen: TrainingTable) -> None:
    """Warn of tables below the folder of ``chosen`` whose names are those of labels, and which give images others.

    A table of other labels, as numbers instead of names, contradicts nothing.
    """
    if chosen.unclear is not None or not is_named_training(chosen.table.path):
        return
    own, known = chosen.labels, set(chosen.labels.values())
    for path in deeper_tables(search.folder, search.options.encoding):
        if path == chosen.table.path or path.parent == chosen.table.path.parent or not is_named_training(path):
            continue
        theirs = _labels_of(search, path)
        differing = sorted(name for name in own.keys() & theirs.keys() if theirs[name] != own[name])
        if known & set(theirs.values()) and differing:
            name, place = differing[0], search.place_of(path)
            search.warnings.append(
                f"not read: {place}, which gives {len(differing)} of {len(own)} images another label than "
                f"{search.place_of(chosen.table.path)}, such as {theirs[name]!r} instead of {own[name]!r} for {name}; "
                f"--table {place} chooses it"
            )


def _labels_of(search: LabelSearch, path: Path) -> dict[str, str]:
    """The label of each image file that a table names; empty if it names none, or cannot be read as labels."""
    try:
        if not names_images(path, search.matcher, search.options.encoding):
            return {}
        candidate = search.candidate(search.read(path))
        return {} if candidate.unclear is not None else dict(candidate.labels)
    except DataError:  # no table
        return {}
