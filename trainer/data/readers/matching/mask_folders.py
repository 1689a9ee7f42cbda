"""Tell folders of masks and predictions from folders of images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from trainer.data.names.masks import holds_masks, masks_are_worn
from trainer.data.names.parts import names_no_class, split_of


def mask_folders(paths: Sequence[str], *, may_be_packed: bool) -> frozenset[str]:
    """The folders whose images are masks, predictions and the like by their names, and so no images of the data.

    The images of such folders are those of the data where nothing else may be, no other image and no archive: of the
    only one, and of those named for the parts of a data set, such as ``seg_train`` and ``seg_test``. So are parts with
    folders for classes, beside an archive as well. A folder ``mask`` may be a class: beside ``no_mask``, or
    beside folders named like classes whose files have other names.

    Args:
        paths: all image files, relative, with ``/`` as separator.
        may_be_packed: whether there are archives that may hold images.
    """
    folders = {str(folder) for path in paths for folder in PurePosixPath(path).parents[:-1]}
    named = {folder for folder in folders if holds_masks(_name(folder))}
    if not named or masks_are_worn(map(_name, folders)):
        return frozenset()
    outermost = {next(above for above in _folders_to(folder) if above in named) for folder in named}
    others = [path for path in paths if outermost.isdisjoint(_folders_to(path)[:-1])]
    if not others:
        images = _unaccompanied(paths, outermost, may_be_packed=may_be_packed)
        named = {folder for folder in named if images.isdisjoint(_folders_to(folder))}
    stems = {PurePosixPath(path).stem for path in others}
    return frozenset(folder for folder in named if not _is_class(folder, folders, paths, stems))


def _unaccompanied(paths: Sequence[str], named: Collection[str], *, may_be_packed: bool) -> frozenset[str]:
    """Those of the folders ``named`` that hold the images of the data, where no image lies outside of them."""
    if len(named) == 1 and not may_be_packed:
        return frozenset(named)
    parts = frozenset(folder for folder in named if split_of(_name(folder)))
    directly = {str(PurePosixPath(path).parent) for path in paths}
    hold_classes = not parts <= directly
    return parts if hold_classes or not may_be_packed else frozenset()


def _is_class(folder: str, folders: Collection[str], paths: Sequence[str], stems: Collection[str]) -> bool:
    if _name(folder).lower() != "mask":
        return False
    parent = PurePosixPath(folder).parent
    siblings = [other for other in folders if PurePosixPath(other).parent == parent and other != folder]
    inside = [path for path in paths if path.startswith(f"{folder}/")]
    apart = not any(PurePosixPath(path).stem in stems for path in inside)
    return bool(siblings) and apart and not any(names_no_class(_name(sibling)) for sibling in siblings)


def _name(folder: str) -> str:
    return folder.rpartition("/")[2]


def _folders_to(path: str) -> list[str]:
    """A path and the folders above it, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
