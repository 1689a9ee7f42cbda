"""Warnings about labels that may be none, or several: words and numbers for unlabelled images, probabilities, lists."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from trainer.common.errors import counted, listed
from trainer.data.names.put_aside import is_unsure
from trainer.data.readers.columns.choose_columns import Columns
from trainer.data.readers.columns.several.other_marks import OTHER_MARKS, lists_by_marks, shown
from trainer.data.readers.columns.several_labels import JSON, SEPARATORS
from trainer.data.readers.doubts.one_meaning import labels_of_one_meaning
from trainer.data.readers.doubts.typing_errors import typing_errors
from trainer.data.readers.matching.id_spellings import has_image_suffix
from trainer.formats.delimited import Table
from trainer.formats.labels import SeveralLabels, is_number, letters_among
from trainer.formats.shares import share

_WORDS = frozenset((
    "na", "none", "unknown", "unk", "unlabeled", "unlabelled", "nolabel", "notlabeled", "notlabelled", "withoutlabel",
    "notavailable", "missing", "undefined", "unassigned", "unclassified", "unannotated", "tbd", "todo",
    "test", "testing", "testset", "holdout", "heldout", "unsure", "notsure", "uncertain", "unclear", "ambiguous",
    "canttell", "cannottell", "nil", "nd", "ka", "keineangabe", "unbekannt", "unbestimmt", "inconnu", "desconocido",
    "sconosciuto", "\u043d\u0435\u0438\u0437\u0432\u0435\u0441\u0442\u043d\u043e", "\u4e0d\u660e", "skip", "skipped",
    "ignore", "exclude", "excluded", "delete", "deleted", "remove", "corrupt", "badimage", "error", "seecomment",
    "pending", "tocheck", "tobechecked", "checkagain", "recheck", "invalid", "notvalid", "duplicate", "duplicated",
    "seenote", "seenotes", "same",
))  # fmt: skip
"""Words for a missing label, without blanks and punctuation."""
_OPPOSITES = {
    "same": ("different", "other", "notsame"), "invalid": ("valid",), "notvalid": ("valid",),
    "duplicate": ("unique", "original", "notduplicate"), "pending": ("done", "approved", "completed"),
}  # fmt: skip
"""Labels beside which such words are classes."""
_MARKS = re.compile(r"[?\-_.*/\[\](){}\u2013\u2014\uff1f]+")
_NO_LABEL = re.compile(r"255|99+")  # whole numbers above those of the classes
_LATIN = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425"
    "\u03bf\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
    "aeopcyxijsABEKMHOPCTXoABEZHIKMNOPTYX",
)
"""Cyrillic and Greek letters that look like Latin ones."""
_OF_SPREADSHEET = re.compile(
    r"\d{1,2}-(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
    r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)-\d{2}"
    r"|\d{1,2}\.\d{1,2}\.(?:19|20)\d\d|(?:19|20)\d\d-\d\d-\d\d(?: 00:00:00)?",
    re.IGNORECASE,
)
_DENIAL = re.compile(r"(?:[-!~\u00ac]\s*|(?:not?|kein|keine|without|non)[ _-])(.+)", re.IGNORECASE)
_NOTATIONS = (("0", "1"), ("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"))
_FEW_VALUES = 5  # fewer numbers with fractions may be grades
_MANY_VALUES = 10  # more whole numbers than so many, for half of the images, may be measured
_FEW_IMAGES, _RARER = 3, 3  # a number of so few images, so many times fewer than any other label has, may be a slip
_SURE = 0.999  # a probability from which a label is no soft one


def names_of_images(where: str, labels: Sequence[str]) -> list[str]:
    """A problem if every label is the name of an image file, as in a column of originals or masks.

    Args:
        where: name of the table.
        labels: its different labels.
    """
    if not labels or not all(map(has_image_suffix, labels)):
        return []
    return [
        f"{where}: every label is the name of an image file, such as {labels[0]!r}; if these are labels nevertheless, "
        "or another column holds them, add --label-column NAME (data.label_column)"
    ]


def doubtful_labels(
    where: str, labels: Iterable[str], *, lists: bool = True, cells: bool = False, doubted: Collection[str] = ()
) -> list[str]:
    """A warning for each label that may mark unlabelled images; ``where`` names the table.

    Args:
        lists: whether to warn of labels that may be lists of several.
        cells: whether the labels are cells of a table, where more marks may separate them than in names of folders.
        doubted: labels of which another warning says that they may be none.
    """
    counts = Counter(labels)
    return [
        *_measured(where, counts),
        *_look_alikes(where, counts),
        *_two_notations(where, counts),
        *labels_of_one_meaning(where, counts),
        *typing_errors(where, counts),
        *_dates(where, counts),
        *_documents(where, counts),
        *(_several(where, counts, cells=cells) if lists else ()),
        *(
            f"{where}: the label {label!r} ({counted(counts[label], 'image')}) is read as a class of its own; if it "
            "marks unlabelled images, remove them from the training data"
            for label in sorted(counts)
            if (_is_word(label) and label not in doubted and not _has_opposite(label, counts))
            or _is_number_for_none(label, counts.keys() - {label})
            or ((sure := label.rstrip("?\uff1f ")) != label and sure in counts)
        ),
        *(
            f"{where}: the label {label!r} ({counted(counts[label], 'image')}) is read as a class of its own, though "
            "the others are no such numbers; if it is an error, correct it"
            for label in sorted(counts)
            if _is_stray_number(label, counts) and not _is_number_for_none(label, counts.keys() - {label})
        ),
    ]


def _measured(where: str, counts: Counter[str]) -> list[str]:
    """A warning if the labels seem to be measured values: numbers, most of them with fractions or of few images."""
    if len(counts) < _FEW_VALUES or not all(map(is_number, counts)):
        return []
    if sum(_whole(label) is None for label in counts) * 2 > len(counts):
        kind = f"numbers with fractions, such as {min(counts)}"
    elif len(counts) > max(_MANY_VALUES, counts.total() // 2):
        kind = "numbers, most of them of a single image"
    else:
        return []
    return [
        f"{where}: the labels are {kind}: each of the {len(counts)} values is "
        "read as a class of its own, because regression is not supported; write ranges as labels, or choose "
        "another column"
    ]


def _documents(where: str, counts: Counter[str]) -> list[str]:
    """A warning if labels are objects of JSON, as annotation tools write them."""
    found = sorted(filter(JSON.fullmatch, counts))
    if not found:
        return []
    return [
        f"{where}: {len(found)} of {len(counts)} labels are JSON, such as {found[0][:60]!r}; write the class alone "
        "into the table"
    ]


def _two_notations(where: str, counts: Counter[str]) -> list[str]:
    """A warning if labels say yes and no in several ways, as 1 and True, or a letter stands for a digit."""
    words = counts.keys() - letters_among(counts)
    found = [sorted(label for label in words if label.casefold() in pair) for pair in _NOTATIONS]
    mixed = [labels for labels in found if labels]
    warnings = []
    if len(mixed) > 1:
        shown = listed(sorted(label for labels in mixed for label in labels), 6)
        warnings.append(
            f"{where}: the labels {shown} are read as classes of their own; if some mean the same, write them alike"
        )
    warnings += [
        f"{where}: the label {letter!r} ({counted(counts[letter], 'image')}) is a letter beside the number {digit!r}; "
        "if it is meant to be the digit, correct it"
        for letter, digit in (("O", "0"), ("o", "0"), ("l", "1"), ("I", "1"))
        if letter in counts and digit in counts
    ]
    return warnings


def _dates(where: str, counts: Counter[str]) -> list[str]:
    """A warning about labels that a spreadsheet has turned into dates, as it does with ``3-5`` and ``MARCH5``."""
    dates = sorted(filter(_OF_SPREADSHEET.fullmatch, counts))
    if not dates:
        return []
    plural = "s" * (len(dates) > 1)
    return [
        f"{where}: the label{plural} {listed(dates, 4)} may be what a spreadsheet made of another label, such as 3-5; "
        "if so, write the original into the table, in columns of the format text"
    ]


def _look_alikes(where: str, counts: Counter[str]) -> list[str]:
    """A warning for each pair of labels that differ only in letters of other alphabets that look like Latin ones."""
    first: dict[str, str] = {}
    found = []
    for label in sorted(counts, key=lambda name: (not name.isascii(), name)):
        other = first.setdefault(label.translate(_LATIN), label)
        if other != label:
            found.append(
                f"{where}: the labels {other!r} ({counted(counts[other], 'image')}) and {label!a} "
                f"({counted(counts[label], 'image')}) look alike, but hold letters of different alphabets: they are "
                "read as two classes; if they are one, write them alike"
            )
    return found


def _several(where: str, counts: Counter[str], *, cells: bool) -> list[str]:
    """A warning if cells seem to list several labels, whose combinations would be classes."""
    for separator in SEPARATORS:
        parts = {label: [part.strip() for part in label.split(separator) if part.strip()] for label in counts}
        used = Counter(part for own in parts.values() for part in set(own))
        lists = [label for label, own in parts.items() if len(own) > 1]
        recurring = [label for label in lists if all(used[part] > 1 for part in parts[label])]
        # The words of a name have blanks between them as well, but hardly ever a varying number of words that recur.
        varies = separator != " " or len({len(own) for own in parts.values()}) > 1
        if lists and varies and 2 * len(recurring) > len(lists) and len(used) < len(counts):
            return [_combinations(where, counts, lists, min(recurring))]
    found = lists_by_marks(counts) if cells else {}
    return [_combinations(where, counts, found, min(found))] if found else []


def _combinations(where: str, counts: Counter[str], lists: Collection[str], example: str) -> str:
    images = sum(counts[label] for label in lists)
    each = "this combination" if len(lists) == 1 else f"each of the {len(lists)} combinations"
    return (
        f"{where}: {images} images seem to have several labels, such as {example!r}: {each} is read as a class of its "
        "own; --several-labels yes (data.several_labels) reads them as lists; "
        "--several-labels no ends this warning"
    )


def doubtful_lists(where: str, class_names: Collection[str], most: int, asked: SeveralLabels) -> list[str]:
    """Warnings about labels of images that may have several, if they may be lists themselves, or deny a label.

    Args:
        where: names the table.
        most: labels of the image with the most of them.
        asked: the user's setting.
    """
    warnings = [
        f"{where}: the label {label!r} is read as a class of its own, though {listed(parts)} are labels, too; write "
        "| between labels"
        for label, (_, parts) in sorted(lists_by_marks(class_names).items())
        if set(parts) <= set(class_names)
    ]
    denied = [name for name in class_names if (found := _DENIAL.fullmatch(name)) and found[1] in class_names]
    if denied:
        warnings.append(
            f"{where}: {listed(denied, 4)} {'is' if len(denied) == 1 else 'are'} read as classes; if they say that an "
            "image does not have a label, remove them from the cells"
        )
    if asked == "yes" and most < 2:
        usual, others = (", ".join(map(shown, marks)) for marks in (SEPARATORS, OTHER_MARKS[:12]))
        warnings.append(
            f"{where}: --several-labels yes is given, but no image has several labels. In a cell, {usual} separate "
            f"them, and {others} and the like where the parts are labels of other images"
        )
    return warnings


def soft_labels(table: Table, first: int, columns: Columns) -> list[str]:
    """A warning about rows with probabilities in place of one class; empty for one-hot rows and a label column."""
    if columns.label is not None:
        return []
    soft = [i for i in range(first, len(table.rows)) if _is_soft([table.rows[i][column] for column in columns.classes])]
    if not soft:
        return []
    cells = [table.rows[soft[0]][column].strip() for column in columns.classes]
    shown = ", ".join(cells[:4]) + (", ..." if len(cells) > 4 else "")
    return [
        f"{table.name}: {len(soft)} of {len(table.rows) - first} rows hold probabilities, such as {shown} in row "
        f"{table.numbers[soft[0]]}: each is reduced to its most probable class, and the rest is not used"
    ]


def _is_word(label: str) -> bool:
    return bool(_MARKS.fullmatch(label)) or _plain(label) in _WORDS or is_unsure(label)


def _has_opposite(label: str, others: Iterable[str]) -> bool:
    return not {_plain(other) for other in others}.isdisjoint(_OPPOSITES.get(_plain(label), ()))


def _plain(label: str) -> str:
    return re.sub(r"[\W_]+", "", label).lower()


def _is_number_for_none(label: str, others: Collection[str]) -> bool:
    """Whether a number such as -1 or 999 stands beside classes that are numbered from 0 or 1, or that are words."""
    value = _whole(label)
    if value is None or len(others) < 2 - (value < 0):
        return False
    if not any(map(is_number, others)):
        return value <= 0 or bool(_NO_LABEL.fullmatch(str(value)))
    numbers = [number for other in others if (number := _whole(other)) is not None]
    if len(numbers) < len(others) or min(numbers) < 0:
        return False
    if value < 0:
        return numbers != [1]  # -1 and 1 are the classes of many binary sets
    consecutive = min(numbers) <= 1 and max(numbers) - min(numbers) == len(numbers) - 1
    return consecutive and value > max(numbers) + 1 and bool(_NO_LABEL.fullmatch(str(value)))


def _is_stray_number(label: str, counts: Counter[str]) -> bool:
    """Whether a number of few images stands alone among words, or far above numbers that count from 0 or 1."""
    value, others = _whole(label), sorted(other for other in counts if other != label)
    if value is None or len(others) < 2 or counts[label] > _FEW_IMAGES:
        return False
    if counts[label] * _RARER > min(counts[other] for other in others):
        return False
    if not any(map(is_number, others)):
        return not any(character.isdigit() for other in others for character in other)
    numbers = sorted(-1 if (number := _whole(other)) is None else number for other in others)
    return numbers[0] in (0, 1) and numbers[-1] - numbers[0] == len(numbers) - 1 and value > numbers[-1] + 1


def _whole(label: str) -> int | None:
    return int(float(label)) if is_number(label) and float(label).is_integer() else None


def _is_soft(cells: Sequence[str]) -> bool:
    values = [value for cell in cells if (value := share(cell)) is not None]
    return len(values) == len(cells) and 0 < max(values) < _SURE
