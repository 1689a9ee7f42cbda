"""Choose the table that labels the training images among the tables of a data folder."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from trainer.common.errors import DataError, listed
from trainer.data.file_names import split_of
from trainer.data.image_set import DataOptions
from trainer.data.readers.columns.image_column import PROBED_ROWS
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.columns.label_names import any_usual_label
from trainer.data.readers.doubts.files_apart import texts_apart
from trainer.data.readers.doubts.folder_choice import folders_choice
from trainer.data.readers.matching.image_files import ImageAmbiguousError, ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.parts.part_files import part_of_stem
from trainer.data.readers.tables.against_folders import tells_other_labels
from trainer.data.readers.tables.best_table import (
    best_table,
    found_images,
    place_of,
    refuse_lost_labels,
    refuse_other_question,
)
from trainer.data.readers.tables.find_tables import (
    Tables,
    deeper_tables,
    is_named_training,
    is_named_validation,
    is_unlabelled,
    named_table,
)
from trainer.data.readers.tables.folder_labels import FolderTable, folder_names, folder_table, may_name_folders, refused
from trainer.data.readers.tables.links.linked_table import Links
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.class_lists import labels_names, listing_column, lists_values
from trainer.formats.delimited import first_rows, read_table

_WIDE = 50  # columns; a wider table holds pixels, and only its first rows are searched for the names of images


def choose_training_table(
    folder: Path,
    tables: Tables,
    files: ImageFiles,
    options: DataOptions,
    sample: SampleHints,
    class_folders: Sequence[str],
    beside_classes: Sequence[Path],
    part_tables: Collection[Path],
    links: Links,
    notes: list[str],
    warnings: list[str],
) -> TrainingTable | None:
    """The table of training labels: the one whose cells name images beside a column of labels.

    Args:
        class_folders: names of the folders that could be the classes; empty if there are none.
        beside_classes: tables directly beside these folders, if these are not in ``folder`` itself.
        part_tables: tables that divide the images into parts, and hold no labels.
        links: the tables that are joined with one of image names.
        notes: a sentence is added for every table that is not read, or
        warnings: for a table that labels further images.

    Returns:
        None if no table names images, or tables that are no training labels do so.

    Raises:
        DataError: several tables fit equally well or contradict each other; a table with the name of training labels
            names no image and no class.
    """
    matcher = ImageMatcher(files, "train")

    def of_whole_folders(found: FolderTable) -> TrainingTable:
        notes.append(found.note(place_of(folder, found.table.path)))
        warnings.extend(found.warnings(files))
        return TrainingTable(found.table, options, matcher, sample, found)

    if options.table is not None:
        path = named_table(folder, options.table, tables)
        table = read_table(path, encoding=options.encoding)
        if (link := links.tables.get(path)) is not None:
            notes.append(link.note())
            return TrainingTable(table, options, matcher, sample, linked=link)
        labelled = folder_table(table, files, matcher)
        if labelled is not None:
            return of_whole_folders(labelled)
        return TrainingTable(table, options, matcher, sample)
    paths = (*tables.labels, *beside_classes)
    if not any(map(is_named_training, paths)):
        deeper = deeper_tables(folder, options.encoding)
        if class_folders:
            deeper = [path for path in deeper if path.suffix.lower() != ".txt"] + texts_apart(folder, files)
            deeper = [path for path in deeper if _is_apart(folder, path, files, matcher, options.encoding)]
        paths = (*paths, *(path for path in deeper if path not in paths))
    naming: list[TrainingTable] = []
    lost: list[TrainingTable] = []
    nameless: list[TrainingTable] = []
    of_folders: list[FolderTable] = []
    broken: list[DataError] = []
    names = folder_names(files)
    for path in paths:
        problem = None
        if path in part_tables:
            continue
        if is_unlabelled(path):
            notes.append(f"not read: {place_of(folder, path)}, whose name says that it holds no labels")
            continue
        if is_named_validation(path) and any(map(is_named_training, paths)):
            warnings.append(f"not read: {place_of(folder, path)}, validation images (folds are cut from the others)")
            continue
        if path in links.lists:
            continue  # a note on the table of its ids names it
        if path in links.describing:
            notes.append(f"not read: {place_of(folder, path)}, which describes images that another table labels")
            continue
        if path in links.tables:
            link = links.tables[path]
            naming.append(TrainingTable(link.table, options, matcher, sample, linked=link))
            continue
        try:
            rows = _first_filled_rows(path, 2 * len(class_folders) + PROBED_ROWS, options.encoding)
            if (
                may_name_folders(rows, names)
                and (labelled := _labelled_folders(path, rows, files, matcher, options.encoding)) is not None
            ):
                of_folders.append(labelled)
                continue
            listing = listing_column(rows, class_folders)
            # The number of a class may be the name of an image, too.
            if listing is not None and not labels_names(rows, listing, class_folders):
                labelling = TrainingTable(read_table(path, encoding=options.encoding), options, matcher, sample)
                if labelling.contradicts_folders(class_folders):
                    naming.append(labelling)
                else:
                    notes.append(f"not read: {place_of(folder, path)}, which lists the classes")
                continue
            if _names_images(path, matcher, options.encoding):
                naming.append(TrainingTable(read_table(path, encoding=options.encoding), options, matcher, sample))
                continue
        except DataError as error:
            problem = error
        if path.suffix.lower() == ".txt" and (problem or not is_named_training(path)):
            continue
        if problem and is_named_training(path):
            raise problem
        if problem:
            broken.append(problem)
        if _lacks_rows(path, options.encoding):
            raise DataError(
                f"{place_of(folder, path)} has no rows below its header, though it may be meant to hold the labels: "
                "write them there, or remove the file"
            )
        if not _may_label(path, files, class_folders, options.encoding):
            notes.append(f"not read: {place_of(folder, path)}, {'not a table' if problem else 'which names no image'}")
            if not problem and any_usual_label(_first_filled_rows(path, 1, options.encoding)[0]):
                lost.append(TrainingTable(read_table(path, encoding=options.encoding), options, matcher, sample))
        else:
            unnamed = naming if not class_folders else nameless
            unnamed.append(TrainingTable(read_table(path, encoding=options.encoding), options, matcher, sample))
    naming = _without_class_lists(folder, naming, naming, notes)
    for candidate in _without_class_lists(folder, nameless, naming, notes):
        raise DataError(
            f"{candidate.table.path.name} names no image, and none of the folders {listed(class_folders, 4)}. If the "
            f"folders are the classes, {folders_choice(folder, files)}; else the table's ids have to name the images"
        )
    sure = [
        found
        for found in of_folders
        if found.surely_labels() or found.labels_deeper_than(class_folders) or options.layout == "table"
    ]
    if len(sure) == len(of_folders) == 1 and not any(candidate.claims_labels() for candidate in naming):
        notes += [f"not read: {place_of(folder, other.table.path)}, which names images" for other in naming]
        return of_whole_folders(sure[0])
    if of_folders and not naming:
        raise refused(place_of(folder, of_folders[0].table.path), of_folders[0])
    notes += [f"not read: {place_of(folder, found.table.path)}, which describes folders" for found in of_folders]
    if len(naming) > 1 and any(found_images(candidate) for candidate in naming):
        lost += [candidate for candidate in naming if not found_images(candidate)]
        naming = [candidate for candidate in naming if found_images(candidate)]
    naming = _without_groups(folder, naming, links, notes)
    chosen = best_table(folder, files, naming, class_folders, notes, warnings)
    if chosen is not None and chosen.unclear is not None and broken:
        raise broken[0]
    if chosen is not None and options.label_column is None:
        refuse_lost_labels(folder, chosen, lost)
    if chosen is not None and chosen.linked is not None:
        notes.append(chosen.linked.note())
    if chosen is not None and class_folders and options.label_column is None:
        refuse_other_question(folder, files, chosen, class_folders)
    return chosen


def _is_apart(folder: Path, path: Path, files: ImageFiles, matcher: ImageMatcher, encoding: str | None) -> bool:
    """Whether a table names images, and lies in a folder without images, such as ``meta`` beside class folders.

    A text file has to give other labels than the folders. One called after a part may give coarser ones.
    """
    if files.paths_in(path.parent):
        return False
    try:
        if path.suffix.lower() == ".txt":
            table = read_table(path, encoding=encoding)
            return tells_other_labels(table, matcher, within_folders=part_of_stem(path.stem) is not None)
        return _names_images(path, matcher, encoding)
    except DataError:  # no table
        return False


def _without_groups(
    folder: Path, naming: Sequence[TrainingTable], links: Links, notes: list[str]
) -> list[TrainingTable]:
    """The tables that neither name nor label groups of images.

    Raises:
        DataError: none of them says that it labels the images.
    """
    grouping = [candidate for candidate in naming if candidate.table.path in links.groups]
    others = [candidate for candidate in naming if candidate not in grouping]
    if grouping and not any(other.claims_labels() and found_images(other) for other in others):
        raise links.groups[grouping[0].table.path]
    notes += [f"not read: {place_of(folder, table.table.path)}, which is about groups of images" for table in grouping]
    return others


def _labelled_folders(
    path: Path, rows: Sequence[Sequence[str]], files: ImageFiles, matcher: ImageMatcher, encoding: str | None
) -> FolderTable | None:
    """The table as one that labels folders; None if it does not, or gives each folder another value."""
    if not rows or len(rows[0]) > _WIDE or (path.suffix.lower() == ".txt" and not is_named_training(path)):
        return None
    found = folder_table(read_table(path, encoding=encoding), files, matcher)
    if found is None or found.repeats_labels():
        return found
    return found if labels_names(found.table.rows[found.first :], found.column, list(found.images)) else None


def _names_images(path: Path, matcher: ImageMatcher, encoding: str | None) -> bool:
    """Whether a column of a table names images: among the first rows, or in any row if the table is narrow."""
    rows = first_rows(path, PROBED_ROWS, encoding=encoding)
    if _any_column_matches(rows, matcher):
        return True
    if len(rows) < PROBED_ROWS or len(rows[0]) > _WIDE:
        return False
    return _any_column_matches(read_table(path, encoding=encoding).rows, matcher)


def _any_column_matches(rows: Sequence[Sequence[str]], matcher: ImageMatcher) -> bool:
    """Whether a column names images; several files for a name count, too."""
    for column in range(max(map(len, rows), default=0)):
        match = matcher.match(row[column] for row in rows if column < len(row) and row[column].strip())
        if match.paths or any(isinstance(error, ImageAmbiguousError) for error in match.errors.values()):
            return True
    return False


def _may_label(path: Path, files: ImageFiles, class_folders: Sequence[str], encoding: str | None) -> bool:
    """Whether a table that names no image may still be meant to label them: by its name, or by column and rows."""
    if is_named_training(path):
        return True
    rows = _first_filled_rows(path, len(files.paths), encoding)
    labelled = bool(rows) and any_usual_label(rows[0]) and len(rows[0]) <= _WIDE
    return bool(class_folders) and labelled and len(rows) * 2 > len(files.paths)


def _without_class_lists(
    folder: Path, candidates: Sequence[TrainingTable], naming: Sequence[TrainingTable], notes: list[str]
) -> list[TrainingTable]:
    """The candidates that do not list the classes of a longer table of labels. A class number may name an image."""
    kept = []
    for candidate in candidates:
        labelled = next((table for table in naming if _lists_classes_of(candidate, table)), None)
        if labelled is None:
            kept.append(candidate)
        else:
            notes.append(
                f"not read: {place_of(folder, candidate.table.path)}, which lists the classes of "
                f"{place_of(folder, labelled.table.path)}"
            )
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


def _lacks_rows(path: Path, encoding: str | None) -> bool:
    """Whether a table called ``train`` or ``labels`` has a header of labels and nothing else."""
    rows = _first_filled_rows(path, 2, encoding)
    return is_named_training(path) and path.suffix.lower() != ".txt" and len(rows) == 1 and any_usual_label(rows[0])


def _first_filled_rows(path: Path, count: int, encoding: str | None) -> list[Sequence[str]]:
    return [row for row in first_rows(path, count, encoding=encoding) if any(row)]
