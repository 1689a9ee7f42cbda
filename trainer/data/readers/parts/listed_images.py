"""The images that a text file, a CSV or a TSV file lists, and the labels beside them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError
from trainer.data.readers.matching.id_spellings import composed, has_image_suffix
from trainer.data.readers.tables.reading.table_files import is_surely_table, read_lines, read_table
from trainer.formats.class_lists import odd_rows
from trainer.formats.text.blank_labels import split_at_label

_QUOTED = re.compile(r"\s*\"([^\"]+)\"")
_QUOTED_LABEL = re.compile(r"(.*[^\s,;|])[\s,;|]+\"([^\"]*)\"\s*")
_FIELD_END = re.compile(r"[\t;|]")
"""Signs that no file name has, as a rule. Blanks and commas are in some."""


def listed_images(path: Path, known: Mapping[str, str], encoding: str | None) -> tuple[list[str], list[str]]:
    """The images that the lines or a column of a file name, and the entries that name none.

    Numbers may follow the name in a line. A header is no entry.
    """
    found: dict[str, None] = {}
    lost = []
    for entry, _ in _entries(path, known, encoding):
        if name := _named(entry, known):
            found[name] = None
        else:
            lost.append(entry)
    return list(found), lost


def check_labels(
    path: Path, name: str, known: Mapping[str, str], classes: Collection[str], encoding: str | None
) -> None:
    """Check the labels beside the images of a list against the class folders.

    Args:
        name: the file's name in messages.
        known: the image of each spelling of its path.
        classes: names of the class folders.

    Raises:
        DataError: labels that mean the folders, by name or by number, contradict some.
    """
    listed = [(image, fields) for entry, fields in _entries(path, known, encoding) if (image := _named(entry, known))]
    places = {image: [part for part in PurePosixPath(image).parts[:-1] if part in classes][-1:] for image, _ in listed}
    rows = [(image, fields, places[image][0]) for image, fields in listed if places[image]]
    for column in range(min((len(fields) for _, fields, _ in rows), default=0)):
        labels = [fields[column] for _, fields, _ in rows]
        for row in odd_rows(labels, [folder for *_, folder in rows])[:1]:
            raise DataError(
                f"{name} labels {rows[row][0]} as {labels[row]!r}, but it lies in the folder {rows[row][2]!r}. Correct "
                "the one or the other; --layout folders (data.layout) trains on all images with the names of their "
                "folders as labels"
            )


def _named(entry: str, known: Mapping[str, str]) -> str | None:
    """The image that an entry names; a label or numbers may follow, or stand before a path."""
    text = _plain(entry)
    if quoted := _QUOTED.match(entry):
        text = _plain(quoted[1].strip())
    if labelled := _QUOTED_LABEL.fullmatch(entry):
        text = _plain(labelled[1].strip())
    ends = [text, text.rpartition(" ")[0].rstrip(" ,"), text.rpartition(",")[0], *_without_numbers(text)]
    first, *others = map(_plain, map(str.strip, _FIELD_END.split(text)))
    ends += [first, *(field for field in others if "/" in field or has_image_suffix(field))]
    last = re.split(r"[\s,;|]+", text)[-1]
    if "/" in last or has_image_suffix(last):
        ends.append(last)
    ways = [end.strip() for end in (*ends, *_endings(ends))]
    return next(filter(None, map(known.get, (*ways, *map(str.casefold, ways)))), None)


def _endings(texts: Iterable[str]) -> Iterator[str]:
    """The endings of paths from another machine that keep a folder: ``cat/1.jpg`` of ``/home/me/cat/1.jpg``."""
    for text in texts:
        parts = text.split("/")
        yield from ("/".join(parts[start:]) for start in range(1, len(parts) - 1))


def _entries(path: Path, known: Mapping[str, str], encoding: str | None) -> list[tuple[str, list[str]]]:
    """The entries of a list with the fields that follow; those of a CSV file are the cells that name most images."""
    if (rows := _columns_of_images(path, known, encoding)) is not None:
        return rows
    try:
        lines = read_lines(path, encoding)
    except DataError:  # no list
        return []
    unquoted = not any('"' in line for line in lines)
    if unquoted and (split := split_at_label(lines)) is not None:  # a list of labels with blanks
        return [(row[0], row[1:]) for row in split]
    found: list[tuple[str, list[str]]] = []
    for line in filter(None, map(str.strip, lines)):
        fields = re.split(r"[\s,;|]+", line.strip(",;|"))
        if len(fields) > 1 and all(has_image_suffix(field) and known.get(_plain(field)) for field in fields):
            found += [(field, []) for field in fields]  # several images in one line
            continue
        label = fields[:1] if _named(fields[-1], known) else fields[-1:]
        if quoted := _QUOTED_LABEL.fullmatch(line):
            label = [quoted[2]]
        found.append((line, [] if known.get(_plain(line)) or len(fields) < 2 else label))
    return found


def _columns_of_images(
    path: Path, known: Mapping[str, str], encoding: str | None
) -> list[tuple[str, list[str]]] | None:
    """The cells of the column of a CSV or TSV file that names most images, with the others; None for another file."""
    if not is_surely_table(path):
        return None
    try:
        rows = [[cell.strip() for cell in row] for row in read_table(path, encoding=encoding).rows]
    except DataError:  # a list in spite of its extension
        return None
    named = [sum(_named(row[column], known) is not None for row in rows) for column in range(len(rows[0]))]
    if not max(named):
        return None
    paths = [sum("/" in row[column] or has_image_suffix(row[column]) for row in rows) for column in range(len(rows[0]))]
    # The number of a row may be the name of an image, too.
    best = max(range(len(named)), key=lambda column: (named[column] * 2 >= max(named), paths[column], named[column]))
    header = not _named(rows[0][best], known) and not has_image_suffix(rows[0][best])
    return [(row[best], row[:best] + row[best + 1 :]) for row in rows[header:] if row[best]]


def _plain(entry: str) -> str:
    return composed(entry.replace("\\", "/").strip("\"'").removeprefix("./"))


def _without_numbers(text: str) -> list[str]:
    """The first field of a line whose other fields are numbers: ``Abyssinian_100`` of ``Abyssinian_100 1 1 1``."""
    first, *rest = text.replace(",", " ").split() or [""]
    return [first] if rest and all(field.lstrip("-").isdecimal() for field in rest) else []
