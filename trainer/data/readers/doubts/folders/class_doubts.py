"""All warnings about class folders that may be no classes by their names."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.data.readers.doubts.folders.doubtful_folders import doubtful_folders
from trainer.data.readers.doubts.folders.folder_advice import not_classes


def class_doubts(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The warnings about class folders by their ``names``, one for each folder, and the folders that may be none."""
    first = not_classes(names)
    known = _named_in(first, names)
    further = [message for message in doubtful_folders(names) if not _named_in([message], known)]
    warnings = list(dict.fromkeys((*first, *further)))
    return warnings, _named_in(warnings, names)


def _named_in(messages: Sequence[str], names: Sequence[str]) -> list[str]:
    """The folders of which a message says that they may be no class."""
    begins = {name: f"the folder {name!r} is read as a class;" for name in names}
    return [name for name, begin in begins.items() if any(message.startswith(begin) for message in messages)]
