"""Warnings about labels that may mean the same: a plural, an abbreviation, another language, numbers beside words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from trainer.common.errors import counted, listed
from trainer.formats.labels import is_integer, letters_among

_MEANINGS = tuple(
    frozenset(words.split())
    for words in (
        "pos positive positiv positif positivo positief 陽性 阳性",
        "neg negative negativ negatif négatif negativo negatief 陰性 阴性",
        "m male männlich maennlich masculin masculino maschio 男 男性",
        "f female w weiblich féminin femenino feminino femmina 女 女性",
        "true wahr vrai verdadero verdadeiro vero waar истина",
        "false falsch faux falso onwaar ложь",
        "yes ja oui si sí sim da да はい 是",
        "no nein non não nee нет いいえ 否",
        "ben benign benigne gutartig bénin benigno 良性",
        "mal malignant maligne bösartig malin maligno 悪性 恶性",
        "norm normal",
        "abn abnorm abnormal",
        "ctrl control",
        "l left links gauche",
        "r right rechts droite",
        "gray grey",
        "tumor tumour",
        "mold mould",
    )
)
"""Words of one meaning each, with their abbreviations, in lower case. The letters of yes and true have a warning."""
_SHORTEST = 3  # letters of a word that may have a plural


def labels_of_one_meaning(where: str, counts: Counter[str]) -> list[str]:
    """A warning for labels that may be one class in several words, and for numbers beside as many words.

    Args:
        where: names the table, or the class folders.
        counts: the images of each label.
    """
    plurals = _plurals(counts)
    further = f", and so are {counted(len(plurals) - 1, 'further pair')} of a label and its plural"
    possible = sorted(counts.keys() - letters_among(counts))
    words = [[label for label in possible if label.casefold() in own] for own in _MEANINGS]
    return [
        *(_alike(where, pair, counts, further if len(plurals) > 1 else "") for pair in plurals[:1]),
        *(_alike(where, labels, counts) for labels in words if len(labels) > 1),
        *_half_converted(where, counts),
    ]


def _alike(where: str, labels: Sequence[str], counts: Counter[str], further: str = "") -> str:
    shown = " and ".join(f"{label!r} ({counted(counts[label], 'image')})" for label in labels)
    read = f"are read as {len(labels)} classes{further}"
    return f"{where}: the labels {shown} {read}; if they mean the same, write them alike"


def have_one_meaning(one: str, other: str) -> bool:
    """Whether one of two labels is the plural of the other, or they are words of one meaning."""
    both = {one.casefold(), other.casefold()}
    return bool(_plurals(Counter((one, other)))) or any(both <= own for own in _MEANINGS)


def _plurals(counts: Counter[str]) -> list[list[str]]:
    """Pairs of a label and its plural: ``cat`` and ``cats``, ``box`` and ``boxes``, ``berry`` and ``berries``."""
    known = {label.casefold(): label for label in counts}
    return [
        [label, known[plural]]
        for folded, label in sorted(known.items())
        if len(folded) >= _SHORTEST and folded[-1].isalpha()
        for plural in (f"{folded}s", f"{folded}es", f"{folded[:-1]}ies" if folded.endswith("y") else "")
        if plural in known
    ]


def _half_converted(where: str, counts: Counter[str]) -> list[str]:
    """A warning if the labels are numbers from 0 or 1 and as many words, as where a column was converted in part."""
    numbers = sorted((label for label in counts if is_integer(label)), key=int)
    words = sorted(label for label in counts if label not in numbers)
    count = len(numbers)
    consecutive = [int(label) for label in numbers] in ([*range(count)], [*range(1, count + 1)])
    if count < 2 or len(words) != count or not consecutive or all(len(word) == 1 for word in words):
        return []
    return [
        f"{where}: the labels {listed(numbers, 4)} ({counted(sum(counts[label] for label in numbers), 'image')}) are "
        f"numbers, and {listed(words, 4)} ({counted(sum(counts[label] for label in words), 'image')}) as many words: "
        f"they are read as {2 * count} classes; if each number stands for a word, write the words into all rows"
    ]
