"""Names of numbered classes: the list that names them, and whether the folders of the images agree with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer.common.errors import DataError, listed
from trainer.data.readers.columns.label_names import is_usual_label
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.tables.reading.table_files import read_lines, read_table

_HEADERS = ("name", "names", "classes", "categories")
_NUMBERED = re.compile(r"(\d+)(?:[.\-_\s]+(.+))?")
Names = Mapping[str, str]


def says_classes(path: Path) -> bool:
    """Whether the name of a file says that it holds labels or classes."""
    return any(word in path.stem.lower() for word in ("label", "class", "categor", "target", "species"))


def class_names(
    labels: Sequence[str], pairs: Mapping[Path, Names], lists: Sequence[Path], encoding: str | None
) -> tuple[Path, Names, str] | str:
    """The file that names the classes, the names by label, and a note; or why no list is used, empty without a list.

    Args:
        labels: the distinct labels of the images.
        pairs: the lists that number the classes, with the name by number.
        lists: the other files that may list the classes, one a line.
    """
    numbered = {path: _numbered_lines(_lines(path, encoding)) for path in [*pairs, *lists]}
    pairs = {**pairs, **{path: names for path, names in numbered.items() if names}}
    full = [path for path, names in pairs.items() if set(labels) <= names.keys()]
    if len(full) == 1:
        if len({pairs[full[0]][label] for label in labels}) < len(labels):
            return f"{full[0].name} gives one name to several classes, so that the classes keep their numbers"
        return full[0], dict(pairs[full[0]]), f"{full[0].name} names the classes"
    if len(full) > 1:
        return f"{listed(path.name for path in full)}: each could name the classes, so that they keep their numbers"
    ordered = {path: lines for path in dict.fromkeys([*pairs, *lists]) if (lines := _lines(path, encoding))}
    fitting = {path: given for path, lines in ordered.items() if (given := _in_order(labels, lines)) is not None}
    if len(fitting) == 1:
        ((path, names),) = fitting.items()
        first = min(names, key=int)
        return path, names, f"{path.name} names the classes in its order, from {first}"
    if not ordered:
        return ""
    path, lines = next(iter(ordered.items()))
    missing = [label for label in labels if label not in pairs[path]] if path in pairs else []
    why = (
        f"it has no line for the label{'s' * (len(missing) > 1)} {listed(missing, 4)}"
        if missing
        else f"its {len(lines)} lines do not fit the labels {listed(labels, 4)}, of which there are {len(labels)}"
    )
    return (
        f"{path.name} does not name the classes, which keep their numbers: {why}. Write the number and the name of "
        "each class there, such as '1 cat'"
    )


def check_named_folders(
    labels: Mapping[str, str], folders: Mapping[str, str], names: Sequence[str], source: Path, listing: Path
) -> None:
    """Check named labels against the folders that have the name or the number of a class.

    Args:
        labels: the name of the class of each image.
        folders: the name of the folder of each image.
        names: the names of all classes, also of those without images.
        source: the table of labels.
        listing: the list of names.

    Raises:
        DataError: images lie in the folder of another class.
    """
    owners = _owners(set(folders.values()), [*dict.fromkeys([*names, *labels.values()])])
    wrong = [key for key, label in labels.items() if owners.get(folders[key], label) != label]
    if wrong:
        raise contradiction(source, wrong, labels, folders, f"{source.name} or {listing.name}")


def contradiction(
    source: Path, wrong: Sequence[str], labels: Mapping[str, str], folders: Mapping[str, str], mend: str = "the table"
) -> DataError:
    """The error for the images ``wrong`` that lie in another class's folder; ``mend`` names what to correct."""
    return DataError(
        f"{source.name} labels the image {wrong[0]!r} as {labels[wrong[0]]!r}, but it lies in the folder "
        f"{folders[wrong[0]]!r}: {len(wrong)} of {len(labels)} labels contradict the folders. Correct {mend}, "
        "or add --layout folders (data.layout)"
    )


def _owners(folders: set[str], names: Sequence[str]) -> dict[str, str]:
    """The class of each folder by its name, else by its number; empty where few folders have that of a class."""
    for key_of in (_word, _number):
        classes: dict[str, str] = {}
        for name in names:
            key = key_of(name)
            if key:
                classes[key] = "" if key in classes else name  # two classes have this key: it names none
        found = {folder: owner for folder in folders if (owner := classes.get(key_of(folder), ""))}
        every = key_of is _word or len(found) == len(folders)
        if every and len(set(found.values())) > 1 and len(found) * 2 > len(folders):
            return found
    return {}


def _word(name: str) -> str:
    """A name without its number, case, blanks and punctuation; empty for a number alone."""
    numbered = _NUMBERED.fullmatch(composed(name).strip())
    return re.sub(r"[\W_]+", "", (numbered[2] or "") if numbered else composed(name)).casefold()


def _number(name: str) -> str:
    numbered = _NUMBERED.fullmatch(composed(name).strip())
    return str(int(numbered[1])) if numbered else ""


def _in_order(labels: Sequence[str], lines: Sequence[str]) -> Names | None:
    """The lines by number, if the labels are whole numbers from 0 or 1 to the last line; None if they are not."""
    if len(set(lines)) < len(lines) or _numbered_lines(lines):
        return None
    if not all(label.isascii() and label.isdecimal() and str(int(label)) == label for label in labels):
        return None
    numbers = sorted(map(int, labels))
    first = 0 if numbers[0] == 0 else 1
    if numbers[-1] != len(lines) - 1 + first:
        return None
    return {str(number): line for number, line in enumerate(lines, first)}


def _numbered_lines(lines: Sequence[str]) -> Names:
    """The name by number, if each line is a number, a delimiter and a name; else empty."""
    found = [match for line in lines if (match := re.fullmatch(r"(\d+)[\s,;:]+(.+)", line))]
    names = {match[1]: match[2] for match in found}
    return names if len(names) == len(lines) else {}


def _lines(path: Path, encoding: str | None) -> list[str]:
    """The lines of a file with one class in each, without a header; empty for another file."""
    try:
        if path.suffix.lower() == ".txt":
            found = read_lines(path, encoding)
        else:
            found = [row[0] for row in read_table(path, encoding=encoding).rows if len(row) == 1]
    except DataError:  # no list of classes
        return []
    lines = [line.strip() for line in found if line.strip()]
    if lines and (is_usual_label(lines[0]) or lines[0].lower() in _HEADERS):
        del lines[0]
    return lines
