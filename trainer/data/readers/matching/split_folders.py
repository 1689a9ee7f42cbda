"""The folders of training and of test images by their names, and which of them decides for an image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from trainer.data.names.parts import Split, folder_split, names_no_class

SplitFolder = tuple[Split | None, PurePosixPath]
"""A split, and the folder that decides it; (None, the empty path) without one."""


def split_folders(paths: Sequence[str]) -> dict[str, SplitFolder]:
    """The split of each image by its folder names, and the folder that decides: the innermost one of a split.

    A folder among the classes of a split is a class, as ``test/train`` beside ``test/bus``.

    Args:
        paths: all images, relative to the data folder.
    """
    siblings: dict[PurePosixPath, set[str]] = defaultdict(set)
    for path in paths:
        for folder in PurePosixPath(path).parents:
            siblings[folder.parent].add(folder.name)
    known: dict[PurePosixPath, SplitFolder] = {PurePosixPath(): (None, PurePosixPath())}

    def place(folder: PurePosixPath) -> SplitFolder:
        if folder not in known:
            own, outer = folder_split(folder.name, siblings[folder.parent]), place(folder.parent)
            decides = own is not None and not (outer[0] and is_among_classes(folder))
            known[folder] = (own, folder) if decides else outer
        return known[folder]

    def is_among_classes(folder: PurePosixPath) -> bool:
        beside = siblings[folder.parent] - {folder.name}
        return bool(beside) and not any(map(names_no_class, beside))

    return {path: place(PurePosixPath(path).parent) for path in paths}
