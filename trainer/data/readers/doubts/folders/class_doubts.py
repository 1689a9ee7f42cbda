"""All warnings about class folders that may be no classes by their names."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.data.readers.doubts.folders.doubtful_folders import doubtful_among, doubtful_folders
from trainer.data.readers.doubts.folders.folder_advice import may_be_none, not_classes
from trainer.formats.labels import letters_among

_CLASSES = {
    **dict.fromkeys(
        ("photo", "photos", "photograph"),
        frozenset(
            ("cartoon", "sketch", "drawing", "painting", "art_painting", "clipart", "illustration", "screenshot")
        ),
    ),
    "trash": frozenset(("cardboard", "glass", "metal", "paper", "plastic", "organic", "recyclable", "compost")),
}
"""Names beside which such a name is that of a class, as in PACS and TrashNet."""


def class_doubts(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The warnings about class folders by their ``names``, and the folders each of which may be none."""
    single = {name: may_be_none(name) for name in doubtful_among(names)} | not_classes(names)
    sure, known = letters_among(names), {name.casefold() for name in names}
    single = {
        name: message
        for name, message in single.items()
        if name not in sure and known.isdisjoint(_CLASSES.get(name.casefold(), ()))
    }
    return [*doubtful_folders(names), *single.values()], list(single)
