"""Names of the parts of a data set: training, validation and test images."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Literal

from trainer.data.names.masks import holds_masks
from trainer.data.names.mentions import beside_controls, ends_as_all
from trainer.data.names.words import (
    HELD_OUT_WORDS,
    IMAGE_WORDS,
    MASK_WORDS,
    NEUTRAL_WORDS,
    SPLIT_WORD,
    UNIT_WORDS,
    VALIDATION_WORDS,
    speaks_of,
    words_in,
)
from trainer.formats.part_words import ENGLISH, KIND_WORDS, Part, foreign_part

Split = Literal["train", "test"]
_SPLIT = re.compile(
    r"(?:^|[^a-z])(train|test)(?:ing)?(?:[^a-z]|imgs?|images?|sets?|data|pics?|files?|$)", re.IGNORECASE
)
_OF_TESTS = frozenset(("stg", "blind", "hidden", "unlabeled", "unlabelled"))
"""Further words beside ``test`` that name no class."""
_EXCERPTS = frozenset(("mini", "tiny", "subset"))
"""Words beside ``train`` for a part of the training images."""
_RANDOM_END = re.compile(r"(?:train|test)[_-]((?=\w*(?:[a-z][A-Z0-9]|[0-9][a-zA-Z]|[A-Z][0-9]))[^\W_]{5,12})")


def split_of(name: str) -> Split | None:
    """The split that the name of a table or an array mentions: ``my_test_labels`` -> test, ``Contest`` -> None."""
    found = _SPLIT.search(name)
    if found is None:
        return None
    return "train" if found.group(1).lower() == "train" else "test"


def folder_split(name: str, siblings: Collection[str] = ()) -> Split | None:
    """The split that a folder holds by its name; None for a folder that only mentions one, such as ``test tubes``.

    The name consists of the split and of words for images (``test_images``, ``stage_1_train``), or of a data set's
    name before them (``ISIC_2019_Test_Input``), or has a twin for the other split among ``siblings``
    (``flowers_train`` beside ``flowers_test``, or ``train_LbELtWX`` beside ``test_ScVgIM0``). Words of other languages
    (``学習``, ``Testdaten``) and letters that count (``a. Training Set``) need a folder of another part among
    ``siblings``; words for testing (``Testdaten``, ``予測用``) may also stand beside two folders that may be classes.
    So may words for testing and for what a data set consists of (``test_samples``), unless ``test`` or a control group
    is beside; and any word that all folders have in common (``Test leaves`` beside ``oak leaves`` and ``ash leaves``).
    """
    split, rest = _taken_apart(name)
    if split is None:
        return _foreign_split(name, siblings)
    if all(word == "*" or word in NEUTRAL_WORDS for word in rest):
        return split
    after = rest[rest.index("*") + 1 :]
    if after and all(word in IMAGE_WORDS for word in after) and not re.search(r"\s", name):
        return split
    if not UNIT_WORDS.isdisjoint(rest) and (beside_controls(siblings) or _has_plain_twin(split, siblings)):
        return None
    beside_other = any(part_alone(sibling) not in (None, split) for sibling in siblings)
    if beside_other and (
        all(map(_says_nothing, rest)) or (split == "train" and _is_only_excerpt(name, rest, siblings))
    ):
        return split
    if split == "test" and all(
        word in NEUTRAL_WORDS | KIND_WORDS | UNIT_WORDS | _OF_TESTS for word in (*after, *rest) if word != "*"
    ):
        return split if set(rest) & _OF_TESTS or beside_classes(name, siblings) else None
    if split == "test" and ends_as_all(name, siblings):
        return split
    own = _foreign(rest)
    code = _RANDOM_END.fullmatch(name)
    for sibling in siblings:
        other, other_rest = _taken_apart(sibling)
        twin = _RANDOM_END.fullmatch(sibling)
        random = code is not None and twin is not None and len(code[1]) == len(twin[1])
        if other not in (None, split) and (random or _foreign(other_rest) == own):
            return split
    return None


def _has_plain_twin(split: Split, siblings: Collection[str]) -> bool:
    """Whether a folder is called after a split alone, so that another one holds an excerpt: ``trainingSample``."""
    found = map(_taken_apart, siblings)
    return any(other == split and all(word == "*" or word in NEUTRAL_WORDS for word in rest) for other, rest in found)


def _is_only_excerpt(name: str, words: Sequence[str], siblings: Collection[str]) -> bool:
    """Whether a folder holds an excerpt of training images that are not there, as iNaturalist's ``train_mini``.

    Only folders of other parts lie beside it, and none that may be a class.

    Args:
        words: of its name, with a * for that of the split.
    """
    others = [sibling for sibling in siblings if sibling != name]
    return all(_says_nothing(word) or word in _EXCERPTS for word in words) and all(
        _taken_apart(other)[0] != "train" and (part_alone(other) is not None or names_no_class(other))
        for other in others
    )


def _foreign_split(name: str, siblings: Collection[str]) -> Split | None:
    """The split that words of another language than English mean, if ``siblings`` hold another part.

    ``評価`` is the test part, but for validation where another folder is the test part.
    """
    part = _foreign_part_of(name)
    if part is None or part == "val":  # first, because the siblings of a class folder may be a thousand
        return None
    others = {sibling: part_alone(sibling) for sibling in siblings if sibling != name}
    if not set(others.values()) - {None, part}:
        return "test" if part == "test" and not is_held_out(name) and beside_classes(name, siblings) else None
    if "評価" in name and any(other == "test" and "評価" not in sibling for sibling, other in others.items()):
        return None
    return part


def beside_classes(name: str, siblings: Collection[str]) -> bool:
    """Whether two ``siblings`` of a folder at least may be classes, because their names speak of no part or images."""
    return sum(part_alone(other) is None and not names_no_class(other) for other in siblings if other != name) > 1


def folder_part(name: str, siblings: Collection[str]) -> Part | None:
    """The part that a folder holds by its name, as `folder_split`, and for validation: ``flowers_val``, ``trn``.

    A name with other words needs a twin for another part among ``siblings``.
    """
    known = folder_split(name, siblings) or ("val" if is_held_out(name) else None)
    part, rest = _part_taken_apart(name)
    if known is not None or part is None or all(map(_says_nothing, rest)):
        return known or part
    twins = (_part_taken_apart(sibling) for sibling in siblings)
    own = _foreign(rest)
    return part if any(other not in (None, part) and _foreign(words) == own for other, words in twins) else None


def _part_taken_apart(name: str) -> tuple[Part | None, list[str]]:
    """As `_taken_apart`, with the other English words for a part, such as ``val`` and ``trn``."""
    split, words = _taken_apart(name)
    parts = {part for word in words if (part := ENGLISH.get(word))}
    if split is not None or len(parts) != 1:
        return split, words
    return parts.pop(), ["*" if word in ENGLISH else word for word in words]


def part_alone(name: str) -> Part | None:
    """The part that a folder's name means in any language, if it says nothing else."""
    split, rest = _taken_apart(name)
    if split is not None and all(map(_says_nothing, rest)):
        return split
    return _foreign_part_of(name) or ("val" if is_held_out(name) else None)


