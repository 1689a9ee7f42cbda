"""Refuse to train beside a list of corrected labels that is not read: ``fixes.csv``, ``mislabeled.txt``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, counted
from trainer.data.names.words import words_in
from trainer.data.readers.columns.label_names import plain_name
from trainer.data.readers.doubts.folders.folder_choice import below_tables, folders_choice
from trainer.data.readers.tables.choice.label_search import LabelSearch
from trainer.data.readers.tables.reading.table_files import first_rows, is_table
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.delimited import Table
from trainer.inference.printable import printable

_SAYS_WRONG = re.compile(
    r"mis_?label(?:l?ed|l?ings?|s)?|(?:wrong|incorrect|bad|noisy)_(?:ly_)?(?:labels?|label+ed|class(?:es)?)"
    r"|labels?_?(?:errors?|fix(?:es)?|corrections?|fixed|corrected)|(?:fixed|corrected)_labels?|re_?label(?:l?ed|l?ings?|s)?"
)
"""Words in the name of a list whose images have wrong labels elsewhere."""
_CORRECTS = re.compile(r"fix(?:es)?|correct(?:ed|ions?)|korrekturen?")
"""Words that say so alone: ``color_corrected.txt`` lists changed images."""
_PAIRS = (
    *(("old", "new"), ("from", "to"), ("before", "after"), ("wrong", "right"), ("wrong", "correct")),
    *(("wrong", "corrected"), ("incorrect", "correct"), ("original", "corrected"), ("alt", "neu")),
)
"""Names of two columns of which the second one corrects the first, without a word for labels at their ends."""
_OF_LABELS = re.compile(r"_(?:labels?|class(?:es)?|name|categor(?:y|ies)|value)$|^(?:labels?|class)_")


def refuse_corrections(
    search: LabelSearch, chosen: TrainingTable | None, naming: Sequence[TrainingTable], paths: Iterable[Path]
) -> None:
    """Refuse to train on labels that a list beside them corrects.

    Args:
        chosen: the table of the labels; None: the class folders give them.
        naming: all tables that name images.
        paths: further files that may be lists.

    Raises:
        DataError: there is such a list of images.
    """
    if chosen is None and not _has_classes(search):
        return
    given = None if chosen is None else chosen.table.path
    others = [table for table in naming if table.table.path != given]
    known = {*search.class_folders, *({} if chosen is None or chosen.unclear else chosen.labels).values()}
    for path in sorted({*paths, *(table.table.path for table in naming)}):
        if not is_table(path) or not _may_correct(path, search.options.encoding):
            continue
        if path == given and not _is_small_beside(search, chosen, others):
            continue
        if any(other.table.path == path and _labels_most(other, chosen) for other in others):
            continue  # it was compared with the chosen one
        try:
            table = search.read(path)
        except DataError:  # no table
            continue
        images = _images(search, table)
        if _pair(table.rows[0]) is None and _is_done(search.candidate(table), chosen):
            continue
        if images and (_says_wrong(path) or _renames(table, known)):
            raise _refused(search, path, images, None if path == given else given)


def _refused(search: LabelSearch, path: Path, images: Sequence[str], labels: Path | None) -> DataError:
    place = printable(search.place_of(path))
    if labels is None:
        right = "Move the images into the right class folders"
        otherwise = f"If the folders are right as they are, {folders_choice(search.folder, search.files)}"
    else:
        table = search.place_of(labels)
        right = f"Write the right labels into {printable(table)}"
        otherwise = f"To train on its labels as they are, add --table {shlex.quote(table)} (data.table)"
    return DataError(
        f"{place} seems to correct the labels of {counted(len(images), 'image')}, such as {printable(images[0])}, and "
        f"is not read. {right}, and move {place} out of the data folder",
        otherwise,
    )


def _is_small_beside(search: LabelSearch, chosen: TrainingTable | None, others: Sequence[TrainingTable]) -> bool:
    """Whether the chosen table labels few images, while class folders, or another table, label more of them."""
    if chosen is None or chosen.unclear is not None:
        return _has_classes(search)
    labelled = len(chosen.labels)
    more = [other for other in others if other.unclear is None and len(other.labels) > 2 * labelled]
    return bool(more) or (2 * labelled < len(search.files.paths) and bool(search.classes_around(chosen.labels)))


def _has_classes(search: LabelSearch) -> bool:
    """Whether class folders may give the labels, also those in a wrapper, which are read below tables."""
    return bool(search.class_folders) or below_tables(search.folder, search.files) is not None


def _is_done(other: TrainingTable, chosen: TrainingTable | None) -> bool:
    """Whether all labels of a table are those that the images have."""
    if other.unclear is not None or not other.labels:
        return False
    if chosen is None or chosen.table.path == other.table.path:
        return all(PurePosixPath(path).parent.name == label for path, label in other.labels.items())
    return chosen.unclear is None and other.labels.items() <= chosen.labels.items()


def _labels_most(other: TrainingTable, chosen: TrainingTable | None) -> bool:
    if chosen is None or chosen.unclear is not None or other.unclear is not None:
        return False
    return 2 * len(other.labels) > len(chosen.labels)


def _may_correct(path: Path, encoding: str | None) -> bool:
    """Whether a list does so by its name, or a table by its header; there may be a text file for each image."""
    return _says_wrong(path) or (path.suffix.lower() != ".txt" and _pair(_header(path, encoding)) is not None)


def _says_wrong(path: Path) -> bool:
    words = words_in(path.stem)
    joined = ["_".join(words[start:end]) for end in range(1, len(words) + 1) for start in range(end)]
    return any(map(_SAYS_WRONG.fullmatch, joined)) or (len(words) == 1 and _CORRECTS.fullmatch(words[0]) is not None)


def _header(path: Path, encoding: str | None) -> Sequence[str]:
    try:
        return next(iter(first_rows(path, 1, encoding=encoding)), [])
    except DataError:
        return []


def _pair(names: Sequence[str]) -> tuple[int, int] | None:
    """The columns of the old and the new labels by their names; None without such a pair."""
    plain = [_OF_LABELS.sub("", plain_name(name)) for name in names]
    return next(((plain.index(old), plain.index(new)) for old, new in _PAIRS if old in plain and new in plain), None)


def _renames(table: Table, known: Collection[str]) -> bool:
    """Whether a table's pair of columns holds labels."""
    pair = _pair(table.rows[0])
    return pair is not None and any(row[column].strip() in known for row in table.rows[1:] for column in pair)


def _images(search: LabelSearch, table: Table) -> Sequence[str]:
    """The images of the column of a table that names most, if most of its cells name one."""
    columns: list[tuple[str, ...]] = []
    for column in range(table.width):
        cells = [row[column] for row in table.rows if row[column].strip()]
        found = {*search.matcher.match(cells).paths.values()}
        columns.append(tuple(sorted(found)) if 2 * len(found) > len(cells) else ())
    return max(columns, key=lambda found: len(found), default=())
