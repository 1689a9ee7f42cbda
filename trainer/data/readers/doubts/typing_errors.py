"""Warnings about a rare label that may be a frequent one with a typing error, such as ``melenoma`` and ``melanoma``."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from trainer.common.errors import counted
from trainer.data.readers.doubts.one_meaning import have_one_meaning
from trainer.formats.labels import unify_labels

_WORD = re.compile(r"[^\W\d_]+|\d+")
_BETWEEN_WORDS = re.compile(r"(?<!\d) | (?!\d)")  # those between two numbers stay
_MEANINGFUL = re.compile(r"[^\w\s.,;:'\"()\[\]&-]|(?<!\w)-|-(?!\w)|(?<=\d)-(?=\d)")
"""Marks that make another label: those of ``HER2+``, ``HER2-``, ``<5 mm`` and ``1-5 mm``."""
_ROMAN = {roman: str(at) for at, roman in enumerate(("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"), 1)}
_EXTENT = re.compile("^(?:hyper|hypo)")
_IN_DOUBT = frozenset(("maybe", "perhaps", "unsure", "uncertain", "vielleicht", "unsicher", "quiz\u00e1s", "forse"))
"""Words of doubt before or behind a label."""
_LEAST = 2  # characters of a label without its marks
_LONG = 4  # letters of a word in which any of them may be wrong
_TWO_ERRORS = 7  # letters of a word in which two may be wrong
_ACRONYM = 5  # letters of a word in capitals, where each letter has a meaning
_MUCH_RARER = 5  # times
_FEW, _RARER = 3, 3  # a label of so few images may be an error beside one with so many times the images
_SHOWN = 3

Pair = tuple[str, str]
"""A frequent label and a rare one."""


def typing_errors(where: str, counts: Counter[str]) -> list[str]:
    """A warning that names the pairs of labels that are one label, if the rarer one is a typing error.

    Args:
        where: names the table, or the class folders.
        counts: the images of each label.
    """
    words = {label: _words(label) for label in sorted(counts)}
    found = dict.fromkeys((*_written_otherwise(words, counts), *_mistyped(words, counts)))
    pairs = [pair for pair in found if not have_one_meaning(*pair) and not _known_as_alike(*pair)]
    if not pairs:
        return []
    shown = "; ".join(
        " and ".join(f"{label!r} ({counted(counts[label], 'image')})" for label in p) for p in pairs[:_SHOWN]
    )
    further = f"; and {counted(len(pairs) - _SHOWN, 'further pair')}" if len(pairs) > _SHOWN else ""
    return [
        f"{where}: labels that hardly differ, as after a typing error, are read as classes of their own: {shown}"
        f"{further}; if two are one class, write them alike"
    ]


def _written_otherwise(words: Mapping[str, Sequence[str]], counts: Counter[str]) -> Iterator[Pair]:
    """Pairs that differ in accents, dots, Roman numbers or a word of doubt: ``B.M.W.``, ``stage II``, ``maybe cat``."""
    first: dict[tuple[str, ...], str] = {}
    for label, own in words.items():
        plain = [word for word in own if word not in _IN_DOUBT] or own
        if len(plain) > 1:  # I, V and X alone are letters
            plain = [_ROMAN.get(word, word) for word in plain]
        key = _BETWEEN_WORDS.sub("", " ".join(plain))
        if (key.replace(" ", "").isdigit() and plain == own) or len(key) < _LEAST:
            continue
        other = first.setdefault((key, *_MEANINGFUL.findall(label)), label)
        if other != label:
            yield _by_count(label, other, counts)


def _mistyped(words: Mapping[str, Sequence[str]], counts: Counter[str]) -> Iterator[Pair]:
    """Pairs one word of which differs by a letter or two, where one label is much rarer."""
    alike: dict[tuple[object, ...], list[tuple[str, str]]] = defaultdict(list)
    for label, own in words.items():
        for place, word in enumerate(own):
            if word.isalpha():
                alike[(*own[:place], None, *own[place + 1 :], word[0])].append((word, label))
    for group in alike.values():
        for place, (word, label) in enumerate(group):
            for other_word, other in group[place + 1 :]:
                frequent, rare = _by_count(label, other, counts)
                if _is_much_rarer(counts[rare], counts[frequent]) and _is_slip(word, other_word, label, other):
                    yield frequent, rare


def _is_much_rarer(rare: int, frequent: int) -> bool:
    return rare * _MUCH_RARER <= frequent or (rare <= _FEW and rare * _RARER <= frequent)


def _is_slip(word: str, other_word: str, label: str, other: str) -> bool:
    """Whether two words with the same first letter differ as a typing error does.

    Words of less than `_LONG` letters, and acronyms, are too often one letter apart: only swapped and doubled letters
    count.
    """
    short, long = sorted((word, other_word), key=len)
    if word == other_word or len(long) - len(short) > 2 or _are_steps(word, other_word):
        return False
    acronym = label.isupper() and other.isupper() and len(short) <= _ACRONYM
    if len(short) < _LONG or acronym:
        return _is_swapped(short, long) or _is_doubled(short, long)
    if short[:-1] == long[:-1] and {short[-1], long[-1]} == {"a", "o"}:  # gato and gata
        return False
    return _distance(short, long) <= 1 + (len(short) >= _TWO_ERRORS)


def _are_steps(one: str, other: str) -> bool:
    """Whether two words are Roman numbers, or too much and too little of one thing: hypertension and hypotension."""
    return (one in _ROMAN and other in _ROMAN) or _EXTENT.sub("", one) == _EXTENT.sub("", other)


def _is_swapped(one: str, other: str) -> bool:
    """Whether two neighbouring letters have changed places, and nothing else."""
    return len(one) == len(other) and any(
        other == one[:at] + one[at + 1] + one[at] + one[at + 2 :] for at in range(len(one) - 1)
    )


def _is_doubled(short: str, long: str) -> bool:
    """Whether one letter stands twice in the longer word, and nothing else differs."""
    return len(short) > 1 and any(long == short[: at + 1] + short[at:] for at in range(len(short)))


def _distance(one: str, other: str) -> int:
    """How many letters are wrong, absent, too many or swapped with the next one."""
    before: list[int] = []
    row: list[int] = [*range(len(other) + 1)]
    for at, letter in enumerate(one):
        earlier, before, row = before, row, [at + 1]
        for place, of_other in enumerate(other):
            cost = min(before[place] + (letter != of_other), before[place + 1] + 1, row[place] + 1)
            if at and place and letter == other[place - 1] and one[at - 1] == of_other:
                cost = min(cost, earlier[place - 1] + 1)
            row.append(cost)
    return row[-1]


def _words(label: str) -> list[str]:
    """The words and numbers of a label in lower case and without the accents of Latin letters."""
    text = unicodedata.normalize("NFKC", label).casefold()
    return [_plain(word) for word in _WORD.findall(text)]


def _plain(word: str) -> str:
    apart = unicodedata.normalize("NFD", word)
    latin = all(unicodedata.combining(letter) or letter.isascii() for letter in apart)
    return "".join(letter for letter in apart if not unicodedata.combining(letter)) if latin else word


def _known_as_alike(one: str, other: str) -> bool:
    """Whether the question about labels that differ only in spelling was asked of these."""
    return len(set(unify_labels([one, other], "merge")[0])) == 1


def _by_count(one: str, other: str, counts: Counter[str]) -> Pair:
    return (one, other) if counts[one] >= counts[other] else (other, one)
