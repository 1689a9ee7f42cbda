"""What to do about a data folder without a known layout: where its labels may be, and what hides them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from trainer.common.errors import DataError, first_lines, listed
from trainer.data.image_set import DataOptions
from trainer.data.names.own_files import is_data
from trainer.data.names.parts import folder_split
from trainer.data.readers.class_folders import subfolders
from trainer.data.readers.columns.image_column import ID_NAMES
from trainer.data.readers.columns.label_names import plain_name
from trainer.data.readers.doubts.folders.folder_choice import inner_classes
from trainer.data.readers.doubts.other_tables import how_to_save, is_coco, may_give_labels, other_tables
from trainer.data.readers.matching.image_files import LINK_HELP, ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.find_tables import OWN_HELP, find_tables
from trainer.data.readers.tables.reading.records.tables import is_json, json_problem
from trainer.data.readers.tables.reading.table_files import read_table
from trainer.inference.printable import printable

_SHOWN = 2  # tables that name no image
_LONGEST = 60  # characters of a cell in a message
_PIXELS = re.compile(r"\s*(?:\d{1,3}[ ,;]+){15,}\d{1,3}\s*")  # of an image of 16 pixels or more, in one cell


def layout_advice(folder: Path, options: DataOptions) -> str:
    """What to do about a folder without a known layout, one sentence or more in each line."""
    tables = find_tables(folder, options.encoding)
    own, labels = (tables.own, tables.labels) if options.layout in (None, "table") else ((), ())
    unread = f"Not read: {listed(path.name for path in own)}: {OWN_HELP}" if own else ""
    broken = list(chain.from_iterable(_table_problems(path, options.encoding) for path in labels))
    links = _link_hint(folder) if options.layout in (None, "folders") else ""
    hint = _labels_hint(folder, labels, options, broken=bool(broken), linked=bool(links))
    return "\n".join(filter(None, (links, unread, *first_lines(broken), hint)))


def _labels_hint(folder: Path, labels: Sequence[Path], options: DataOptions, *, broken: bool, linked: bool) -> str:
    """Where the labels may be: in folders further down, in a table of pixels, in files that are not read.

    Args:
        labels: the tables that may hold labels.
        broken: whether another sentence says why some of them cannot be read.
        linked: whether another sentence names links to folders.
    """
    files = ImageFiles.scan(folder)
    if options.layout in (None, "folders") and (classes := inner_classes(folder, files)) is not None:
        inner, tests = printable(classes.relative_to(folder).as_posix()), _test_folders(folder)
        move = f", and move {printable(tests[0].name)} into it" if tests else ""
        return f"The folders in {inner} may be classes: give {inner} inside of this folder as the data folder{move}"
    if not files.paths and (pixels := _table_of_pixels(labels, options.encoding)):
        return (
            f"{printable(pixels.name)} holds the pixels of its images, which are not read: save each row as an image "
            "file, into a folder for each class"
        )
    deeper = [path for inner in subfolders(folder) for path in other_tables(inner) if may_give_labels(path)]
    others = other_tables(folder) or deeper
    if files.paths and others:
        return _other_tables_hint(folder, others, files)
    hint = files.packed_hint() if linked else files.missing_hint()
    if files.paths and not (broken or linked) and options.layout in (None, "table"):
        paths = _not_for_testing(files)
        hint += "\n" * bool(hint) + (
            f"Nothing gives the labels of {len(paths)} images. If their names do, write a table labels.csv with "
            f"the columns image and label, and one row for each image, such as {printable(paths[0])}"
        )
        hint += "".join(f"\n{sentence}" for sentence in _without_images(labels, files, options.encoding)[:_SHOWN])
        hint += _test_class_hint(folder, files)
    return hint


def _without_images(paths: Sequence[Path], files: ImageFiles, encoding: str | None) -> list[str]:
    """What to do about tables beside images that name none of them, or hold nothing but labels."""
    sentences = []
    for path in paths:
        try:
            table = read_table(path, encoding=encoding)
        except DataError:  # another sentence says why, or it is no table
            continue
        if ImageMatcher(files, "train").match(cell for row in table.rows for cell in row).paths:
            continue  # a list of images without labels
        where, count = printable(path.name), len(table.rows)
        names = [column for column, name in enumerate(table.rows[0]) if plain_name(name) in ID_NAMES]
        if table.width == 1 and len(files.paths) in (count, count - 1):
            sentences.append(
                f"{where} has one column of {count} rows, and none that names the images: if these are the labels, "
                "write the name of its image before each, with a comma between them"
            )
        elif table.width > 1 and count > 1 and path.suffix.lower() != ".txt":
            column = names[0] if names else 0
            sentences.append(
                f"{where} names none of them, such as {table.rows[1][column][:_LONGEST]!r} in {table.unit} "
                f"{table.numbers[1]}: if it labels these images, write the names of their files there"
            )
    return sentences


def _link_hint(folder: Path) -> str:
    """What to do about links to folders, which are not followed; empty without any."""
    links = [path for path in folder.iterdir() if is_data(path) and path.is_symlink() and path.is_dir()]
    if not links:
        return ""
    names = listed(sorted(printable(path.name) for path in links), 4)
    is_link = "is a link to a folder" if len(links) == 1 else "are links to folders"
    return f"{names} {is_link}: such links are not followed; {LINK_HELP}"


def _other_tables_hint(folder: Path, others: Sequence[Path], files: ImageFiles) -> str:
    """What to do about files beside images that may hold their labels and are not read."""
    names = listed((path.relative_to(folder).as_posix() for path in others), 4)
    how = how_to_save(others[0])
    if not is_coco(others[0]):
        problem = json_problem(others[0]) if is_json(others[0]) else ""
        how = f"{problem}. Correct it, or " if problem else ""
        how += (
            "write a table labels.csv with the columns image and label, and one row for each image, such as "
            f"{printable(_not_for_testing(files)[0])}"
        )
    return f"The labels may be in {names}, which is not read: {how}"


def _not_for_testing(files: ImageFiles) -> Sequence[str]:
    """The images beside those for testing; all images if there are no others."""
    tests = set(files.paths_below("test"))
    return [path for path in files.paths if path not in tests] or files.paths


def _test_class_hint(folder: Path, files: ImageFiles) -> str:
    """What to do if a folder that seems to hold the test images is a class; empty without one beside other folders."""
    tests = _test_folders(folder)
    if len(tests) != 1 or len(files.paths_in(tests[0])) == len(files.paths):
        return ""
    name = printable(tests[0].name)
    return f"\n{name}/ holds test images by its name; if it is a class, rename it, such as to {name}_class"


def _test_folders(folder: Path) -> list[Path]:
    return [path for path in subfolders(folder) if folder_split(path.name) == "test"]


def _table_problems(path: Path, encoding: str | None) -> Sequence[str]:
    """Why a table of comma- or tab-separated values cannot be read; any other text file may be no table."""
    if path.suffix.lower() == ".txt":
        return ()
    try:
        read_table(path, encoding=encoding)
    except DataError as error:
        return error.problems
    return ()


def _table_of_pixels(paths: Sequence[Path], encoding: str | None) -> Path | None:
    """The first table with a cell that holds all pixels of an image, such as FER2013's; None without one."""
    for path in paths:
        if not _table_problems(path, encoding):
            rows = read_table(path, encoding=encoding).rows
            if any(map(_PIXELS.fullmatch, rows[min(1, len(rows) - 1)])):
                return path
    return None
