"""Choose the best one of several tables that may label the training images."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from trainer.common.errors import DataError, counted, listed
from trainer.data.readers.columns.ambiguous_labels import NoLabelColumnError
from trainer.data.readers.columns.choose_columns import NoSuchColumnError
from trainer.data.readers.columns.label_names import any_usual_label, may_be_label
from trainer.data.readers.doubts.folders.folder_choice import folders_choice
from trainer.data.readers.doubts.groups.groups_beside import groups_beside
from trainer.data.readers.tables.choice.folder_levels import FolderLevel, rival_level
from trainer.data.readers.tables.choice.label_search import LabelSearch
from trainer.data.readers.tables.find_tables import claim_level, is_named_training
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.class_lists import odd_rows


def best_table(search: LabelSearch, naming: Sequence[TrainingTable]) -> TrainingTable | None:
    """The table of labels among the tables that name images; None if none has a column of labels."""
    images_named, naming = naming, _with_label_columns(search, naming)
    if not naming:
        return None
    clear = [candidate for candidate in naming if candidate.unclear is None]
    for candidate in list(naming):
        if candidate.unclear is not None and (whole := next(filter(candidate.is_excerpt_of, clear), None)):
            search.unread.leave_out(candidate.table.path, f", an excerpt of {whole.table.path.name}")
            naming = [other for other in naming if other is not candidate]
    sure = any(candidate.claims_labels() or candidate.columns.classes for candidate in clear)
    if not clear or (len(clear) < len(naming) and not sure):
        return _only_one(search, naming)
    weaker = min(claim_level(candidate.table.path) for candidate in clear)
    for candidate in naming:
        if candidate.unclear is not None and claim_level(candidate.table.path) < weaker:
            raise candidate.unclear
    claims = {candidate: (not candidate.is_asked(), claim_level(candidate.table.path)) for candidate in clear}
    first = [candidate for candidate in clear if claims[candidate] == min(claims.values())]
    chosen = first[0] if len(naming) == 1 else max(first, key=lambda candidate: len(candidate.labels))
    for other in naming:
        if other is chosen:
            continue
        where = search.place_of(other.table.path)
        if other.unclear is not None:
            search.unread.leave_out(other.table.path, ", which names images but has no clear column of labels")
            continue
        _compare(search, chosen, other, equal=other in first)
        further = len(other.labels.keys() - chosen.labels.keys())
        if further:
            search.unread.warn(
                other.table.path,
                f", which labels {counted(further, 'further image')}; --table {shlex.quote(where)} chooses it",
            )
        else:
            search.unread.leave_out(other.table.path, "")
    _warn_of_groups(search, chosen, images_named)
    return chosen


def _warn_of_groups(search: LabelSearch, chosen: TrainingTable, naming: Sequence[TrainingTable]) -> None:
    """Warn of other tables that may say which images belong together, if the chosen one does not."""
    if chosen.columns.group is not None:
        return
    of_images = (chosen.columns.id, chosen.columns.image)
    columns = [name for index, name in enumerate(chosen.names) if index not in of_images]
    for other in naming:
        if other is not chosen and not set(other.names) & set(columns):
            place, used = search.place_of(other.table.path), search.place_of(chosen.table.path)
            rows = other.table.rows[other.first :]
            search.warnings.extend(groups_beside(place, other.names, rows, search.matcher, chosen.labels, used))


def _with_label_columns(search: LabelSearch, naming: Sequence[TrainingTable]) -> Sequence[TrainingTable]:
    """The tables that have a column of labels, or have to have one."""
    lacking = [candidate for candidate in naming if isinstance(candidate.unclear, NoSuchColumnError)]
    if len(lacking) < len(naming):
        search.notes.extend(f"not read: {candidate.unclear}" for candidate in lacking)
        naming = [candidate for candidate in naming if candidate not in lacking]
    for candidate in list(naming):
        path = candidate.table.path
        claims = is_named_training(path) and any_usual_label(candidate.names)
        optional = (search.class_folders and not claims) or path.suffix.lower() == ".txt" or len(naming) > 1
        if optional and isinstance(candidate.unclear, NoLabelColumnError):
            search.unread.leave_out(path, ", which has no column of labels")
            naming = [other for other in naming if other is not candidate]
    return naming


def _only_one(search: LabelSearch, naming: Sequence[TrainingTable]) -> TrainingTable:
    """The only table, whose reader reports what is unclear about it.

    Raises:
        DataError: there are several tables, or the class folders may give the labels.
    """
    class_folders, unclear = search.class_folders, naming[0].unclear
    if len(naming) == 1 and (not class_folders or is_named_training(naming[0].table.path)):
        if not class_folders or unclear is None or isinstance(unclear, NoSuchColumnError):
            return naming[0]
        choice = folders_choice(search.folder, search.files)
        raise DataError(unclear.problems, f"If the folders {listed(class_folders, 4)} are the classes, {choice}")
    reasons = [problem for candidate in naming if candidate.unclear for problem in candidate.unclear.problems]
    folders = f"the folders {listed(class_folders, 4)} may be the classes; " * bool(class_folders)
    tables = listed(search.place_of(candidate.table.path) for candidate in naming)
    choices = f"--table NAME (of {tables}) with --label-column NAME"
    if class_folders:
        choices += f"; if the folders are the classes, {folders_choice(search.folder, search.files)}"
    raise DataError(reasons, f"Several sources could give the labels: {folders}choose with {choices}")


def refuse_lost_labels(search: LabelSearch, chosen: TrainingTable, lost: Sequence[TrainingTable]) -> None:
    """Refuse a table without a column of a usual name, while another one labels ids that name no image.

    Args:
        lost: tables that name no image.

    Raises:
        DataError: one of them has labels for several ids.
    """
    if chosen.owns_labels():
        return
    for candidate in lost:
        if candidate.owns_labels() and candidate.repeats_labels():
            names = [search.place_of(table.table.path) for table in (candidate, chosen)]
            raise DataError(
                f"{names[0]} has labels, but its ids name no image, and are not in {names[1]}, which names images. "
                "Give the images of these ids in a table with the columns of ids and of image names, or add --table "
                f"{names[1]} (data.table) with --label-column NAME (data.label_column)"
            )


def refuse_other_question(search: LabelSearch, table: TrainingTable) -> None:
    """Refuse a table whose only possible labels say something else than the folders on the paths of its images.

    A column such as ``camera`` may be the only one with several rows of each value, and no label. A usual name of the
    table or of the column, and that of the sample submission, say that it is one. So does a less usual name, such as
    ``finding``, if the folders further down only count something, such as patients.

    Raises:
        DataError: nothing says that the column holds labels.
    """
    columns = table.columns
    if columns.label is None or table.claims_labels():
        return
    name, where = table.names[columns.label], search.place_of(table.table.path)
    levels = search.levels_of(table.labels)
    if may_be_label(name):
        levels = [level for level in levels if level.surely or not level.numbered]
    rival = rival_level(levels, table.labels, enclosing=not may_be_label(name))
    if rival is None:
        return
    same = _column_of(table, rival)
    folders = folders_choice(search.folder, search.files) if same is None else f"add --label-column {shlex.quote(same)}"
    raise DataError(
        f"the labels may be the column {name!r} of {where}, or the folders {listed(rival.names, 4)} of the "
        f"images. Choose the column with --label-column {shlex.quote(name)} (data.label_column). If the folders are "
        f"the classes, {folders}"
    )


def _column_of(table: TrainingTable, level: FolderLevel) -> str | None:
    """The name of the column that repeats or numbers the folders of a level for each image; None without one."""
    rows = table.table.rows[table.first :]
    for column, name in enumerate(table.names):
        cells = {
            table.paths[row[table.columns.image]]: row[column]
            for row in rows
            if row[table.columns.image] in table.paths
        }
        if table.header and level.numbers(cells) and len(cells) == len(level.folders.keys() & cells.keys()):
            return name
    return None


def _compare(search: LabelSearch, chosen: TrainingTable, other: TrainingTable, *, equal: bool) -> None:
    """Refuse two tables that contradict each other, or of which neither is the obvious one."""
    both = chosen.labels.keys() & other.labels.keys()
    names = listed(search.place_of(candidate.table.path) for candidate in (chosen, other))
    same_question = set(chosen.labels.values()) & set(other.labels.values())
    differing = sorted(path for path in both if chosen.labels[path] != other.labels[path])
    if not same_question and differing:  # names in the one and numbers in the other
        paths = sorted(both)
        odd = odd_rows([chosen.labels[path] for path in paths], [other.labels[path] for path in paths])
        if odd:
            differing, same_question = [paths[row] for row in odd], {""}
        elif not equal:
            differing = []
    if differing and (same_question or equal):
        path = differing[0]
        raise DataError(
            f"{names} label {len(differing)} of {len(both)} images differently, such as {path} as "
            f"{chosen.labels[path]!r} and {other.labels[path]!r}. Choose one with --table NAME (data.table)"
        )
    if equal and other.labels.keys() - chosen.labels.keys():
        raise DataError(
            f"{names}: each of these could be the table of training labels. Choose one with --table NAME "
            "(data.table), or join them into one table. If one lists test images, call it test.csv, and the other one "
            "train.csv"
        )


def found_images(candidate: TrainingTable) -> bool:
    """Whether a table names an image that is there, or its columns are unclear."""
    return candidate.unclear is not None or bool(candidate.labels)
