"""Choose the column that names the images of a table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from trainer.common.errors import DataError, listed
from trainer.data.names.further import WORDS_FOR_IMAGES
from trainer.data.names.words import words_in
from trainer.data.readers.columns.label_names import is_usual_label, plain_name
from trainer.data.readers.matching.id_spellings import is_image_name, unpadded
from trainer.data.readers.matching.image_files import IMAGE_SUFFIXES
from trainer.data.readers.matching.match_images import ColumnMatch

_WHOLE = re.compile(r"(\d{1,18})(?:\.0+)?", re.ASCII)
PROBED_ROWS = 200  # rows read to decide what a column holds
ID_NAMES = (
    "id", "ids", "image_id", "imageid", "image", "images", "img", "img_id", "filename", "file_name", "file", "name",
    "path", "filepath", "file_path", "image_path", "img_path", "image_name", "img_name", "uuid",
)  # fmt: skip
"""Usual names of id columns."""
_NAMES_OF_IMAGES = tuple(name for name in ID_NAMES if re.search("image|img|file|path", name))
_OF_IMAGES = re.compile(
    r"(?:.*[^a-z])?(?:photo|picture|pic|image|img|frame|slide|file|sample|scan|shot|asset|media|item|jpe?g|png|tiff?"
    r"|tile|patch|crop|page|plate|card|figure|fig|snapshot|capture|recording|record|specimen)s?"
    r"(?:[^a-z]*(?:id|no|nr|num|number|name|key|ref))?"
)
_UNITS = frozenset((
    "sample", "specimen", "slide", "plate", "item", "record", "recording", "card", "asset", "media",
))  # fmt: skip
"""Words for what has an image, or several: a specimen, a slide."""
_FILES = ("file", "datei", "fichier", "archivo", "arquivo", "bestand", "\u0444\u0430\u0439\u043b", "ファイル", "文件")
_STARTS = tuple(word for word in (*WORDS_FOR_IMAGES, *_FILES) if len(word) > 2 or not word.isascii())
_ONE_NUMBER = re.compile(r"(\D*?)0*(\d{1,18})\D*", re.ASCII)
_NUMBERS = ("no", "no.", "nr", "nr.", "#")
_COUNTER_NAMES = ("", "index", "idx", "row", "level_0", *_NUMBERS)


def image_column(
    file: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    free: Sequence[int],
    matches: Sequence[ColumnMatch],
    sampled: int | None,
    notes: list[str],
) -> int:
    """The column that names the images.

    Distinct images are counted: a column of labels 0 and 1 may name 0.png and 1.png too, but only these two. Among the
    columns that name many, a file name or path goes before a number, the usual name of an id column before another
    one, and a column that numbers the rows comes last.

    Raises:
        DataError: two columns of the same kind name different images, or only numbers name images, while another
            column holds file names.
    """
    found = {column: len(set(matches[column].paths.values())) for column in free}
    most = max(found.values(), default=0)
    if not most:
        return free[0] if free else 0

    def rank(column: int) -> int:
        cells = list(matches[column].paths)
        explicit = sum(is_file_name(cell) for cell in cells) * 2 > len(cells)
        usual = plain_name(names[column]) in ID_NAMES or column == sampled
        if explicit:
            return 0 if usual else 1
        return 4 if is_counter(names[column]) else 2 if usual else 3

    many = [column for column in free if found[column] * 2 >= most]
    many = [column for column in many if not is_usual_label(names[column])] or many
    best = min(map(rank, many))
    first = [column for column in many if rank(column) == best]
    chosen = sampled if sampled in first else max(first, key=lambda column: found[column])
    assert chosen is not None, "one column names images"
    rivals = [column for column in first if column != chosen]
    # The number of a row, or of an annotation, may have the usual name of an id column.
    counts = is_sequence([row[chosen] for row in rows])
    unusual = [c for c in many if rank(c) == best + 1 == 3 and c not in rivals]
    rivals += [c for c in unusual if counts or refers_to_images(names[c]) or _fits_as_well(rows, found, chosen, c)]
    # Beside a column without a usual name, a number may be that of the image.
    rivals += [c for c in many if best == 3 and names[c].strip().lower() in _NUMBERS and c not in (chosen, *rivals)]
    # Beside an id, a column of file names without a usual name may refer to other images: duplicate_of, source_file.
    rivals += [
        c
        for c in many
        if best == 1 and rank(c) == 2 and not _is_word_for_images(names[chosen]) and _all_differ(rows, c)
    ]
    rivals = [column for column in rivals if _differ(rows, matches, chosen, column)]
    if rivals and chosen != sampled:
        both = listed(names[column] for column in sorted((chosen, *rivals)))
        raise DataError(
            f"{file}: the columns {both} name images, but different ones in the same row. Choose one with "
            "--id-column NAME (data.id_column)"
        )
    if all(_WHOLE.fullmatch(cell.strip()) for cell in matches[chosen].paths):
        counted = is_counter(names[chosen])
        unfound = [c for c in free if found[c] * 2 < most and _unfound_names(rows, c)]
        unfound += [c for c in free if counted and not found[c] and plain_name(names[c]) in _NAMES_OF_IMAGES]
        if unfound:
            cell = next(row[unfound[0]] for row in rows if row[unfound[0]].strip())
            raise DataError(
                f"{file}: the numbers in {names[chosen]!r} name images, but the column {names[unfound[0]]!r} holds "
                f"file names that the folder lacks, such as {cell!r}. Rename the files to these names, or choose the "
                "column of image names with --id-column NAME (data.id_column)"
            )
        apart = [c for c in free if c not in many and _numbers_images_otherwise(names[c], rows, chosen, c)]
        if apart:
            cell = next(row[apart[0]] for row in rows if row[apart[0]].strip())
            raise DataError(
                f"{file}: the numbers in {names[chosen]!r} name images, but those in {names[apart[0]]!r}, such as "
                f"{cell!r}, would name others in the same rows. If {names[chosen]!r} holds the names of the images, "
                f"add --id-column {shlex.quote(names[chosen])} (data.id_column); else write file names into the table"
            )
    passed_over = [names[c] for c in many if c != chosen and _differ(rows, matches, chosen, c)]
    if passed_over:
        notes.append(
            f"the values of {listed(passed_over)} are not read as image names, though there are such files; "
            "--id-column NAME (data.id_column) chooses another column"
        )
    return chosen


def _is_word_for_images(name: str) -> bool:
    """Whether the name of a column is a single word for images, such as ``photo`` or ``frame``."""
    return _OF_IMAGES.fullmatch(plain_name(name)) is not None and "_" not in plain_name(name)


def _all_differ(rows: Sequence[Sequence[str]], column: int) -> bool:
    cells = [row[column] for row in rows[:PROBED_ROWS]]
    return len(set(cells)) == len(cells)


def refers_to_images(name: str) -> bool:
    """Whether the name of a column says that its cells may name images: ``photo_id``, ``frame``, ``file no``."""
    return plain_name(name) in _NAMES_OF_IMAGES or _OF_IMAGES.fullmatch(plain_name(name)) is not None


def says_image(name: str) -> bool:
    """Whether a column is called after an id, an image or a file, and not after what may have several images."""
    plain, words = plain_name(name), words_in(name)
    if plain in ID_NAMES:
        return True
    return _UNITS.isdisjoint(word.removesuffix("s") for word in words) and (
        refers_to_images(name) or any(word.startswith(_STARTS) for word in words)
    )


def _numbers_images_otherwise(name: str, rows: Sequence[Sequence[str]], chosen: int, other: int) -> bool:
    """Whether a column such as ``photo 17`` holds a number in each row, which the chosen column gives to another row.

    Its name or its cells speak of images, and the numbers differ.
    """
    found = [(row[chosen].strip(), _ONE_NUMBER.fullmatch(row[other].strip())) for row in rows]
    numbers = {number[2]: own for own, number in found if number is not None}
    if len(numbers) < len(rows):
        return False
    words = {word for _, number in found if number is not None for word in words_in(number[1])}
    known = {unpadded(own) for own, _ in found}
    if not (says_image(name) or (words and words <= WORDS_FOR_IMAGES)) or 2 * len(known & numbers.keys()) < len(rows):
        return False
    return any(unpadded(own) != number for number, own in numbers.items())


def _fits_as_well(rows: Sequence[Sequence[str]], found: Mapping[int, int], chosen: int, other: int) -> bool:
    """Whether another column than the chosen one has an image of its own for each row, too, and does not count rows."""
    cells = [row[other] for row in rows[:PROBED_ROWS]]
    return found[other] >= found[chosen] and _all_differ(rows, other) and not is_sequence(cells)


def is_file_name(cell: str) -> bool:
    """Whether a cell is a path, or ends like the name of an image file."""
    return "/" in cell or "\\" in cell or PurePosixPath(cell.strip()).suffix.lower() in IMAGE_SUFFIXES


def _differ(rows: Sequence[Sequence[str]], matches: Sequence[ColumnMatch], one: int, other: int) -> bool:
    """Whether two columns name different images in a probed row."""
    for row in rows[:PROBED_ROWS]:
        path, other_path = matches[one].paths.get(row[one]), matches[other].paths.get(row[other])
        if path is not None and other_path is not None and path != other_path:
            return True
    return False


def counts_rows(names: Sequence[str], rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether a column without a telling name numbers the rows."""
    return is_counter(names[column]) and is_sequence([row[column] for row in rows])


def is_counter(name: str) -> bool:
    """Whether a column has no name, or one of a row number."""
    return name.strip().lower() in _COUNTER_NAMES or name.startswith("Unnamed")


def is_sequence(cells: Sequence[str]) -> bool:
    """Whether the cells are whole numbers that always rise, or always fall; rows that were removed leave gaps."""
    found = [_WHOLE.fullmatch(cell.strip()) for cell in cells]
    numbers = [int(number[1]) for number in found if number]
    steps = [after - before for before, after in pairwise(numbers)]
    return 0 < len(numbers) == len(cells) and (all(step > 0 for step in steps) or all(step < 0 for step in steps))


def _unfound_names(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether most cells of a column are names of image files, and most of them differ."""
    cells = [row[column] for row in rows[:PROBED_ROWS] if row[column].strip()]
    named = {cell for cell in cells if is_image_name(cell)}
    return len(named) * 2 > len(cells)
