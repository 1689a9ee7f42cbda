"""Class folders that are called after another one: with the word of a part or of masks, a number, or a plural s."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from trainer.data.names.masks import is_mask_word, masks_are_worn
from trainer.data.names.words import IMAGE_WORDS
from trainer.formats.parts import part_of

_CASES = re.compile(r"(?<=[a-z])(?=[A-Z])")
NUMBERED = re.compile(r"(.*[^\W\d_])[\W_]*\d+\)?")
_SHORTEST = 3  # characters of a name that may have a plural, or a number for a further batch: A and A1 are codes
_FEWEST_ALIKE = 2  # one such pair may be two classes: short and shorts


def part_twins(names: Sequence[str]) -> list[tuple[str, str]]:
    """The folders that hold a part of the images of another one by their names, each with the other one.

    As ``cats_test`` beside ``cats`` or ``cat``.
    """
    return twins(names, lambda word: part_of(word) in ("test", "val"), beside=True)


def mask_twins(names: Sequence[str]) -> list[tuple[str, str]]:
    """The folders that hold masks of another one's images by their names, as ``benign_mask`` beside ``benign``, each
    with the other one.
    """
    return [] if masks_are_worn(names) else twins(names, is_mask_word)


def twins(names: Sequence[str], further: Callable[[str], bool], *, beside: bool = False) -> list[tuple[str, str]]:
    """The folders whose name is that of another one and a ``further`` word in lower case, each with the other one.

    Args:
        beside: whether words for images may stand beside the further word, and a plural for a singular.
    """
    words = {name: re.findall(r"[^\W_]+", _CASES.sub(" ", name).casefold()) for name in names}
    by_words = {tuple(own): name for name, own in words.items()}
    singular = {tuple(map(_singular, own)): name for name, own in words.items()} if beside else {}
    found = []
    for name, own in words.items():
        rest = tuple(word for word in own if not further(word))
        if beside and len(rest) < len(own):
            rest = tuple(word for word in rest if word not in IMAGE_WORDS)
        elif len(rest) != len(own) - 1:
            continue
        other = by_words.get(rest) or singular.get(tuple(map(_singular, rest)))
        if rest and len(rest) < len(own) and other is not None:
            found.append((name, other))
    return found


def batch_twins(names: Sequence[str]) -> list[tuple[str, str]]:
    """The folders that are called as another one but for a number or a plural s, each with the other one.

    As ``cat2`` and ``dog2`` beside ``cat`` and ``dog``. Two of the others at least have such a twin.
    """
    known = {name.casefold(): name for name in names}
    found = []
    for name in names:
        numbered = NUMBERED.fullmatch(name)
        forms = [numbered[1]] if numbered else [name[: -len(end)] for end in ("s", "es") if name.lower().endswith(end)]
        others = [known[form.casefold()] for form in forms if len(form) >= _SHORTEST and form.casefold() in known]
        found += [(name, other) for other in others[:1]]
    return found if len({other for _, other in found}) >= _FEWEST_ALIKE else []


def _singular(word: str) -> str:
    return word.removesuffix("s")
