"""Recognise columns that divide a table's rows into parts for training, validation and testing, and their values."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from trainer.formats.part_words import ENGLISH, KIND_WORDS, Part, foreign_part, with_joined_parts, without_accents
from trainer.formats.shares import NO, YES

_NEUTRAL = ("public", "private", "extra", "set", "data", "images", "image", "split")
_COLUMNS = (
    "split", "subset", "set", "partition", "phase", "part", "usage", "fold", "dataset", "data_set", "data_split",
    "aufteilung", "train_test", "train_val_test", "train_test_split", "分割", "区分", "データ区分", "用途",
)  # fmt: skip
"""Names of columns that divide the rows, with _ between words and in lower case."""
_OFTEN_DIVIDING = frozenset((
    "cohort", "kohorte", "cohorte", "study_arm", "verwendung", "verwendungszweck", "zweck", "purpose", "uso",
    "utilisation", "gebruik",
))  # fmt: skip
"""Names of columns that divide the rows in some tables."""
_STUDIES = frozenset((
    "retrospective", "prospective", "derivation", "development", "discovery", "replication", "external validation",
    "internal validation", "retrospektiv", "prospektiv",
))  # fmt: skip
"""Words for the images by which a study trains, or tests what was trained, in lower case."""
_DIVIDING = ("split", "aufteilung", "subset", "partition", "data_split", "train_test", "train_val_test", "分割")
"""Those of `_COLUMNS` that mean nothing else, as a phase may be one of a disease."""
_OF_SPLIT = re.compile(r"(?:split|partition|subset)_(?:type|name|set|part|kind|group|id|no|number)")
_TRAIN_WORD, _TEST_WORD = r"(?<![a-z])train(?:ing)?(?![a-z])", r"(?<![a-z])(?:test|val)(?:ing|id|idation)?(?![a-z])"
_TRAIN_AND_TEST = re.compile(f"{_TRAIN_WORD}.*{_TEST_WORD}|{_TEST_WORD}.*{_TRAIN_WORD}")
"""Names such as ``train/test`` and ``Train(1)/Test(0)``."""
SHORT_PARTS: Mapping[str, Part] = {"tr": "train", "te": "test", "ts": "test", "va": "val"}
"""Short forms, which are parts as values of a column that surely divides the rows, and as names of lists."""
_FOLDS = ("fold", "folds", "kfold", "set", "data_set")
FOLD_RATIO = 1.5  # up to this ratio of the largest to the smallest, numbered parts may be folds
_FLAG = re.compile(
    r"(?:is_?|in_|in(?=train|test)|(?:for|use_for|used_for|used_in|use_in)_)"  # invalid marks no validation image
    r"(?:the_|final_|hidden_)*(train|test|val|valid)(?:ing|idation)?(?:_?(?:image|img|set|data|row|sample))?"
)
_HELD_OUT = re.compile(r"(?:is_)?(?:hold|held)_?out(?:_(?:image|img|set|data|row|sample))?")
_BARE_FLAG = re.compile(
    r"(train)(?:ing)?(?:_(?:image|img|set|data|row|sample|flag|mask))?|(?:test|val|valid)_(?:flag|mask)"
)
_MOST_NAMED_PARTS = 8  # values that name parts among other words
_WORDS = re.compile(r"[^\W_]+")
_MAYBE_FLAG = ("test", "testing", "val", "valid", "validation", "eval")
"""Names of columns of 0 and 1 that mark held-out rows, unless they say whether something was tested or is valid."""
_MOST_PARTS = 3  # distinct values of a column with another name that may divide the rows
TRUE = ("1", "1.0", *YES)
"""Values that say yes in a column such as ``is_train``, in lower case."""
_FALSE = ("0", "0.0", *NO)


def part_of(value: str) -> Part | None:
    """The part that a value in lower case means, such as test for ``privatetest``; None if it means none."""
    value = value.strip(" .:;,*")
    if part := _word_part(value):
        return part
    value = with_joined_parts(value)
    words = [re.sub("^(public|private)", "", word) or word for word in re.split(r"[\s_\-]+|(?<=\D)\d+$", value) if word]
    parts = {part for word in words if (part := _word_part(word))}
    known = all(_word_part(word) or word in _NEUTRAL or without_accents(word) in KIND_WORDS for word in words)
    return parts.pop() if known and len(parts) == 1 else None


def parts_of(values: Collection[str]) -> dict[str, Part]:
    """The part of each value in lower case that means one.

    Words that all values have mean none, as in ``aptos train`` and ``aptos test``. Paths have no such words.
    """
    words = {value: _WORDS.findall(value) for value in values}
    common = set.intersection(*map(set, words.values())) if len(values) > 1 and _are_words(values) else set()
    if not common:
        return {value: part for value in values if (part := part_of(value))}
    rest = {value: " ".join(word for word in own if word not in common) for value, own in words.items()}
    return {value: part for value in values if (part := part_of(value) or part_of(rest[value]))}


def short_parts_of(values: Collection[str]) -> dict[str, Part]:
    """The part of each value in lower case, if all are short forms of several parts, such as ``tr`` and ``te``."""
    parts = {value: part for value in values if (part := SHORT_PARTS.get(value) or part_of(value))}
    return parts if len(parts) == len(values) and len(set(parts.values())) > 1 else {}


def are_parts_alone(values: Collection[str]) -> bool:
    """Whether all values are parts, such as train and val, whatever their column is called."""
    parts = {part_of(value.lower()) for value in values}
    return len(parts) > 1 and "train" in parts and None not in parts


def speak_of_parts(values: Collection[str]) -> bool:
    """Whether each value has the word of a part among others: ``aptos train`` beside ``idrid test``."""
    found = [{part for word in _WORDS.findall(value) if (part := _word_part(word))} for value in values]
    return _are_words(values) and all(len(own) == 1 for own in found) and len(set.union(set(), *found)) > 1


def _are_words(values: Collection[str]) -> bool:
    """Whether there are few values, and none is a path or a file name."""
    return len(values) <= _MOST_NAMED_PARTS and not any(mark in value for value in values for mark in "/\\.")


def _word_part(word: str) -> Part | None:
    return ENGLISH.get(word) or foreign_part(word)


def parts_of_flag(name: str) -> dict[str, Part] | None:
    """The part of each value of a column such as ``is_train``, which says yes or no; None for another column."""
    found = _FLAG.fullmatch(name) or _BARE_FLAG.fullmatch(name)
    if found is None:
        if _HELD_OUT.fullmatch(name):
            return {**dict.fromkeys(TRUE, "test"), **dict.fromkeys(_FALSE, "train")}
        return None
    word = found[1] or name.partition("_")[0]
    part: Part = "train" if word == "train" else "test" if word == "test" else "val"
    other: Part = "test" if part == "train" else "train"
    return {**dict.fromkeys(TRUE, part), **dict.fromkeys(_FALSE, other)}


def flagged_parts(name: str, values: Collection[str]) -> dict[str, Part]:
    """The part of each value in lower case of a column such as ``is_train``, if all of them say yes or no."""
    flags = parts_of_flag(name) or {}
    return {value: flags[value] for value in values} if values and set(values) <= flags.keys() else {}


def is_part_column(name: str) -> bool:
    """Whether a column has a usual name of those that divide the rows. The name is in lower case with _."""
    plain = _without_number(name)
    return plain in _COLUMNS or _surely_divides(name)


def often_divides(name: str, values: Collection[str]) -> bool:
    """Whether a column divides the rows in some tables, by its name, or by values such as those of studies.

    Args:
        name: in lower case with _.
        values: in lower case.
    """
    filled = set(values) - {""}
    return name in _OFTEN_DIVIDING or (len(filled) > 1 and filled <= _STUDIES)


def divides_rows(name: str, values: Collection[str]) -> bool:
    """Whether a column surely divides the rows, though some of its values may be unknown parts.

    Numbers in a column that may hold folds do not.
    """
    parts = [part for value in values if (part := part_of(value))]
    if is_part_column(name) and parts:
        return True
    if _surely_divides(name):
        return len(values) > 1
    return len(set(parts)) > 1 and len(parts) * 2 >= len(values)


def numbered_parts(name: str, counts: Mapping[str, int]) -> dict[str, Part] | None:
    """The parts of the numbers 0, 1 and 2 in a column such as ``partition``: train, val and test, as in CelebA.

    Numbers of about the same frequency may be folds of a cross-validation, so that they mean no part.

    Args:
        name: the column's name in lower case with _.
        counts: number of rows of each value.
    """
    plain = {value: value.removesuffix(".0") for value in counts}
    if set(plain.values()) != {"0", "1", "2"} or len(plain) != 3 or not _surely_divides(name):
        return None
    if max(counts.values()) <= FOLD_RATIO * min(counts.values()):
        return None
    parts: dict[str, Part] = {"0": "train", "1": "val", "2": "test"}
    return {value: parts[number] for value, number in plain.items()}


def seems_numbered(name: str, counts: Mapping[str, int]) -> bool:
    """Whether a column that is called as folds are holds 0, 1 and 2, or 1, 2 and 3, in numbers that are usual for
    parts: mostly the first; or -1, which often marks the test images.
    """
    if name in _FOLDS and {"-1", "-1.0"} & counts.keys() and len(counts) > 1:  # rows of no fold
        return True
    first, *others = sorted(counts) or [""]
    numbered = [first, *others] in (["0", "1", "2"], ["1", "2", "3"])
    return numbered and name in _FOLDS and counts[first] > 2 * max(counts[other] for other in others)


def may_divide(name: str, values: Collection[str]) -> bool:
    """Whether a column of another name may divide the rows: ``test`` with 0 and 1, ``cohort`` with ``validation``.

    Args:
        name: the column's name in lower case with _.
        values: its values in lower case.
    """
    filled = set(values) - {""}
    if speak_of_parts(filled):
        return True
    if is_called_after_part(name):
        return is_mark(values)
    return 1 < len(filled) <= _MOST_PARTS and any(part_of(value) in ("val", "test") for value in filled)


def is_mark(values: Collection[str]) -> bool:
    """Whether the values of a column, in lower case, say yes and no, or mark some rows and leave the others empty."""
    filled = set(values) - {""}
    marked = len(filled) == 1 and "" in values and filled <= set(TRUE)
    return marked or (len(filled) == 2 and filled <= {*TRUE, *_FALSE})


def is_called_after_part(name: str) -> bool:
    """Whether a column is called after a part, and may mark its rows: ``test_set``, ``hidden_test``, ``Testdaten``.

    A column such as ``is_train`` surely does (`parts_of_flag`), and is none of these.
    """
    if name in _MAYBE_FLAG:
        return True
    if parts_of_flag(name) is not None:
        return False
    plain = name.strip("?").removeprefix("is_").removeprefix("hidden_")
    return (part_of(plain) or part_of(re.sub(r"(?:set|image|data|row|sample)s?$", "", plain))) is not None


def _surely_divides(name: str) -> bool:
    plain = _without_number(name)
    return (
        plain in _DIVIDING
        or plain.endswith(("_split", "_partition", "_subset"))
        or _OF_SPLIT.fullmatch(plain) is not None
        or _TRAIN_AND_TEST.search(plain) is not None
    )


def _without_number(name: str) -> str:
    """``split`` for ``split_1``, the first of several divisions."""
    return re.sub(r"(?<=[^\W\d])_?\d+$", "", name)
