"""Sort the tables of a data folder by what they say: labels of images, of folders, or nothing about labels."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.common.errors import DataError, listed
from trainer.data.names.parts import is_held_out
from trainer.data.readers.columns.image_column import PROBED_ROWS
from trainer.data.readers.columns.label_names import LABEL_NAMES, any_usual_label, plain_name
from trainer.data.readers.doubts.folders.folder_choice import folders_choice
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.lookup_errors import ImageAmbiguousError
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.parts.part_files import OwnFolders, images_apart
from trainer.data.readers.tables.choice.label_search import LabelSearch
from trainer.data.readers.tables.choice.labels_of_others import labels_other_images
from trainer.data.readers.tables.find_tables import is_named_training, is_named_validation, is_unlabelled
from trainer.data.readers.tables.folder_labels import FolderTable, folder_names, folder_table, may_name_folders
from trainer.data.readers.tables.reading.table_files import first_rows, read_lines, read_table
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.class_lists import labels_names, listing_column
from trainer.formats.delimited import Table

_NUMBERED = re.compile(r"\d+[\s,;:]+(.+)")
_CELL_ENDS, _WORD_ENDS = re.compile(r"[,;|\t]"), re.compile(r"[\s,;:|\"']+")
_TITLES = (*LABEL_NAMES, "name", "names")  # above a list of the names of classes
_SEARCHED_LINES = 1000  # of a text that is no table
_WIDE = 50  # columns; a wider table holds pixels, and only its first rows are searched for the names of images


@dataclass(frozen=True, kw_only=True, eq=False)
class SortedTables:
    """The tables of a data folder by what they say."""

    naming: list[TrainingTable] = field(default_factory=list)
    """They name images, or have to, because nothing else gives labels."""
    nameless: list[TrainingTable] = field(default_factory=list)
    """They seem to hold labels, but name no image, while class folders may give the labels."""
    lost: list[TrainingTable] = field(default_factory=list)
    """They have a column of labels, and name no image."""
    of_folders: list[FolderTable] = field(default_factory=list)
    """They describe whole folders."""
    broken: list[DataError] = field(default_factory=list)
    """Why others cannot be read."""


def sort_tables(search: LabelSearch, paths: Sequence[Path], part_tables: Collection[Path]) -> SortedTables:
    """Sort the tables at ``paths``. Those that say nothing about labels are noted in ``search``.

    Args:
        part_tables: tables that divide the images into parts, and hold no labels.

    Raises:
        DataError: a table with the name of training labels cannot be read, or has no rows.
    """
    found, links = SortedTables(), search.links
    any_training, names = any(map(is_named_training, paths)), folder_names(search.files)
    for path in paths:
        if path in part_tables or path in links.lists:
            continue  # a note on another table names it
        if is_unlabelled(path):
            search.unread.leave_out(path, ", whose name says that it holds no labels")
        elif any_training and (is_named_validation(path) or _names_held_out(search, path)):
            search.unread.leave_out_validation(path)
        elif path in links.describing:
            search.unread.leave_out(path, ", which describes images that another table labels")
        elif path.suffix.lower() == ".txt" and _numbers_classes(search, path):
            search.unread.leave_out(path, ", which lists the classes")
        elif _names_numbers(search, path):
            search.unread.leave_out(path, ", which lists names for the numbers of the classes")
        elif is_named_training(path) and _is_no_table(search, path):
            search.unread.leave_out(path, ", which is no table and names no image")
        elif path in links.tables:
            found.naming.append(search.candidate(links.tables[path].table))
        else:
            _sort(search, path, names, found)
    return found


def _names_held_out(search: LabelSearch, path: Path) -> bool:
    """Whether a table names the images in a folder with its name that is not for training: ``eval.csv``, ``eval/``."""
    if not is_held_out(path.stem) or is_named_training(path):
        return False
    try:
        found = OwnFolders(images_apart(search.files), search.options.encoding).named_by(path, None)
    except DataError:  # no list
        return False
    return found is not None and len(found[1]) > len(found[2])


def _numbers_classes(search: LabelSearch, path: Path) -> bool:
    """Whether each line is a number and the name of a class folder, as ``0 cat`` beside ``cat`` or ``cat-samples``.

    The numbers may be the names of images, too. Teachable Machine names its folders in the second way.
    """
    if not search.class_folders:
        return False
    try:
        lines = [line.strip() for line in read_lines(path, search.options.encoding) if line.strip()]
    except DataError:  # no list
        return False
    names = [found[1] for line in lines if (found := _NUMBERED.fullmatch(line))]
    folders = {composed(name).casefold().removesuffix("-samples") for name in search.class_folders}
    return len(names) == len(lines) == len(folders) > 1 and {composed(name).casefold() for name in names} == folders


def _names_numbers(search: LabelSearch, path: Path) -> bool:
    """Whether the class folders are numbers in a row, and each line is one name, for each of them."""
    numbers = [int(name) for name in search.class_folders if name.isascii() and name.isdigit()]
    if len(numbers) != len(search.class_folders) or not _count_up(sorted(numbers)):
        return False
    try:
        lines = [line.strip().strip('"') for line in read_lines(path, search.options.encoding) if line.strip()]
    except DataError:  # no list
        return False
    names = lines[1:] if len(lines) == len(numbers) + 1 and plain_name(lines[0]) in _TITLES else lines
    words = all(any(map(str.isalpha, name)) and not _CELL_ENDS.search(name) for name in names)
    return words and len(set(names)) == len(names) == len(numbers) and not search.matcher.match(names).paths


def _count_up(numbers: Sequence[int]) -> bool:
    """Whether the numbers are those from 0 or from 1 on."""
    return len(numbers) > 1 and numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _is_no_table(search: LabelSearch, path: Path) -> bool:
    """Whether a text file beside class folders is no table, and names no image: names of classes, or prose.

    Raises:
        DataError: it is no table, and may name images, or should be a table by its extension.
    """
    if not search.class_folders:
        return False
    try:
        search.read(path)
        return False
    except DataError as error:
        if path.suffix.lower() != ".txt" or _may_name_images(search, path):
            raise DataError(
                error.problems,
                f"If the folders {listed(search.class_folders, 4)} are the classes, "
                f"{folders_choice(search.folder, search.files)}",
            ) from error
    return True


def _may_name_images(search: LabelSearch, path: Path) -> bool:
    """Whether a cell or word in the first lines of a text names an image, or the text cannot be read."""
    try:
        lines = read_lines(path, search.options.encoding)[:_SEARCHED_LINES]
    except DataError:
        return True
    words = {word.strip(" \t\"'") for line in lines for mark in (_CELL_ENDS, _WORD_ENDS) for word in mark.split(line)}
    return _any_column_matches([[word] for word in sorted(words)], search.matcher)


def _sort(search: LabelSearch, path: Path, names: frozenset[str], found: SortedTables) -> None:
    try:
        if _sort_by_rows(search, path, names, found):
            return
        problem = None
    except DataError as error:
        problem = error
    if path.suffix.lower() == ".txt" and (problem or not is_named_training(path)):
        return
    if problem and is_named_training(path):
        raise problem
    if problem:
        found.broken.append(problem)
    if _lacks_rows(search, path):
        search.read(path)  # reports what makes its rows unreadable, if it has some
        raise DataError(
            f"{search.place_of(path)} has no rows below its header, though it may be meant to hold the labels: "
            "write them there, or remove the file"
        )
    if _may_label(search, path):
        unnamed = found.nameless if search.class_folders else found.naming
        unnamed.append(search.candidate(search.read(path)))
        return
    search.unread.leave_out(path, ", not a table" if problem else ", which names no image")
    if not problem and any_usual_label(_first_filled_rows(search, path, 1)[0]):
        found.lost.append(search.candidate(search.read(path)))


def _sort_by_rows(search: LabelSearch, path: Path, names: frozenset[str], found: SortedTables) -> bool:
    """Sort a table whose rows name folders, classes or images; False if they name none of these.

    Args:
        names: of all folders with images.

    Raises:
        DataError: the table cannot be read.
    """
    rows = _first_filled_rows(search, path, 2 * len(search.class_folders) + PROBED_ROWS)
    if may_name_folders(rows, names) and (labelled := _labelled_folders(search, path, rows)) is not None:
        found.of_folders.append(labelled)
        return True
    listing = listing_column(rows, search.class_folders)
    # The number of a class may be the name of an image, too.
    if listing is not None and _names_many_images(search, rows, listing):
        listing = None  # a row number, as in the column that pandas adds, names the folders 0 and 1
    if listing is not None and not labels_names(rows, listing, search.class_folders):
        candidate = search.candidate(search.read(path))
        if candidate.contradicts_folders(search.class_folders):
            found.naming.append(candidate)
        else:
            search.unread.leave_out(path, ", which lists the classes")
        return True
    if names_images(path, search.matcher, search.options.encoding):
        found.naming.append(search.candidate(search.read(path)))
        return True
    return False


def _names_many_images(search: LabelSearch, rows: Sequence[Sequence[str]], listing: int) -> bool:
    """Whether a column beside ``listing`` names more images than there are class folders, each image in one row."""
    for column in range(max(map(len, rows), default=0)):
        cells = [row[column] for row in rows if column < len(row) and row[column].strip()]
        if column != listing and len(set(search.matcher.match(cells).paths.values())) > len(search.class_folders):
            return True
    return False


def _labelled_folders(search: LabelSearch, path: Path, rows: Sequence[Sequence[str]]) -> FolderTable | None:
    """The table as one that labels folders; None if it does not, or gives each folder another value."""
    if not rows or len(rows[0]) > _WIDE or (path.suffix.lower() == ".txt" and not is_named_training(path)):
        return None
    found = folder_table(search.read(path), search.files, search.matcher)
    if found is None or found.repeats_labels():
        return found
    return found if labels_names(found.table.rows[found.first :], found.column, list(found.images)) else None


def names_images(path: Path, matcher: ImageMatcher, encoding: str | None) -> bool:
    """Whether a column of a table names images: among the first rows, or in any row if the table is narrow."""
    rows = first_rows(path, PROBED_ROWS, encoding=encoding)
    if _any_column_matches(rows, matcher):
        return True
    if len(rows) < PROBED_ROWS or len(rows[0]) > _WIDE:
        return False
    return _any_column_matches(read_table(path, encoding=encoding).rows, matcher)


def tables_of_images(search: LabelSearch, paths: Sequence[Path]) -> list[Table]:
    """The tables among ``paths`` that name images; a file that is no table is none."""
    found = []
    for path in paths:
        try:
            if names_images(path, search.matcher, search.options.encoding):
                found.append(search.read(path))
        except DataError:
            continue
    return found


def _any_column_matches(rows: Sequence[Sequence[str]], matcher: ImageMatcher) -> bool:
    """Whether a column names images; several files for a name count, too."""
    for column in range(max(map(len, rows), default=0)):
        match = matcher.match(row[column] for row in rows if column < len(row) and row[column].strip())
        if match.paths or any(isinstance(error, ImageAmbiguousError) for error in match.errors.values()):
            return True
    return False


def _may_label(search: LabelSearch, path: Path) -> bool:
    """Whether a table that names no image may still be meant to label them: by its name, or by columns and rows."""
    if is_named_training(path):
        return True
    images = len(search.files.paths)
    rows = _first_filled_rows(search, path, images)
    if not rows or not search.class_folders or len(rows[0]) > _WIDE:
        return False
    if any_usual_label(rows[0]) and len(rows) * 2 > images:
        return True
    return labels_other_images(rows, search.class_folders)


def _lacks_rows(search: LabelSearch, path: Path) -> bool:
    """Whether a table called ``train`` or ``labels`` has a header of labels and nothing else."""
    rows = _first_filled_rows(search, path, 2)
    return is_named_training(path) and path.suffix.lower() != ".txt" and len(rows) == 1 and any_usual_label(rows[0])


def _first_filled_rows(search: LabelSearch, path: Path, count: int) -> list[Sequence[str]]:
    return [row for row in first_rows(path, count, encoding=search.options.encoding) if any(row)]
