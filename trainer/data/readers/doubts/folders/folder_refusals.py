"""Refusals of folders that may be no classes, each with what makes the folders readable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, listed
from trainer.data.names.parts import folder_split
from trainer.data.names.put_aside import holds_copies, is_aside
from trainer.data.readers.class_folders import subfolders
from trainer.data.readers.doubts.folders.folder_twins import batch_twins, mask_twins, part_twins
from trainer.data.readers.doubts.other_tables import files_in
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.tables.find_tables import find_tables, is_named_training
from trainer.inference.printable import printable

_ANNOTATIONS = frozenset(("ann", "anno", "annos", "annotation", "annotations", "labels"))
"""Names of folders inside of a class folder that may hold the labels of its images."""


def refuse_two_training_folders(folder: Path, files: ImageFiles) -> None:
    """Refuse several folders of training images that hold class folders each: ``train`` and ``training``.

    Raises:
        DataError: there are several.
    """
    places = subfolders(folder)
    names = [place.name for place in places]
    training = [place for place in places if folder_split(place.name, names) == "train"]
    found = [place.name for place in training if sum(bool(files.paths_in(one)) for one in subfolders(place)) > 1]
    if len(found) > 1:
        raise DataError(
            f"{listed(found, 4)}: each could be the folder of the training images; leave only one of them, or put the "
            "images of all into one folder train"
        )


def refuse_own_tables(folder: Path, folders: Sequence[Path]) -> None:
    """Refuse folders of which several hold a table of labels each, as sites or cameras do.

    Raises:
        DataError: there are such tables.
    """
    own = [path for place in folders for path in find_tables(place).labels if is_named_training(path)]
    if len({path.parent for path in own}) > 1:
        names = listed((path.relative_to(folder).as_posix() for path in own), 4)
        raise DataError(
            f"{names} may hold the labels of the images beside them. Join them into one table labels.csv in the data "
            f"folder, with paths such as {own[0].parent.name}/1.jpg; or, if the folders are the classes, add --layout "
            "folders (data.layout)"
        )


def refuse_part_twins(names: Sequence[str]) -> None:
    """Refuse class folders of which some may hold test or validation images of others.

    Raises:
        DataError: there are such folders.
    """
    _refuse_twins(
        part_twins(names),
        "test or validation images",
        "Move the test images into one folder test, and validation images out of the data folder. If the folders",
    )


def refuse_mask_twins(names: Sequence[str]) -> None:
    """Refuse class folders of which some may hold masks of others' images.

    Raises:
        DataError: there are such folders.
    """
    _refuse_twins(mask_twins(names), "masks of the images", "Move them out of the data folder. If the folders")


def refuse_batch_twins(names: Sequence[str]) -> None:
    """Refuse class folders of which some may hold further images of others.

    Raises:
        DataError: there are such folders.
    """
    twins = batch_twins(names)
    further, other = twins[0] if twins else ("", "")
    _refuse_twins(
        twins,
        "further images",
        f"If {further!r} and {other!r} are one class, move the images of both into the folder {other!r}, under "
        "different file names, remove the empty folder, and do the same with the others. If all folders",
    )


def refuse_copies(folders: Sequence[Path], test_folder: Path | None, files: ImageFiles) -> None:
    """Refuse class folders that hold changed copies by their names, if all images are called as those of others.

    The others are the classes and the ``test_folder``.

    A folder that is only put aside by its name needs names that stand for one image of the others each: where every
    class numbers its images from 0, equal names mean nothing.

    Raises:
        DataError: there are such folders.
    """
    named = [path for path in folders if holds_copies(path.name) or is_aside(path.name)]
    if not named or len(folders) - len(named) < 2:
        return
    stems = {path: [PurePosixPath(image).stem for image in files.paths_in(path)] for path in folders}
    owners = Counter(stem for path in folders if path not in named for stem in stems[path])
    tests = [] if test_folder is None else files.paths_in(test_folder)
    owners.update(PurePosixPath(image).stem for image in tests)
    found = [
        path.name
        for path in named
        if stems[path] and all(owners[stem] == 1 or (owners[stem] and holds_copies(path.name)) for stem in stems[path])
    ]
    if found:
        hold, them = ("holds", "it") if len(found) == 1 else ("hold", "them")
        raise DataError(
            f"{listed(found, 4)} {hold} copies of the images in the class folders, by the names of the folder and of "
            f"all images in it. Move {them} out of the data folder. To train on {them} as a class, add "
            "--layout folders (data.layout)"
        )


def refuse_inner_annotations(folder: Path, folders: Sequence[Path], files: ImageFiles) -> None:
    """Refuse folders of which each holds files of annotations beside its images, as Supervisely's data sets do.

    Raises:
        DataError: each of them does.
    """
    found = [
        next((path for path in subfolders(one) if path.name.lower() in _ANNOTATIONS and not files.paths_in(path)), None)
        for one in folders
    ]
    inner = [path for path in found if path is not None and files_in(path)]
    if len(inner) == len(folders) > 0:
        raise DataError(
            f"each of the folders {listed([path.name for path in folders], 4)} holds annotations, such as "
            f"{printable(inner[0].relative_to(folder).as_posix())}, and may be a data set instead of a class. If the "
            "annotations hold the labels, write a table labels.csv with the columns image and label, and one row for "
            "each image. If the folders are the classes, add --layout folders (data.layout)"
        )


def _refuse_twins(twins: Sequence[tuple[str, str]], what: str, advice: str) -> None:
    """Refuse folders that may hold ``what`` of others by their names.

    Args:
        twins: the folders, each with the other one.
        advice: what to do, and the subject of the sentence on what to add if the folders are classes.

    Raises:
        DataError: there are any.
    """
    if twins:
        names, others = [name for name, _ in twins], list(dict.fromkeys(other for _, other in twins))
        folders, their = ("folder", "its name") if len(names) == 1 else ("folders", "their names")
        raise DataError(
            f"the {folders} {listed(names, 4)} may hold {what} of {listed(others, 4)} by {their}. {advice} are "
            "classes, add --layout folders (data.layout)"
        )
