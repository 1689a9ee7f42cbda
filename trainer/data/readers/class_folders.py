"""Find the folders that may be classes, and the folder of test images beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError
from trainer.data.names.masks import holds_masks, masks_are_worn, stem_of_owner
from trainer.data.names.own_files import is_data
from trainer.data.names.parts import (
    Split,
    are_parts,
    beside_classes,
    folder_part,
    folder_split,
    is_held_out,
    names_no_class,
    split_of,
)
from trainer.data.names.put_aside import holds_copies, is_aside
from trainer.data.readers.doubts.other_tables import is_other_table, may_give_labels
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.tables.find_tables import is_unlabelled
from trainer.data.readers.tables.reading.table_files import is_table
from trainer.formats.delimited import SUFFIXES
from trainer.formats.labels import natural_key
from trainer.inference.printable import printable

_PART_WORDS = frozenset(
    ("image", "images", "img", "imgs", "part", "parts", "batch", "chunk", "shard", "fold", "data", "set", "subset")
)
_LIST_FOLDERS = frozenset((
    "anno", "annos", "annot", "annots", "info", "meta", "metadata", "list", "lists", "splits", "imagesets", "tables",
    "csv", "docs", "imdb",
))  # fmt: skip
_LISTS = (*SUFFIXES, ".lst", ".list", ".dat", ".log", ".md", ".names")


def class_folder_names(folder: Path, files: ImageFiles) -> list[str]:
    """Names of the folders that may be classes: two at least with images, and not numbered parts of one set."""
    root = class_root(folder, files)
    if root is None:
        return []
    names = [path.name for path in class_folders(folder, root) if not holds_lists(path)]
    if hold_images(folder, root, files) < 2 or seem_parts(names) or part_folders(folder, root, files):
        return []
    return [] if are_parts(names) else names  # train/ and valid/ without folders for classes


def hold_images(folder: Path, root: Path, files: ImageFiles) -> int:
    """The number of folders in ``root`` that may be classes and hold images."""
    return sum(bool(files.paths_in(path)) for path in class_folders(folder, root))


def holds_lists(folder: Path) -> bool:
    """Whether a folder holds lists and tables by its name and its files, and no image: ``meta``, ``annotations``."""
    name = folder.name.lower()
    if not (holds_masks(name) or names_no_class(name) or name in _LIST_FOLDERS):
        return False
    return _holds_lists_alone(folder, depth=2)


def _holds_lists_alone(folder: Path, depth: int) -> bool:
    entries = [path for path in folder.iterdir() if is_data(path)]
    return bool(entries) and all(
        _is_list(path)
        if path.is_file()
        else depth > 0 and not path.is_symlink() and _holds_lists_alone(path, depth - 1)
        for path in entries
    )


def _is_list(path: Path) -> bool:
    if not path.suffix:
        return may_give_labels(path) or split_of(path.stem) is not None
    return path.suffix.lower() in _LISTS or is_table(path) or is_other_table(path)


def part_folders(folder: Path, root: Path, files: ImageFiles) -> list[str]:
    """The names of the class folders that hold a part of the images by their names, and no class of their own.

    These are folders for training, testing or validation beside another such folder (``train`` beside ``test`` and
    ``extra``), and folders whose names speak of images or parts beside the only other one (``crop_part1`` beside
    ``UTKFace``). A folder ``train`` beside folders with the names of classes is a class.
    """
    names = [path.name for path in class_folders(folder, root) if not holds_lists(path)]
    found = parts_among(names, [path.name for path in subfolders(root)])
    return found if all(holds_single_images(files, root / name) for name in found) else []


def parts_among(names: Sequence[str], siblings: Sequence[str]) -> list[str]:
    """Those of the names of folders that speak of a part of the images, as `part_folders`.

    Args:
        siblings: names of all folders beside them, and of themselves.
    """
    if are_parts(names):
        return []
    parts = [name for name in siblings if folder_part(name, siblings)]
    found = [name for name in parts if name in names]
    rest = [name for name in names if name not in found]
    if len(parts) < 2 and not all(
        is_aside(name) or names_no_class(name) or is_unlabelled(PurePosixPath(name)) for name in rest
    ):
        found = []
    unnamed = [name for name in names if names_no_class(name) and not _PART_WORDS.isdisjoint(_plain_words(name))]
    return unnamed if not found and len(names) - len(unnamed) == 1 else found


def holds_single_images(files: ImageFiles, inner: Path) -> bool:
    """Whether a class folder holds images and no folders of images that may be classes themselves."""
    name = inner.relative_to(files.root).as_posix()
    content = content_of_class(name, files.paths_in(inner), files.other.linked)
    return bool(content.images) and not content.nested


def _plain_words(name: str) -> set[str]:
    return set(re.split(r"[^a-z]+", name.lower()))


def seem_parts(names: Sequence[str]) -> bool:
    """Whether the names speak of images or parts: ``images`` and ``masks``, ``part_1`` and ``part_2``, ``Part A``."""
    if all(map(names_no_class, names)):
        return not are_parts(names)
    return are_numbered(names) and not _PART_WORDS.isdisjoint(_plain_words(names[0]))


def are_numbered(names: Sequence[str]) -> bool:
    """Whether names differ in numbers or in a letter at their end alone: ``P01``, ``2023-01``, ``Part A``."""
    return len({re.sub(r"\d+|(?<=[\W_])[a-z]$", "0", name.lower()) for name in names}) == 1


def class_root(folder: Path, files: ImageFiles) -> Path | None:
    """The folder that holds the class folders: the training folder, the only folder with images, or the data folder.

    A folder of masks beside ``images`` or the like counts for nothing.
    """
    splits = splits_of(folder)
    found = [path for path, split in splits.items() if split != "test"]
    # A folder "train" without subfolders is a class: images of trains.
    train = [path for path in found if splits[path] == "train" and subfolders(path)]
    if len(train) == 1:
        return _unwrapped(train[0])
    with_images = [path for path in found if files.paths_in(path)]
    others = [path for path in with_images if not holds_masks(path.name)]
    if len(others) == 1 and names_no_class(others[0].name) and subfolders(others[0]):
        with_images = others
    if len(found) == 1 or len(with_images) == 1:
        return _unwrapped((with_images or found)[0])
    return folder if found else None


def class_folders(folder: Path, root: Path) -> list[Path]:
    """The folders in ``root`` that may be classes, in natural order."""
    tests, folders = _test_folders_in(folder, root), subfolders(root)
    names = {path.name for path in folders}
    return [path for path in folders if path not in tests and not _repeats_classes(path, names)]


def _repeats_classes(folder: Path, classes: Collection[str]) -> bool:
    """Whether a folder holds the ``classes`` beside it once more, for validation: ``val/cat`` beside ``cat``."""
    if not is_held_out(folder.name):
        return False
    inner = [path.name for path in subfolders(folder)]
    return bool(inner) and all(name in classes and name != folder.name for name in inner)


def _test_folders_in(folder: Path, root: Path) -> list[Path]:
    """The folders of test images in ``root``.

    Further down than the data ``folder``, they lie beside two classes at least. There is a class of such a name where
    another folder of the data, such as ``valid``, has a folder of the same name.
    """
    splits = splits_of(root)
    tests = [path for path, split in splits.items() if split == "test"]
    if not tests or root == folder:
        return tests
    names = [path.name for path in splits]
    top = root.relative_to(folder).parts[0]
    elsewhere = {inner.name for path in subfolders(folder) if path.name != top for inner in subfolders(path)}
    return [path for path in tests if path.name not in elsewhere and beside_classes(path.name, names)]


def find_test_folder(folder: Path, root: Path) -> Path | None:
    """The folder of test images in the data folder, or in the ``root`` of the class folders; None without one.

    Raises:
        DataError: there are several.
    """
    found = list(dict.fromkeys((*_test_folders_in(folder, folder), *_test_folders_in(folder, root))))
    if len(found) > 1:
        names = ", ".join(printable(path.relative_to(folder).as_posix()) for path in found)
        inner = printable(next((path.name for path in found if path.parent != folder), ""))
        rename = f"; if {inner} is a class, rename it, such as to {inner}_class" * bool(inner)
        raise DataError(
            f"{names}: each could be the test folder; leave only one of them, or put the images of all into one folder "
            f"test{rename}"
        )
    return found[0] if found else None


def mask_folders_among(folders: Sequence[Path], files: ImageFiles) -> list[Path]:
    """Those of the class folders that hold masks by their names, of which most have the stem of one other image.

    Test images have masks, too. A mask may have a word for masks at its stem (``1_mask.png``), and its image a
    beginning (``v1.2.1.png``). Where each class numbers its images from 0, equal stems mean nothing.
    """
    if masks_are_worn(path.name for path in folders):
        return []
    masks = [path for path in folders if holds_masks(path.name)]
    if not masks:
        return []
    stems = {path: {PurePosixPath(image).stem for image in files.paths_in(path)} for path in folders}
    images = [path for path in folders if path not in masks and not holds_copies(path.name)]
    owners = Counter(stem for path in images for stem in stems[path])
    tests = {PurePosixPath(image).stem for image in files.paths_below("test")}
    single = {stem for stem, count in owners.items() if count == 1} | (tests - owners.keys())
    ends = Counter(end for stem, count in owners.items() for end in _ends_of(stem) for _ in range(count))
    found = [
        path
        for path in masks
        if 2 * sum(stem in single or stem_of_owner(stem) in single for stem in stems[path]) > len(stems[path])
        or (stems[path] and all(1 in (ends[stem], ends[stem_of_owner(stem)]) for stem in stems[path]))
    ]
    return found if len(folders) - len(found) > 1 else []


def _ends_of(stem: str) -> set[str]:
    """A stem, and what follows each mark in it: ``v1.IMG_200`` ends with ``IMG_200`` and ``200``."""
    return {stem, *(stem[mark.end() :] for mark in re.finditer(r"[\W_]+", stem))}


@dataclass(frozen=True, kw_only=True)
class ClassContent:
    """What a class folder holds, as paths relative to the data folder.

    images: its images.
    masks: images in inner folders of masks, which are not read.
    nested: images in other inner folders, which may be classes themselves.
    """

    images: Sequence[str]
    masks: Sequence[str] = ()
    nested: Sequence[str] = ()


def content_of_class(name: str, paths: Sequence[str], linked: Collection[str]) -> ClassContent:
    """Divide the images in a class folder and below it.

    The images lie directly in it, or all in one inner folder called ``images`` or the like, as in Tiny ImageNet, or
    like the class itself. Inner folders of masks may lie beside.

    Args:
        name: the class folder, relative to the data folder.
        paths: the images in and below it, relative to the data folder.
        linked: paths through links, which count as images directly in it.
    """
    inner = {path: "" if path in linked else path.removeprefix(f"{name}/").rpartition("/")[0] for path in paths}
    own = PurePosixPath(name).name
    masks = [path for path in paths if inner[path] and _holds_masks_of(inner[path].partition("/")[0], own)]
    nested = [path for path in paths if inner[path] and path not in masks]
    direct = [path for path in paths if not inner[path]]
    places = {inner[path] for path in nested}
    if not direct and len(places) == 1 and _says_nothing(places.pop(), own):
        return ClassContent(images=nested, masks=masks)
    if not direct and not nested:
        return ClassContent(images=paths, nested=masks)
    return ClassContent(images=direct, masks=masks, nested=nested)


def in_two_classes(files: ImageFiles, paths: Sequence[str], labels: Sequence[str]) -> list[str]:
    """A message for each two classes with the same image file, which one of them reaches through a link.

    Args:
        files: the images of the data folder.
        paths: those of them that are in class folders.
        labels: the name of the class folder of each of ``paths``.
    """
    links = {path for path in paths if path in files.other.linked or (files.root / path).is_symlink()}
    if not links:
        return []
    owners: dict[Path, tuple[str, str]] = {}
    messages: dict[tuple[str, str], str] = {}
    for path, label in sorted(zip(paths, labels, strict=True), key=lambda entry: entry[0] in links):
        first, owner = owners.setdefault((files.root / path).resolve(), (path, label))
        if owner != label:
            message = f"{printable(path)} is {printable(first)} through a link, so this image is in two classes"
            messages.setdefault((owner, label), f"{message}: remove the link, or move the image")
    return list(messages.values())


def _says_nothing(inner: str, own: str) -> bool:
    """Whether the name of a folder inside the class folder ``own`` is no class: ``images``, or that of the class."""
    if inner.casefold() == own.casefold():
        return True
    return names_no_class(inner) and not holds_masks(inner) and not is_held_out(inner) and split_of(inner) is None


def _holds_masks_of(inner: str, own: str) -> bool:
    """Whether a folder holds masks by its name, which may begin with that of its class: ``Trout GT`` in ``Trout``."""
    rest = inner[len(own) :] if inner.casefold().startswith(own.casefold()) else ""
    return holds_masks(inner) or (bool(re.match(r"[\W_]", rest)) and holds_masks(rest))


def splits_of(folder: Path) -> dict[Path, Split | None]:
    """The subfolders in natural order, and the split that each holds."""
    found = subfolders(folder)
    names = [path.name for path in found]
    return {path: folder_split(path.name, names) for path in found}


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, in natural order; empty if it is no folder."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and is_data(path)]
    return sorted(found, key=lambda path: natural_key(path.name))


def _unwrapped(folder: Path) -> Path:
    """``folder``, or the folder inside it if it holds nothing else, repeatedly (``train/train/CLASS``)."""
    while len(inside := [path for path in folder.iterdir() if is_data(path)]) == 1 and subfolders(inside[0]):
        folder = inside[0]
    return folder