def _says_nothing(word: str) -> bool:
    """Whether a word beside that of a part names no class. A single letter counts, as in ``a. Training Set``."""
    return word == "*" or word in NEUTRAL_WORDS | KIND_WORDS | UNIT_WORDS or (len(word) == 1 and word.isascii())


def _foreign_part_of(name: str) -> Part | None:
    words = words_in(name)
    parts = {part for word in words if (part := foreign_part(word))}
    known = all(foreign_part(word) or word in NEUTRAL_WORDS | KIND_WORDS for word in words)
    return parts.pop() if known and len(parts) == 1 else None


def is_held_out(name: str) -> bool:
    """Whether a folder holds images for validation by its name: ``valid``, ``val_samples``, ``検証``."""
    return (
        speaks_of(name, HELD_OUT_WORDS)
        or speaks_of(name, VALIDATION_WORDS, UNIT_WORDS)  # valid samples may be those of a class
        or _foreign_part_of(name) == "val"
    )


def names_no_class(name: str) -> bool:
    """Whether a name only says which images a folder holds: ``images``, ``resized``, ``valid``, ``masks``, ``学習``."""
    words = words_in(name)
    known = NEUTRAL_WORDS | HELD_OUT_WORDS | MASK_WORDS
    foreign = [word for word in words if not word.isascii() and (word in KIND_WORDS or foreign_part(word))]
    known_alone = all(word in known or word in foreign or SPLIT_WORD.fullmatch(word) for word in words)
    return bool(words) and (known_alone or holds_masks(name))


def are_parts(names: Collection[str]) -> bool:
    """Whether folders are parts of one data set in any language: ``train`` and ``valid``, ``学習`` and ``評価``."""
    return bool(names) and all(is_held_out(name) or folder_split(name, names) for name in names)


def _taken_apart(name: str) -> tuple[Split | None, list[str]]:
    """The split whose words a name holds (None without, or with both), and all words, in place of the split's a *."""
    words = words_in(name)
    named = {found[1] for word in words if (found := SPLIT_WORD.fullmatch(word))}
    if len(named) != 1:
        return None, words
    return ("train" if "train" in named else "test"), ["*" if SPLIT_WORD.fullmatch(word) else word for word in words]


def _foreign(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in NEUTRAL_WORDS)
