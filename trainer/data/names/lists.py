"""Names of lists of images that are not to be used, and of tables from which such images were removed."""

from __future__ import annotations

import re

from trainer.data.names.parts import split_of
from trainer.data.names.words import IMAGE_WORDS, words_in

_EXCLUDES = re.compile(
    r"(?:^|[^a-z])(?:not|dont|exclu\w*|ignored?|skip(?:ped)?|unused|discard(?:ed)?|reject(?:ed|s)?|to_?remove|removed"
    r"|bad|corrupt(?:ed)?|broken|black_?list|deny_?list|deleted?|remove|invalid|outliers?|low_?quality|dont\w+"
    r"|donot\w+|ausschluss)(?:[^a-z]|$)",
    re.IGNORECASE,
)
"""Words in the names of lists of images that are not to be used."""
_WITHOUT = re.compile(
    r"(?:^|[^a-z])(?:not?|non|without|wo|minus|excl\w*|drop\w*|remov\w*|skip\w*|ignor\w*|delet\w*|discard\w*|reject\w*"
    r"|filter\w*|ohne|sin|sans)[^a-z]*(?:bad|blurry|broken|corrupt\w*|dup\w*|errors?|invalid|low_?quality|mislabell?ed"
    r"|noise|noisy|outliers?|wrong)(?:[^a-z]|$)",
    re.IGNORECASE,
)
_REMOVED = frozenset((
    "removed", "excluded", "dropped", "deleted", "discarded", "rejected", "ignored", "skipped", "filtered", "entfernt",
))  # fmt: skip
_LEADING = frozenset(("train", "training", "labels", "label", "list", "ids", "to", "be", "was", "were"))


def lists_unused(stem: str) -> bool:
    """Whether a list may name images that are not to be used: ``excluded``, ``train_bad``.

    A table called after training from which some were removed does not: ``train_noise_removed``, ``train_not_corrupt``.
    """
    if not _EXCLUDES.search(stem):
        return False
    return split_of(stem) != "train" or not (_WITHOUT.search(stem) or _says_what_was_removed(stem))


def _says_what_was_removed(stem: str) -> bool:
    words = words_in(stem)
    return words[-1:] != [] and words[-1] in _REMOVED and not {*words[:-1]} <= _LEADING | IMAGE_WORDS
