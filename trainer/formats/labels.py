"""Convert labels, as the data spell them, to class names in a fixed order and class indices."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from html import unescape
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError, counted

_ALPHABET = 6  # letters; fewer may stand for words, such as m and f
_INTEGER = re.compile(r"[+-]?\d{1,300}")  # Python converts no more than some thousand digits
_POINTED = re.compile(r"[+-]?\d+\.0*")
_MISSING = ("", "nan", "<na>", "null", "#n/a", "nat")
# What spreadsheets show in place of a value, in English or as translated: #REF!, #NAME?, #BEZUG!, Err:502, ####.
_SPREADSHEET_ERROR = re.compile(
    r"#[^\W\d_][\w/ ]*[!?]|#n/?[adv]?|#(?:div/0|spill|calc)!?|err:\d{3}|#{3,}", re.IGNORECASE
)
_NUMBER = re.compile(r"[+-]?(\d{1,300}\.?\d*|\.\d+)([eE][+-]?\d+)?")
# Control characters, unpaired surrogates, line and paragraph separators: tables, logs and web pages show the names.
_REFUSED_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")


# Characters that look or mean the same, beside those that NFKC makes equal.
_LOOKALIKES = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe63\uff0d", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4\uff07`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\uff02", '"'),
        **dict.fromkeys("\u301c\u223c\uff5e", "~"),
    }
)
# Letters of one word as keyboards, fonts and old encodings write them: Arabic and Persian, Turkish, Romanian.
_LETTERS = str.maketrans(
    {
        **dict.fromkeys("\u06cc\u0649", "\u064a"),
        **dict.fromkeys("\u0622\u0623\u0625\u0671", "\u0627"),
        **dict.fromkeys("\u0629\u06d5\u06c0\u06c1\u06be", "\u0647"),
        "\u06a9": "\u0643",
        "\u0131": "i",
        "\u015f": "\u0219",
        "\u0163": "\u021b",
    }
)
# Vowel signs and the lengthening stroke of Arabic; the dot that the lower case of a Turkish capital leaves.
_MARKS = re.compile("[\u0640\u064b-\u0652\u0670]|(?<=i)\u0307")
# Vietnamese tone marks of oa, oe and uy stand on either vowel: hòa and hoà are one word.
_TONE = re.compile("([ou])([\u0300\u0301\u0303\u0309\u0323])([aey])")
_HYPHEN = re.compile(r"(?<=[^\W\d])-(?=\w)|(?<=\w)-(?=[^\W\d])")  # not that of 1-2, A- or -1
_ESCAPE = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});", re.IGNORECASE)  # of HTML, such as &amp;
_QUOTATION_MARKS = "\"'\u00ab\u00bb\u2039\u203a\u300c\u300d\u300e\u300f\u301d\u301e\u301f"
# A label as programs and people quote it, also in the notations of Python: 'cat', \"cat\", b'cat', ['cat'].
_QUOTED = re.compile(
    rf"[\[(]?\s*[bru]?\\?([{_QUOTATION_MARKS}]+)(?P<inner>.*[^\s\\])\\?[{_QUOTATION_MARKS}]+\s*,?\s*[\])]?",
    re.DOTALL,
)


# Marks that people and programs leave at the ends of a label. A*, R', C++, C#, A- and !cat have a meaning.
_BEFORE = "'\"*.,;:?"
_BEHIND = ".,;:?\u3002\u3001"
_BEHIND_WORDS = _BEHIND + "'\"*!"
_IN_DOUBT = re.compile(
    r"\s*[(\[](?:\?+|unsure|not sure|uncertain|unclear|maybe|probably|probable|possibly|possible|likely|tbc|to check"
    r"|unsicher|unklar|vielleicht|wahrscheinlich|incertain|peut-\u00eatre|dudoso|incerto|\u8981\u78ba\u8a8d"
    r"|\u4e0d\u78ba\u304b|\u4e0d\u786e\u5b9a)[)\]]",
    re.IGNORECASE,
)
"""Words of doubt behind a label: dog (unsure)."""


SimilarLabels = Literal["ask", "merge", "keep"]
SIMILAR_LABELS: tuple[SimilarLabels, ...] = get_args(SimilarLabels)
"""What to do about labels that differ only in spelling; see `unify_labels`."""
SeveralLabels = Literal["auto", "yes", "no"]
SEVERAL_LABELS: tuple[SeveralLabels, ...] = get_args(SeveralLabels)
"""Whether an image may have several labels: as the data say (auto), or as the user does."""


def is_integer(text: str) -> bool:
    """Whether a label is a whole number, such as ``7``, ``-1`` or ``007``."""
    return _INTEGER.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Whether a label is a finite decimal number."""
    return _NUMBER.fullmatch(text) is not None


def letters_among(labels: Iterable[str]) -> set[str]:
    """The labels of a single letter, if there are so many that they are an alphabet, as of signs or handwriting."""
    letters = {label for label in labels if len(label) == 1 and label.isalpha()}
    return letters if len(letters) >= _ALPHABET else set()


def text_problem(text: str) -> str | None:
    """Why an id or class name cannot be used, as the end of a sentence (\"is empty\"); None if it can."""
    if not text.strip():
        return "is empty"
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in text):
        return f"holds a control character: {text!r}"
    return None


def spelled_as_among(known: Iterable[str]) -> Callable[[str], str]:
    """A function that returns a text as ``known`` spells it: the only one of ``known`` with the same composed form.

    macOS decomposes file names, and spreadsheets compose text. A text that is one of ``known`` stays as it is, and so
    does one whose form none or several of ``known`` have.
    """
    texts = frozenset(known)
    by_form: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        by_form[unicodedata.normalize("NFC", text)].append(text)

    def spelled(text: str) -> str:
        if text in texts:
            return text
        found = by_form.get(unicodedata.normalize("NFC", text), [])
        return found[0] if len(found) == 1 else text

    return spelled


