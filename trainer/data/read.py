"""Read a data folder of any known layout into an `ImageSet`, and check every image."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from trainer.common.errors import DataError, listed
from trainer.data.corrections.apply import ADVICE, Corrected, apply_again, apply_corrections_beside
from trainer.data.corrections.two_labels import with_two_labels
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.inspection import InspectedImages, Progress, inspect_images
from trainer.data.names.own_files import is_data
from trainer.data.names.parts import split_of
from trainer.data.readers import folder_layout, table_layout
from trainer.data.readers.base import Reader, ReadResult
from trainer.data.readers.columns.label_names import any_usual_label
from trainer.data.readers.doubts.folders.folder_choice import below_tables
from trainer.data.readers.doubts.formulas import formula_warnings
from trainer.data.readers.doubts.groups.grouping_names import grouping_names
from trainer.data.readers.doubts.layout_advice import layout_advice
from trainer.data.readers.doubts.other_tables import may_give_labels, other_tables
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.named_path import path_as_spelled
from trainer.data.readers.npz import npz_layout
from trainer.data.readers.parts.json_names import names_nothing
from trainer.data.readers.tables.choice.labels_of_others import labels_other_images
from trainer.data.readers.tables.find_tables import find_tables, unread_tables
from trainer.data.readers.tables.reading.records.tables import forget_tables
from trainer.data.readers.tables.reading.table_files import first_rows, is_table
from trainer.data.value_ranges import measure_ranges, with_level_warning, with_ranges
from trainer.formats.label_tables import CORRECTIONS_FILE, Correction
from trainer.inference.file_kinds import ARCHIVES
from trainer.inference.pixel_values import Ranges
from trainer.inference.printable import name_problem, printable

__all__ = ["READERS", "DataError", "DataOptions", "ImageSet", "read_images"]

_DOCUMENT = re.compile(
    r".*\.(?:md|rst|pdf|html?|docx?|rtf|bib|m|py|ipynb)|(?:read[\W_]*me|licen[cs]e|copying|notice|citation|change[\W_]*log)"
    r"[\w\-]*(?:\.\w+)?",
    re.IGNORECASE,
)

_SEARCHED_ROWS = 1000  # of a table beside class folders

_TEST_ADVICE = (
    "Test images cannot be left out, because a submission has a row for each. Fetch their files again, or put a "
    "readable image in their place: its prediction then means little"
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
    finally:
        forget_tables()
    corrected = Corrected(image_set=result.image_set)
    if corrections is not None:
        corrected = apply_again(result.image_set, corrections)
    elif data_options.corrections:
        corrected = apply_corrections_beside(result.image_set)
    problems = [*result.problems, *corrected.problems]
    image_set = with_two_labels(corrected.image_set)
    image_set = measure_ranges(image_set) if ranges is None else with_ranges(image_set, ranges)
    image_set = _with_name_warnings(image_set)
    bad_train: dict[int, str] = {}
    bad_test: dict[int, str] = {}
    if verify or data_options.skip_bad:
        image_set, bad_train, bad_test = _inspect(image_set, progress)
        problems += bad_test.values()
        image_set = with_level_warning(image_set)
    skippable = [*(problem.message for problem in result.skippable), *bad_train.values()]
    repeated = [problem.message for problem in result.skippable if problem.lost_id is None]
    if data_options.skip_bad and not problems and skippable:
        lost = [problem.lost_id for problem in result.skippable if problem.lost_id is not None]
        left_out = [f"left out: {message}" for message in skippable if message not in repeated]
        taken = [f"the first row of each label was taken: {message}" for message in repeated]
        packed = [result.advice] * bool(result.advice and lost)
        return image_set.without(bad_train, lost, [*packed, *left_out, *taken])
    if problems or skippable:
        advice = "" if problems else _skip_advice(len(skippable), only_repeated=len(repeated) == len(skippable))
        of_test = _TEST_ADVICE if bad_test else ""
        advice = "\n".join(filter(None, (result.advice, ADVICE if corrected.problems else "", of_test, advice)))
        raise DataError([*problems, *([] if data_options.skip_bad else skippable)], advice)
    return image_set


def _skip_advice(count: int, *, only_repeated: bool) -> str:
    if only_repeated:
        return "To take the first row of each label, add --skip-bad"
    return f"To continue without {'it' if count == 1 else 'them'}, add --skip-bad"


def _with_name_warnings(image_set: ImageSet) -> ImageSet:
    """The set with warnings about names of any layout: formulas of spreadsheets, and images that belong together."""
    formulas = formula_warnings((*image_set.train_ids, *image_set.test_ids), image_set.class_names)
    found = [*formulas, *grouping_names(image_set)]
    return dataclasses.replace(image_set, warnings=(*image_set.warnings, *found)) if found else image_set


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
    if layout == "folders" and (found := _read_below_tables(folder, inner, options)) is not None:
        return found
    while True:
        for name, reader in READERS.items():
            result = _read_as(reader, folder, inner, options) if layout in (None, name) else None
            if result is not None:
                return result
        only = _only_folder(inner)
        if only is None and layout is None and not _may_hold_labels(inner, options):
            found = _read_below_tables(folder, inner, options)
            if found is not None:
                return found
        if only is None:
            advice = (layout_advice(inner, options), _begins_inside(folder, inner))
            raise DataError(_unknown_layout(folder, layout), "\n".join(filter(None, advice)))
        inner = only


def _read_below_tables(folder: Path, inner: Path, options: DataOptions) -> ReadResult | None:
    """Read the only folder in ``inner``, which holds class folders, with a warning of the tables beside it; else None.

    Tables inside of it mean what they mean in a data folder: ``train_test_split.txt`` of ``CUB_200_2011/``, beside
    which ``attributes.txt`` lies.
    """
    classes = below_tables(inner, ImageFiles.scan(inner))
    if classes is None:
        return None
    only = inner / classes.relative_to(inner).parts[0]
    try:
        found = _read(only, options)
    except DataError as error:
        raise DataError(
            error.problems, "\n".join(filter(None, (error.advice, _begins_inside(folder, only))))
        ) from error
    unread = unread_tables(find_tables(inner, options.encoding), (), f"{printable(only.name)}/ holds the labels")
    if others := other_tables(inner):
        unread.append(f"not read: {listed(path.name for path in others)}")
    warnings = (*found.image_set.warnings, *unread)
    return dataclasses.replace(found, image_set=dataclasses.replace(found.image_set, warnings=warnings))


def _may_hold_labels(folder: Path, options: DataOptions) -> bool:
    """Whether tables or other files in a folder, none of which names an image in it, may label other images."""
    others = [path for path in other_tables(folder) if may_give_labels(path)]
    images = ImageFiles.scan(folder).paths if others else ()
    if not all(names_nothing(path, images) for path in others):
        return True
    tables = (first_rows(path, _SEARCHED_ROWS, encoding=options.encoding) for path in find_tables(folder).labels)
    return any(bool(rows) and (any_usual_label(rows[0]) or labels_other_images(rows, ())) for rows in tables)


def _read_as(reader: Reader, folder: Path, inner: Path, options: DataOptions) -> ReadResult | None:
    """Read ``inner`` with a reader. An error says where its paths begin, if ``inner`` is not the data ``folder``."""
    try:
        return reader.read(inner, options)
    except DataError as error:
        if inner == folder:
            raise
        advice = (error.advice, _begins_inside(folder, inner))
        raise DataError(error.problems, "\n".join(filter(None, advice))) from error


def _begins_inside(folder: Path, inner: Path) -> str:
    """Where the paths in messages about ``inner`` begin; empty if it is the data ``folder``."""
    if inner == folder:
        return ""
    return f"All paths here begin inside of {printable(inner.relative_to(folder).as_posix())}"


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
    """``folder``, or the innermost of the only folders inside that holds tables or further folders.

    Tables, lists and folders there mean what they mean in a data folder, such as ``test.csv`` and ``splits/test.txt``.

    Args:
        table: path of the table that the user named, which has to be in the folder.
    """
    found, inner = folder, _only_folder(folder)
    while inner is not None and split_of(inner.name) is None:
        entries = [path for path in inner.iterdir() if path.is_file() and is_table(path)]
        names = [path.name for path in entries if path.name != CORRECTIONS_FILE]
        holds_more = any(path.is_dir() and is_data(path) for path in inner.iterdir())
        holds_more = holds_more or not all(map(_DOCUMENT.fullmatch, names))
        if holds_more and (table is None or path_as_spelled(inner, table).is_file()):
            found = inner
        inner = _only_folder(inner)
    return found


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
