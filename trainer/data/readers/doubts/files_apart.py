"""Find files in folders without images beside class folders, which may hold the labels of the images."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath

from trainer.data.names.parts import folder_split, is_held_out, split_of
from trainer.data.readers.class_folders import class_root, subfolders
from trainer.data.readers.doubts.other_tables import files_in, is_other_table, may_give_labels
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.parts.part_files import part_of_stem

_MOST_OF_A_KIND = 20  # in a folder; more files describe an image each
_LABELS = re.compile(r"label|(?:^|[^a-z])anno|metadata|ground[\W_]*truth|(?:^|[^a-z])gt(?:[^a-z]|$)")


def labels_apart(folder: Path, root: Path, files: ImageFiles) -> list[Path]:
    """Files of kinds that are not read, of which the name, the folder or the beginning says that they hold labels."""
    found = []
    for path in _files_apart(folder, root, files):
        if split_of(path.stem) == "test" or not (is_other_table(path) or not path.suffix):
            continue
        in_labels = is_other_table(path) and path.suffix.lower() != ".xml" and _LABELS.search(path.parent.name.lower())
        if in_labels or (
            may_give_labels(path) and (path.suffix.lower() != ".xml" or _LABELS.search(path.stem.lower()))
        ):
            found.append(path)
    return found


def texts_apart(folder: Path, files: ImageFiles) -> list[Path]:
    """Text files that may be tables of labels or lists of images, but for those of test images."""
    root = class_root(folder, files)
    if root is None:
        return []
    found = _files_apart(folder, root, files)
    return [path for path in found if path.suffix.lower() == ".txt" and part_of_stem(path.stem) != "test"]


def _files_apart(folder: Path, root: Path, files: ImageFiles) -> list[Path]:
    """The files in the folders without images beside ``root``, beside its class folders, and one level below.

    Files that are called after an image, many files of one kind, and those in a folder called after a class describe
    an image each, and are left out.
    """
    levels = [root, *(path for path in root.parents if path.is_relative_to(folder))] if root != folder else [folder]
    stems = {PurePosixPath(path).stem for path in files.paths}
    classes = {path.name for path in subfolders(root)}
    found: list[Path] = []
    for level in levels:
        beside = subfolders(level)
        names = [path.name for path in beside]
        for path in beside:
            unread = path.is_symlink() or is_held_out(path.name) or folder_split(path.name, names) == "test"
            if unread or files.paths_in(path):
                continue
            inner = subfolders(path)
            for place in (path, *(() if any(one.name in classes for one in inner) else inner)):
                found += _few_files(place)
    return [path for path in dict.fromkeys(found) if path.stem not in stems]


def _few_files(place: Path) -> list[Path]:
    found = files_in(place)
    kinds = Counter(path.suffix.lower() for path in found)
    return [path for path in found if kinds[path.suffix.lower()] <= _MOST_OF_A_KIND]
