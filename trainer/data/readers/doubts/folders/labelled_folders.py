"""Doubts about the images of folders that a table labels: masks, copies and images put aside among them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from pathlib import PurePosixPath

from trainer.common.errors import DataError, counted, listed
from trainer.data.names.masks import is_mask_alone, masks_among, masks_are_worn
from trainer.data.names.parts import names_no_class
from trainer.data.names.put_aside import flawed_among, holds_copies, is_aside
from trainer.inference.printable import printable

Folders = Mapping[str, Sequence[str]]
"""The labelled folders, and the images in and below each of them, as paths relative to the data folder."""
_SHARE = 0.5  # of the folders in two places; with as many that share the names of images, one place repeats the other


def masks_in_folders(folders: Folders) -> list[str]:
    """The images in labelled folders that are masks of others by their names.

    As ``P01/0_mask.png`` beside ``P01/0.jpg``, and ``P01/mask.png`` beside any other image.
    """
    found = []
    for paths in folders.values():
        masks = set(masks_among(paths))
        stems = {path: PurePosixPath(path).stem for path in paths}
        if not masks_are_worn(stems.values()):
            alone = [path for path, stem in stems.items() if is_mask_alone(stem)]
            places = {PurePosixPath(path).parent for path in paths if path not in masks and path not in alone}
            masks.update(path for path in alone if PurePosixPath(path).parent in places)
        found += [path for path in paths if path in masks]
    return found


def doubts_about_places(where: str, named: Mapping[str, Folders], *, refused: bool) -> list[str]:
    """Warnings about inner folders of labelled folders, and folders beside them, that may hold copies of the images.

    Args:
        where: name of the table.
        named: the folders that each cell of the table names.
        refused: whether images put aside or copied by the names of their folders are an error.

    Raises:
        DataError: there are such images.
    """
    aside = [*_put_aside_inside(named), *_put_aside_beside(named), *_repeated_beside(named, certain=True)]
    aside = list(dict.fromkeys(aside))
    if aside:
        places = listed(dict.fromkeys(printable(str(PurePosixPath(path).parent)) for path in aside), 4)
        images = counted(len(aside), "image")
        doubt = f"copies of other images, or images that were put aside, by the names of folders: {places} ({images})"
        if refused:
            raise DataError(
                f"{where} labels folders, and among their images may be {doubt}. Move the images that are not to be "
                "trained on out of the data folder. To train on all, with the labels of their folders, "
                "add --layout table (data.layout)"
            )
        return [f"among the images of the folders of {where} may be {doubt}; if so, move them out of the data"]
    repeated = _repeated_beside(named, certain=False)
    if not repeated:
        return []
    return [
        f"{counted(len(repeated), 'image')} of {where} are called as others in a folder of the same name, such as "
        f"{printable(repeated[0])}: all are read; if they are copies, move them out of the data"
    ]


def _is_put_aside(name: str, names: Sequence[str]) -> bool:
    """Whether a folder holds copies, bad images or images put aside by its name, beside folders with ``names``."""
    return is_aside(name) or holds_copies(name) or name in flawed_among([*names, name])


def _put_aside_inside(named: Mapping[str, Folders]) -> list[str]:
    """The images in inner folders that are put aside by their names, where their labelled folder holds others.

    Images that all lie in one such folder are those of the data.
    """
    found = []
    own_names = [PurePosixPath(folder).name for folders in named.values() for folder in folders]
    known: dict[str, bool] = {}
    for folders in named.values():
        for folder, paths in folders.items():
            aside: dict[str, str] = {}
            for path in paths:
                for name in PurePosixPath(path).relative_to(folder).parts[:-1]:
                    if name not in known:
                        known[name] = _is_put_aside(name, own_names)
                    if known[name]:
                        aside.setdefault(path, name)
            if len(aside) < len(paths) or len(set(aside.values())) > 1:
                found += list(aside)
    return found


def _put_aside_beside(named: Mapping[str, Folders]) -> list[str]:
    """The images of a labelled folder in a place that is put aside by its name, where the same cell names another one.

    As ``Export/P01/0.jpg`` beside ``P01/0.jpg``.
    """
    found = []
    for folders in named.values():
        aside = [folder for folder, names in _places(folders).items() if any(_is_put_aside(name, ()) for name in names)]
        found += [path for folder in aside for path in folders[folder]]
    return found


def _repeated_beside(named: Mapping[str, Folders], *, certain: bool) -> list[str]:
    """The images in a second folder of a cell that are called as those in the first one, perhaps with an addition.

    Args:
        certain: whether a place of one of the two says nothing but that it holds images, as ``images`` and ``raw`` do.
            Other places may be what the images show, such as ``T1`` and ``T2``.
    """
    count, pairs = 0, []
    for folders in named.values():
        places = _places(folders)
        count += len(folders) > 1
        for one, other in combinations(folders, 2):
            plain = [
                folder for folder in (one, other) if not places[folder] or all(map(names_no_class, places[folder]))
            ]
            if bool(plain) is certain and _share_names(folders[one], one, folders[other], other):
                _, second = sorted((one, other), key=lambda folder: _is_further(places[folder]))
                pairs.append(folders[second])
    return [path for paths in pairs for path in paths] if len(pairs) > _SHARE * count else []


def _is_further(place: Sequence[str]) -> tuple[bool, bool, int]:
    """A key by which a place of further images comes after that of the images themselves."""
    return any(_is_put_aside(name, ()) for name in place), "images" not in map(str.lower, place), len(place)


def _places(folders: Folders) -> dict[str, tuple[str, ...]]:
    """The folders above each labelled folder, without those above all of them; empty for a single one."""
    parents = {folder: PurePosixPath(folder).parts[:-1] for folder in folders}
    if len(parents) == 1:
        return dict.fromkeys(folders, ())
    shared = 0
    for names in zip(*parents.values(), strict=False):
        if len(set(names)) > 1:
            break
        shared += 1
    return {folder: parts[shared:] for folder, parts in parents.items()}


def _share_names(first: Sequence[str], one: str, second: Sequence[str], other: str) -> bool:
    """Whether each image of one of two folders is called as one of the other, or so with one addition to all names."""
    ours, theirs = (
        {str(PurePosixPath(path).relative_to(folder).with_suffix("")) for path in paths}
        for paths, folder in ((first, one), (second, other))
    )
    return _are_made_of(ours, theirs) or _are_made_of(theirs, ours)


def _are_made_of(names: Collection[str], originals: Collection[str]) -> bool:
    example = min(names)
    ends = (example.removeprefix(name) for name in originals if example.startswith(name))
    return any(
        all(name.endswith(end) and name.removesuffix(end) in originals for name in names)
        for end in ends
        if not end[:1].isalnum()  # 1 and 10 count the images
    )
