"""Read a data folder of any known layout into an `ImageSet`, and check every image."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from trainer.common.errors import DataError, first_lines, listed
from trainer.data.corrections.apply import ADVICE, Corrected, apply_again, apply_corrections_beside
from trainer.data.file_names import folder_split, is_data, names_no_class, split_of
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.inspection import InspectedImages, Progress, inspect_images
from trainer.data.readers import folder_layout, npz_layout, table_layout
from trainer.data.readers.base import Reader, ReadResult
from trainer.data.readers.class_folders import class_folder_names, subfolders
from trainer.data.readers.doubts.formulas import formula_warnings
from trainer.data.readers.doubts.other_tables import how_to_save, is_coco, may_give_labels, other_tables
from trainer.data.readers.matching.image_files import LINK_HELP, ImageFiles
from trainer.data.readers.tables.find_tables import OWN_HELP, find_tables
from trainer.data.value_ranges import measure_ranges, with_level_warning, with_ranges
from trainer.formats.delimited import SUFFIXES, read_table
from trainer.formats.label_tables import CORRECTIONS_FILE, Correction
from trainer.inference.file_kinds import ARCHIVES
from trainer.inference.pixel_values import Ranges
from trainer.inference.printable import name_problem, printable

__all__ = ["READERS", "DataError", "DataOptions", "ImageSet", "read_images"]

_PIXELS = re.compile(r"\s*(?:\d{1,3}[ ,;]+){15,}\d{1,3}\s*")  # of an image of 16 pixels or more, in one cell
_DOCUMENT = re.compile(
    r".*\.(?:md|rst|pdf|html?|docx?|rtf|bib|m|py|ipynb)|(?:read[\W_]*me|licen[cs]e|copying|notice|citation|change[\W_]*log)"
    r"[\w\-]*(?:\.\w+)?",
    re.IGNORECASE,
)

READERS: dict[str, Reader] = {
    "npz": npz_layout.READER,
    "table": table_layout.READER,
    "folders": folder_layout.READER,
}
"""Readers by the name of their data layout. The first one that finds its layout reads the folder."""


def read_images(
    folder: Path,
    options: DataOptions | None = None,
    *,
    verify: bool = True,
    progress: Progress | None = None,
    ranges: Ranges | None = None,
    corrections: Sequence[Correction] | None = None,
) -> ImageSet:
    """Read the data set in ``folder`` and check that every image can be decoded.

    If ``folder`` holds nothing but one other folder, the data set may be in that one.

    Args:
        folder: the data folder. Nothing is written to it.
        options: the user's settings for columns and bad images.
        verify: decode every image once. False reads only tables and file names, for workers that join a study whose
            data were verified before. With ``options.skip_bad`` the images are always decoded, because all workers have
            to leave out the same ones.
        progress: called with (images done, images in all) while images are decoded.
        ranges: recorded ranges by which values with more than 8 bits are scaled. None: those of the images are
            measured.
        corrections: what to correct instead of applying those beside the data: `AppliedCorrections.decisions` of an
            earlier reading. Empty: nothing. None: those beside the data, if ``options`` ask for them.

    Raises:
        DataError: no layout fits, or the data or the corrections beside them have errors. All errors of tables and
            image files are reported together. With ``options.skip_bad``, bad training images are left out instead,
            listed in ``skipped`` and explained in ``warnings``. Bad test images are always an error.
    """
    data_options = options or DataOptions()
    try:
        result = _read(_checked_folder(folder), data_options)
    except OSError as error:
        where = printable(str(error.filename or folder))
        raise DataError(f"{where} cannot be read: {error.strerror or error}; check its permissions") from error
    except MemoryError as error:
        raise DataError(f"the memory does not suffice to read the tables or arrays in {folder}") from error
    corrected = Corrected(image_set=result.image_set)
    if corrections is not None:
        corrected = apply_again(result.image_set, corrections)
    elif data_options.corrections:
        corrected = apply_corrections_beside(result.image_set)
    problems = [*result.problems, *corrected.problems]
    image_set = corrected.image_set
    image_set = measure_ranges(image_set) if ranges is None else with_ranges(image_set, ranges)
    image_set = _with_formula_warnings(image_set)
    bad_train: dict[int, str] = {}
    if verify or data_options.skip_bad:
        image_set, bad_train, bad_test = _inspect(image_set, progress)
        problems += bad_test.values()
        image_set = with_level_warning(image_set)
    skippable = [*(problem.message for problem in result.skippable), *bad_train.values()]
    repeated = [problem.message for problem in result.skippable if problem.lost_id is None]
    if data_options.skip_bad and not problems and skippable:
        lost = [problem.lost_id for problem in result.skippable if problem.lost_id is not None]
        left_out = [f"left out: {message}" for message in skippable if message not in repeated]
        return image_set.without(bad_train, lost, [*left_out, *(f"the first row was taken: {m}" for m in repeated)])
    if problems or skippable:
        advice = "" if problems else _skip_advice(len(skippable), only_repeated=len(repeated) == len(skippable))
        advice = "\n".join(filter(None, (result.advice, ADVICE if corrected.problems else "", advice)))
        raise DataError([*problems, *([] if data_options.skip_bad else skippable)], advice)
    return image_set


def _skip_advice(count: int, *, only_repeated: bool) -> str:
    if only_repeated:
        return "To take the first row of each label, add --skip-bad"
    return f"To continue without {'it' if count == 1 else 'them'}, add --skip-bad"


def _with_formula_warnings(image_set: ImageSet) -> ImageSet:
    formulas = formula_warnings((*image_set.train_ids, *image_set.test_ids), image_set.class_names)
    return dataclasses.replace(image_set, warnings=(*image_set.warnings, *formulas)) if formulas else image_set


def _inspect(image_set: ImageSet, progress: Progress | None) -> tuple[ImageSet, dict[int, str], dict[int, str]]:
    """Decode all images.

    Returns:
        The set with ``inspected``, the problems of training images by index, and those of test images.
    """
    n, total = len(image_set.train_ids), len(image_set.train_ids) + len(image_set.test_ids)

    def progress_from(start: int) -> Progress | None:
        return None if progress is None else lambda done, _: progress(start + done, total)

    train, bad_train = inspect_images(image_set.train_images, progress_from(0))
    test, bad_test = inspect_images(image_set.test_images, progress_from(n))
    return dataclasses.replace(image_set, inspected=InspectedImages.joined([train, test])), bad_train, bad_test


def _checked_folder(folder: Path) -> Path:
    if problem := name_problem(str(folder.absolute())):
        raise DataError(f"the path of the folder {printable(str(folder.absolute()))} {problem}")
    if not folder.exists():
        raise DataError(f"there is no folder {folder}")
    if not folder.is_dir():
        hint = "; unpack it first" if folder.suffix.lower() in ARCHIVES else ""
        raise DataError(f"{folder} is a file, not a folder of images{hint}")
    return folder


def _read(folder: Path, options: DataOptions) -> ReadResult:
    """Read ``folder``, or the only folder inside it (archives often add one), with the first reader that fits.

    `DataOptions.layout` and `DataOptions.table` leave one reader.
    """
    layout = options.layout or ("table" if options.table is not None else None)
    if layout is not None and layout not in READERS:
        raise DataError(f"there is no layout {layout!r} (--layout, data.layout); valid: {', '.join(READERS)}")
    inner = _unwrapped(folder, options.table)
    while True:
        for name, reader in READERS.items():
            result = _read_as(reader, folder, inner, options) if layout in (None, name) else None
            if result is not None:
                return result
        only = _only_folder(inner)
        if only is None:
            raise DataError(_unknown_layout(folder, layout), _advice(inner, options))
        inner = only


def _read_as(reader: Reader, folder: Path, inner: Path, options: DataOptions) -> ReadResult | None:
    """Read ``inner`` with a reader. An error says where its paths begin, if ``inner`` is not the data ``folder``."""
    try:
        return reader.read(inner, options)
    except DataError as error:
        if inner == folder:
            raise
        where = f"All paths here begin inside of {printable(inner.relative_to(folder).as_posix())}"
        raise DataError(error.problems, "\n".join(filter(None, (error.advice, where)))) from error


def _only_folder(folder: Path) -> Path | None:
    """The only folder inside, if nothing but documents and its own archive lies beside it; else None."""
    entries = [path for path in folder.iterdir() if is_data(path)]
    folders = [path for path in entries if path.is_dir()]
    if len(folders) != 1 or folders[0].is_symlink():
        return None
    packed = {f"{folders[0].name}{suffix}".lower() for suffix in ARCHIVES}
    others = [path.name for path in entries if path not in folders and path.name.lower() not in packed]
    return folders[0] if all(map(_DOCUMENT.fullmatch, others)) else None


def _unwrapped(folder: Path, table: str | None) -> Path:
    """``folder``, or the innermost of the only folders inside that holds tables.

    The tables there mean what tables in a data folder mean, such as ``test.csv``.

    Args:
        table: path of the table that the user named, which has to be in the folder.
    """
    found, inner = folder, _only_folder(folder)
    while inner is not None and split_of(inner.name) is None:
        entries = [path for path in inner.iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES]
        names = [path.name for path in entries if path.name != CORRECTIONS_FILE]
        if not all(map(_DOCUMENT.fullmatch, names)) and (table is None or (inner / table).is_file()):
            found = inner
        inner = _only_folder(inner)
    return found


def _advice(folder: Path, options: DataOptions) -> str:
    """What to do about a folder without a known layout."""
    links = [path for path in folder.iterdir() if is_data(path) and path.is_symlink() and path.is_dir()]
    if links and options.layout in (None, "folders"):
        names = listed(sorted(printable(path.name) for path in links), 4)
        is_link = "is a link to a folder" if len(links) == 1 else "are links to folders"
        return f"{names} {is_link}: such links are not followed; {LINK_HELP}"
    tables = find_tables(folder, options.encoding)
    own, labels = (tables.own, tables.labels) if options.layout in (None, "table") else ((), ())
    unread = f"Not read: {listed(path.name for path in own)}: {OWN_HELP}" if own else ""
    broken = list(chain.from_iterable(_table_problems(path, options.encoding) for path in labels))
    files = ImageFiles.scan(folder)
    if options.layout in (None, "folders") and (classes := _inner_classes(folder, files)) is not None:
        inner = printable(classes.relative_to(folder).as_posix())
        hint = f"The folders in {inner} may be classes: give {inner} inside of this folder as the data folder"
        tests = [path for path in subfolders(folder) if folder_split(path.name) == "test"]
        hint += f", and move {printable(tests[0].name)} into it" if tests else ""
        return "\n".join(filter(None, (unread, *first_lines(broken), hint)))
    if not files.paths and (pixels := _table_of_pixels(labels, options.encoding)):
        hint = (
            f"{printable(pixels.name)} holds the pixels of its images, which are not read: save each row as an image "
            "file, into a folder for each class"
        )
        return "\n".join(filter(None, (unread, hint)))
    deeper = [path for inner in subfolders(folder) for path in other_tables(inner) if may_give_labels(path)]
    others = other_tables(folder) or deeper
    hint = files.missing_hint()
    if files.paths and others:
        names = listed((path.relative_to(folder).as_posix() for path in others), 4)
        how = how_to_save(others[0])
        if not is_coco(others[0]):
            how = (
                "write a table labels.csv with the columns image and label, and one row for each image, such as "
                f"{printable(files.paths[0])}"
            )
        hint = f"The labels may be in {names}, which is not read: {how}"
    elif files.paths and not broken and options.layout in (None, "table"):
        shown = printable(files.paths[0])
        hint += "\n" * bool(hint) + (
            f"Nothing gives the labels of {len(files.paths)} images. If their names do, write a table labels.csv with "
            f"the columns image and label, and one row for each image, such as {shown}"
        )
        hint += _test_class_hint(folder, files)
    return "\n".join(filter(None, (unread, *first_lines(broken), hint)))


def _test_class_hint(folder: Path, files: ImageFiles) -> str:
    """What to do if a folder that seems to hold the test images is a class; empty without one beside other folders."""
    tests = [path for path in subfolders(folder) if folder_split(path.name) == "test"]
    if len(tests) != 1 or all(path.startswith(f"{tests[0].name}/") for path in files.paths):
        return ""
    name = printable(tests[0].name)
    return f"\n{name}/ holds test images by its name; if it is a class, rename it, such as to {name}_class"


def _inner_classes(folder: Path, files: ImageFiles) -> Path | None:
    """The folder further down, the only one with training images at its level, that holds class folders or parts."""
    inner = folder
    while True:
        found = [path for path in subfolders(inner) if files.under(path.relative_to(folder).as_posix()).paths]
        found = [path for path in found if inner != folder or folder_split(path.name) != "test"]
        if len(found) != 1 or found[0].is_symlink():
            break
        inner = found[0]
    if inner == folder:
        return None
    names = class_folder_names(inner, ImageFiles.scan(inner))
    return inner if names and not any(map(names_no_class, names)) else None


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


def _unknown_layout(folder: Path, layout: str | None) -> str:
    found = sorted(printable(path.name) + ("/" if path.is_dir() else "") for path in folder.iterdir() if is_data(path))
    shown = ", ".join(found[:12]) + (f" and {len(found) - 12} more" if len(found) > 12 else "")
    if layout is not None:
        return (
            f"{folder} does not have the layout {layout} (it holds {shown or 'nothing'}), which is\n"
            f"  {READERS[layout].layout}"
        )
    layouts = "\n".join(f"  {name}: {reader.layout}" for name, reader in READERS.items())
    return f"{folder} has none of the known layouts (it holds {shown or 'nothing'}). The known layouts are\n{layouts}"
