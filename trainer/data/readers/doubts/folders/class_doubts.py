"""All warnings about class folders that may be no classes by their names."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.data.readers.doubts.folders.doubtful_folders import doubtful_among, doubtful_folders
from trainer.data.readers.doubts.folders.folder_advice import may_be_none, not_classes


def class_doubts(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The warnings about class folders by their ``names``, and the folders each of which may be none."""
    single = {name: may_be_none(name) for name in doubtful_among(names)} | not_classes(names)
    return [*doubtful_folders(names), *single.values()], list(single)
