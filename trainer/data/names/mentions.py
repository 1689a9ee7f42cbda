"""Names of folders that mention a part beside other words: ``test_leaves`` may hold test images, not ``test tubes``."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from trainer.data.names.words import NEUTRAL_WORDS, SPLIT_WORD, UNIT_WORDS, VALIDATION_WORDS, words_in

_THINGS = frozenset((
    "tube", "tubes", "strip", "strips", "pilot", "pilots", "card", "cards", "pattern", "patterns", "paper", "papers",
    "kit", "kits", "match", "matches", "cricket", "drive", "drives", "bench", "benches", "dummy", "dummies", "rig",
    "rigs", "track", "tracks", "plate", "plates", "chart", "charts", "equipment", "pad", "pads", "bed", "rail", "rails",
    "lab", "labs", "swab", "swabs", "light", "lights", "vehicle", "vehicles", "car", "cars", "stand", "stands",
    "flight", "flights", "stamp", "stamps", "print", "prints", "screen", "lead", "leads", "probe", "probes",
))  # fmt: skip
"""Things that are called after tests, such as a test tube."""
_CONTROLS = frozenset(("control", "controls", "placebo", "sham", "untreated", "baseline"))
"""Words for the other groups of an experiment."""


def may_hold_tests(name: str, siblings: Collection[str] = ()) -> bool:
    """Whether a folder may hold test images: its name begins or ends with a word for testing, as in ``field test``.

    Things such as ``test tubes``, a ``test group`` beside a ``control group``, and results as ``test_positive`` beside
    ``test_negative`` are classes.
    """
    first, *rest = words_in(name) or [""]
    if rest and _is_test(rest[-1]):
        return True
    if rest and any(_says_more(words_in(sibling), first) for sibling in siblings if sibling != name):
        return False
    return (_is_test(first) or first == "tests") and _THINGS.isdisjoint(rest) and not beside_controls(siblings)


def _says_more(words: Sequence[str], first: str) -> bool:
    """Whether a name begins with a word, and has others than those for images and parts."""
    return words[:1] == [first] and not NEUTRAL_WORDS.union(UNIT_WORDS).issuperset(words[1:])


def may_hold_validation(name: str) -> bool:
    """Whether a folder may hold validation images: its name begins with a word for them, as in ``val_leaves``."""
    first, *rest = words_in(name) or [""]
    return first in VALIDATION_WORDS and _THINGS.isdisjoint(rest)


def ends_as_all(name: str, siblings: Collection[str]) -> bool:
    """Whether all folders beside one for testing, two at least, end with its words: ``A cases`` and ``B cases``.

    As beside ``Test cases``, which is no case of a class then.
    """
    first, *own = words_in(name) or [""]
    if not own or not _is_test(first) or not _THINGS.isdisjoint(own) or beside_controls(siblings):
        return False
    others = [words_in(sibling) for sibling in siblings if sibling != name]
    return len(others) > 1 and all(len(words) > len(own) and words[-len(own) :] == own for words in others)


def beside_controls(siblings: Collection[str]) -> bool:
    """Whether one of the folders holds the control group of an experiment by its name."""
    return any(not _CONTROLS.isdisjoint(words_in(sibling)) for sibling in siblings)


def _is_test(word: str) -> bool:
    found = SPLIT_WORD.fullmatch(word)
    return found is not None and found[1] == "test"