def is_missing(text: str) -> bool:
    """Whether a label is empty or is what programs write in place of a missing value, such as ``NaN`` or ``#REF!``."""
    label = text.strip()
    return label.lower() in _MISSING or _SPREADSHEET_ERROR.fullmatch(label) is not None


def unify_labels(labels: Sequence[str], similar: SimilarLabels, *, whole: bool = False) -> tuple[list[str], list[str]]:
    """Decide about labels that are spelled alike.

    They differ in case, blanks, hyphens, quotation marks, Unicode form, escapes of HTML, marks and words of doubt at
    the ends (``dog.``, ``dog (unsure)``), or as "&" and "and" or 1 and 1.0 do.

    Args:
        similar: ``ask`` refuses such labels, ``merge`` takes the most frequent spelling of each, ``keep`` leaves them.
        whole: whether labels that are all whole numbers with a decimal point (1.0, where a program has read numbers)
            lose it.

    Returns:
        The labels, and one sentence for each decision, and for quotation marks around every label.

    Raises:
        DataError: ``ask``, and there are such labels. Each group of them is listed with its counts.
    """
    notes: list[str] = []
    distinct = set(labels)
    if whole and distinct and all(_POINTED.fullmatch(label) for label in distinct):
        labels = [label.split(".")[0] for label in labels]
        notes.append("labels such as 1.0 are read as whole numbers")
        distinct = set(labels)
    if distinct and all(unquoted(label) is not None for label in distinct):
        notes.append(
            f"every label stands in quotation marks, such as {min(distinct)}: they are part of the class names, and of "
            "a submission; remove them from the labels if they do not belong there"
        )
    counts = Counter(labels)
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in sorted(distinct):
        spellings[_spelling_key(label)].append(label)
    alike = [group for group in spellings.values() if len(group) > 1]
    for group in alike:
        group.sort(key=lambda label: (-counts[label], not unicodedata.is_normalized("NFC", label)))
    if not alike or similar == "keep":
        return list(labels), notes
    if similar == "ask":
        raise DataError(
            [f"labels that differ only in spelling: {' and '.join(_counted(group, counts))}" for group in alike],
            "If they are one class, add --similar-labels merge (the most frequent spelling remains), else "
            "--similar-labels keep (data.similar_labels)",
        )
    merged = {label: group[0] for group in alike for label in group}
    notes += [f"merged as {group[0]!r}: {', '.join(_counted(group, counts))}" for group in alike]
    return [merged.get(label, label) for label in labels], notes


def _spelling_key(label: str) -> str:
    """A text that is equal for labels that differ only in spelling."""
    inner = unquoted(label)
    label = _ESCAPE.sub(lambda found: unescape(found[0]), label if inner is None else inner)
    label = _without_marks(label)
    if is_number(label):
        return repr(float(label))
    label = label.replace("&", " and ")
    text = _HYPHEN.sub("", unicodedata.normalize("NFKC", label.translate(_LOOKALIKES)).casefold())
    text = _MARKS.sub("", text).translate(_LETTERS)
    text = _TONE.sub(r"\1\3\2", unicodedata.normalize("NFD", text))
    return "".join(c for c in text if not c.isspace() and c != "_" and unicodedata.category(c) != "Cf")


def _without_marks(label: str) -> str:
    """A label without marks and words of doubt at its ends; unchanged if it is nothing else, or a number with them."""
    if is_number(label):
        return label
    text = _IN_DOUBT.sub("", unicodedata.normalize("NFKC", label.translate(_LOOKALIKES))).strip()
    inner = text.lstrip(_BEFORE).rstrip(_BEHIND).strip()
    if len(inner.rstrip(_BEHIND_WORDS)) > 1 and not is_number(inner.rstrip(_BEHIND_WORDS)):
        inner = inner.rstrip(_BEHIND_WORDS).strip()
    return inner or label


def unquoted(label: str) -> str | None:
    """The text between the quotation marks of a label; None without them."""
    match = _QUOTED.fullmatch(label.translate(_LOOKALIKES))
    return None if match is None else match["inner"]


def _counted(group: Sequence[str], counts: Counter[str]) -> list[str]:
    """The labels of a group with their counts; in escaped form where two of them look the same."""
    forms = [unicodedata.normalize("NFC", label.translate(_LOOKALIKES).translate(_LETTERS)) for label in group]
    show = repr if len(set(forms)) == len(forms) and all(label.isprintable() for label in group) else ascii
    return [f"{show(label)} ({counted(counts[label], 'image')})" for label in group]


class TooFewClassesError(DataError):
    """All images have the same label."""


def order_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The distinct labels, sorted by value if all are numbers (10 follows 9), else by their characters."""
    distinct = set(labels)
    if all(is_number(label) for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (float(label), label)))
    return tuple(sorted(distinct))


def encode(labels: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Class names in their fixed order, and the class index of each label, int64 (n,).

    Raises:
        TooFewClassesError: fewer than two classes.
    """
    names = order_classes(labels)
    if len(names) < 2:
        few = "the only image is" if len(labels) == 1 else f"all {len(labels)} images are"
        given = f"{few} labelled {names[0]!r}" if names else "there is no labelled image"
        raise TooFewClassesError(f"{given}; at least two classes are needed")
    index = {name: position for position, name in enumerate(names)}
    return names, np.array([index[label] for label in labels], np.int64)


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key for natural order: ``2.jpg`` comes before ``10.jpg``."""
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part)
