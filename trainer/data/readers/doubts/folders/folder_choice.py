"""What to do where folders may be the classes, in words that work when they are followed."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from trainer.data.names.masks import holds_masks
from trainer.data.names.mentions import may_hold_tests, may_hold_validation
from trainer.data.names.parts import folder_split, is_held_out
from trainer.data.names.put_aside import holds_copies, is_aside
from trainer.data.readers.class_folders import (
    class_folder_names,
    class_folders,
    class_root,
    holds_lists,
    holds_single_images,
    subfolders,
)
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.tables.find_tables import find_tables
from trainer.inference.printable import printable

_DEEPEST = 6  # levels of folders in which classes are searched


def folders_choice(folder: Path, files: ImageFiles) -> str:
    """What to do if the folders of the images are the classes, as the end of a sentence."""
    if _are_readable(folder, files) or below_tables(folder, files) is not None:
        return "add --layout folders (data.layout)"
    inner = inner_classes(folder, files)
    if inner is not None:
        return f"give {printable(str(inner))} as the data folder"
    images = [path for path in files.paths if not any(map(holds_masks, PurePosixPath(path).parts[:-1]))]
    return (
        "write a table labels.csv with the columns image and label, and one row for each image, such as "
        f"{printable((images or files.paths)[0])}"
    )


def below_tables(folder: Path, files: ImageFiles) -> Path | None:
    """The folder further down that ``--layout folders`` reads: only tables lie beside those above it; else None.

    A sample submission or a list of test images there means the data folder itself.
    """
    if _are_readable(folder, files):
        return None
    tables = find_tables(folder)
    inner = inner_classes(folder, files)
    if inner is None or tables.sample is not None or tables.test is not None or tables.tests:
        return None
    above = [folder, *(place for place in inner.parents if folder in place.parents)]
    return inner if all(len(subfolders(place)) == 1 for place in above) else None


def inner_classes(folder: Path, files: ImageFiles) -> Path | None:
    """The only folder at the highest level that can be read as class folders; None without one.

    Folders of masks, and of images for testing and validation are no candidates. Folders of copies are none beside
    other training images.
    """
    level = [folder]
    for _ in range(_DEEPEST):
        level = [inner for place in level for inner in subfolders(place) if _may_be_data(inner, files)]
        found = [place for place in level if is_data_set(place)]
        if found:
            others = (place for place in level if place not in found)
            alone = len(found) == 1 and all(holds_single_images(files, place) for place in others)
            return found[0] if alone else None
    return None


def _may_be_data(inner: Path, files: ImageFiles) -> bool:
    name = inner.name
    if inner.is_symlink() or holds_masks(name):
        return False
    siblings = [path.name for path in subfolders(inner.parent)]
    is_part = may_hold_tests(name, siblings) or may_hold_validation(name)
    if (is_aside(name) or holds_copies(name) or is_part) and not _holds_all(inner, files):
        return False
    if is_held_out(name) or folder_split(name, siblings) == "test":
        return False
    return bool(files.paths_in(inner))


def _holds_all(inner: Path, files: ImageFiles) -> bool:
    """Whether all images but those for testing lie in a folder."""
    return {*files.paths_in(inner), *files.paths_below("test")} >= set(files.paths)


def is_data_set(place: Path) -> bool:
    """Whether a folder can be read as class folders."""
    files = ImageFiles.scan(place)
    return bool(class_folder_names(place, files)) and _are_readable(place, files)


def _are_readable(folder: Path, files: ImageFiles) -> bool:
    """Whether each of two class folders or more holds images, and no folder of images that may be classes."""
    root = class_root(folder, files)
    found = [] if root is None else [path for path in class_folders(folder, root) if not holds_lists(path)]
    return len(found) > 1 and all(holds_single_images(files, path) for path in found)
