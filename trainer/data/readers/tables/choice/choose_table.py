"""Choose the table that labels the training images among the tables of a data folder."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from trainer.common.errors import DataError, listed
from trainer.data.names.predictions import is_table_of_predictions
from trainer.data.readers.doubts.files_apart import texts_apart
from trainer.data.readers.doubts.folders.folder_choice import folders_choice
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.parts.part_files import list_files, part_of_stem
from trainer.data.readers.tables.against_folders import tells_other_labels
from trainer.data.readers.tables.choice.best_table import (
    best_table,
    found_images,
    refuse_lost_labels,
    refuse_other_question,
)
from trainer.data.readers.tables.choice.class_tables import without_class_lists
from trainer.data.readers.tables.choice.corrections import refuse_corrections
from trainer.data.readers.tables.choice.deeper_warnings import warn_of_deeper_tables
from trainer.data.readers.tables.choice.label_search import LabelSearch
from trainer.data.readers.tables.choice.partial_table import refuse_partial_table
from trainer.data.readers.tables.choice.rival_labels import refuse_rival_labels, refuse_unread_labels
from trainer.data.readers.tables.choice.sort_tables import names_images, sort_tables, tables_of_images
from trainer.data.readers.tables.find_tables import Tables, is_named_training, named_table
from trainer.data.readers.tables.folder_labels import FolderTable, folder_table, refused
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.inference.printable import printable


def choose_training_table(
    search: LabelSearch, tables: Tables, beside_classes: Sequence[Path], part_tables: Collection[Path]
) -> TrainingTable | None:
    """The table of training labels: the one whose cells name images beside a column of labels.

    Args:
        beside_classes: tables directly beside the class folders, if these are not in the data folder itself.
        part_tables: tables that divide the images into parts, and hold no labels.

    Returns:
        None if no table names images, or tables that are no training labels do so.

    Raises:
        DataError: several tables fit equally well or contradict each other; a table with the name of training labels
            names no image and no class.
    """
    if search.options.table is not None:
        return _named_by_user(search, tables, search.options.table)
    candidates = _candidates(search, tables, beside_classes)
    found = sort_tables(search, candidates, part_tables)
    naming, lost = without_class_lists(search, found.naming, found.naming), found.lost
    labelling = any(is_named_training(one.table.path) and one.unclear is None and found_images(one) for one in naming)
    for candidate in without_class_lists(search, found.nameless, naming):
        if labelling:
            search.unread.leave_out(candidate.table.path, ", which names no image")
            continue
        _refuse_test_labels(search, candidate)
        place, folders = search.place_of(candidate.table.path), listed(search.class_folders, 4)
        raise DataError(
            f"{place} names no image, and none of the folders {folders}. If the folders are the classes, "
            f"{folders_choice(search.folder, search.files)}; else the table's ids have to name the images"
        )
    if (whole := _labels_of_folders(search, found.of_folders, naming)) is not None:
        return search.of_whole_folders(whole)
    if len(naming) > 1 and any(map(found_images, naming)):
        lost = [*lost, *(candidate for candidate in naming if not found_images(candidate))]
        naming = [candidate for candidate in naming if found_images(candidate)]
    naming = _without_predictions(search, naming)
    lists = [*candidates, *search.deeper, *list_files([search.folder])]
    try:
        chosen = best_table(search, _without_groups(search, naming))
    except DataError:
        refuse_corrections(search, _largest(naming), naming, lists)
        raise
    refuse_corrections(search, chosen, naming, lists)
    if chosen is None or _is_held_out(search, chosen):
        return None
    _refuse_predictions(search, chosen)
    refuse_partial_table(search, chosen)
    if chosen.unclear is not None and found.broken:
        raise found.broken[0]
    if search.options.label_column is None:
        refuse_lost_labels(search, chosen, lost)
    if chosen.linked is not None:
        search.notes.append(chosen.linked.note())
    if chosen.unclear is None and search.options.layout is None and search.options.label_column is None:
        refuse_other_question(search, chosen)
    if chosen.unclear is None:
        refuse_unread_labels(search, chosen)
    read = {*candidates, *part_tables, *search.links.lists, *search.links.tables}
    deeper = tables_of_images(search, [path for path in search.deeper if path not in read])
    refuse_rival_labels(search, chosen, naming, deeper)
    warn_of_deeper_tables(search, chosen, deeper)
    return chosen


def _refuse_test_labels(search: LabelSearch, candidate: TrainingTable) -> None:
    """Refuse a table beside class folders that names test images alone.

    Raises:
        DataError: it does.
    """
    tests = set(search.files.paths_below("test"))
    matcher = ImageMatcher(search.files, "test")
    columns = zip(*candidate.table.rows, strict=True) if tests else ()
    found = max((tests.intersection(matcher.match(column).paths.values()) for column in columns), key=len, default=())
    if 2 * len(found) >= len(candidate.table.rows):
        place = search.place_of(candidate.table.path)
        raise DataError(
            f"{place} names {len(found)} test images, such as {printable(min(found))}, and no training image. If it "
            f"lists the test images, rename it to test.csv. To read the folders {listed(search.class_folders, 4)} "
            f"without it, {folders_choice(search.folder, search.files)}"
        )


def _largest(naming: Sequence[TrainingTable]) -> TrainingTable | None:
    """The table that labels most images; None if all are unclear."""
    return max((one for one in naming if one.unclear is None), key=lambda one: len(one.labels), default=None)


def _is_held_out(search: LabelSearch, chosen: TrainingTable) -> bool:
    """Whether a table that is called after a held-out part lists a few of the images in class folders.

    The folders label all images, and the table divides them.
    """
    held_out = part_of_stem(chosen.table.path.stem) in ("val", "test")
    return held_out and bool(search.class_folders) and 2 * len(chosen.labels) < len(search.files.paths)


def _without_predictions(search: LabelSearch, naming: Sequence[TrainingTable]) -> list[TrainingTable]:
    """The tables without those that hold predictions by their names, if another one claims to hold labels.

    Those that may hold predictions by their columns go as well, if another one has the name of training labels.
    Warnings name them.
    """
    named = [one for one in naming if is_table_of_predictions(one.table.path.stem)]
    others = [one for one in naming if one not in named]
    labelling = [one for one in others if one.unclear is None and one.claims_labels() and found_images(one)]
    if not labelling:
        return list(naming)
    for one in named:
        place = shlex.quote(search.place_of(one.table.path))
        why = f", which holds predictions by its name; if these are the labels, add --table {place} (data.table)"
        search.unread.warn(one.table.path, why)
    if not any(is_named_training(one.table.path) for one in labelling):
        return others
    doubtful = [one for one in others if one.may_be_predicted()]
    for one in doubtful:
        search.unread.warn(one.table.path, ", which may hold predictions: only labels, and how sure these are")
    return [one for one in others if one not in doubtful]


def _refuse_predictions(search: LabelSearch, chosen: TrainingTable) -> None:
    """Refuse to train on labels that a network has predicted, by the name of their table.

    Raises:
        DataError: the table is called after predictions, and the user has chosen no column of it.
    """
    place = search.place_of(chosen.table.path)
    if search.options.label_column is None and is_table_of_predictions(chosen.table.path.stem):
        raise DataError(
            f"{place} may hold predictions by its name, not labels. If these are the labels, add --table "
            f"{shlex.quote(place)} (data.table)"
        )


def _named_by_user(search: LabelSearch, tables: Tables, name: str) -> TrainingTable:
    """The table of ``--table``.

    Raises:
        DataError: there is no such table, or it cannot be read.
    """
    path = named_table(search.folder, name, tables)
    table = search.read(path)
    chosen = search.candidate(table)
    if chosen.linked is not None:
        search.notes.append(chosen.linked.note())
        return chosen
    labelled = folder_table(table, search.files, search.matcher)
    return chosen if labelled is None else search.of_whole_folders(labelled)


def _candidates(search: LabelSearch, tables: Tables, beside_classes: Sequence[Path]) -> list[Path]:
    """The tables that may label images: those in the data folder, and further down if none has such a name."""
    paths = [*tables.labels, *beside_classes]
    if any(map(is_named_training, paths)):
        return paths
    deeper = list(search.deeper)
    if search.class_folders:
        deeper = [path for path in deeper if path.suffix.lower() != ".txt"] + texts_apart(search.folder, search.files)
        deeper = [path for path in deeper if _is_apart(search, path)]
    return [*paths, *(path for path in deeper if path not in paths)]


def _is_apart(search: LabelSearch, path: Path) -> bool:
    """Whether a table names images, and lies in a folder without images, such as ``meta`` beside class folders.

    A text file has to give other labels than the folders. One called after a part may give coarser ones. A table with
    the name of training labels is one, whatever it holds.
    """
    if search.files.paths_in(path.parent):
        return False
    if path.suffix.lower() != ".txt" and is_named_training(path):
        return True
    try:
        if path.suffix.lower() == ".txt":
            within_folders = part_of_stem(path.stem) is not None
            return tells_other_labels(search.read(path), search.matcher, within_folders=within_folders)
        return names_images(path, search.matcher, search.options.encoding)
    except DataError:  # no table
        return False


def _labels_of_folders(
    search: LabelSearch, of_folders: Sequence[FolderTable], naming: Sequence[TrainingTable]
) -> FolderTable | None:
    """The only table of whole folders if it surely gives their labels, and none of ``naming`` claims to give any.

    Raises:
        DataError: a table of folders is unsure, and no table names images.
    """
    sure = [
        found
        for found in of_folders
        if found.surely_labels() or found.labels_deeper_than(search.class_folders) or search.options.layout == "table"
    ]
    if len(sure) == len(of_folders) == 1 and not any(candidate.claims_labels() for candidate in naming):
        for other in naming:
            search.unread.leave_out(other.table.path, ", which names images")
        return sure[0]
    if of_folders and not naming:
        raise refused(search.place_of(of_folders[0].table.path), of_folders[0])
    for found in of_folders:
        search.unread.leave_out(found.table.path, ", which describes folders")
    return None


def _without_groups(search: LabelSearch, naming: Sequence[TrainingTable]) -> list[TrainingTable]:
    """The tables that neither name nor label groups of images.

    Raises:
        DataError: none of them says that it labels the images.
    """
    groups = search.links.groups
    grouping = [candidate for candidate in naming if candidate.table.path in groups]
    others = [candidate for candidate in naming if candidate not in grouping]
    if grouping and not any(other.claims_labels() and found_images(other) for other in others):
        raise groups[grouping[0].table.path]
    for candidate in grouping:
        search.unread.leave_out(candidate.table.path, ", which is about groups of images")
    return others
