"""Lists of the training and test images beside class folders, such as Food-101's ``meta/train.txt``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, counted, listed
from trainer.data.names.own_files import is_data
from trainer.data.readers.class_folders import holds_lists, subfolders
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.parts.part_files import (
    ALL_PARTS,
    PartFile,
    of_own_folders,
    parts_of_images,
    read_part_files,
    spellings,
)
from trainer.data.readers.parts.unread_lists import refuse_unread_lists
from trainer.data.readers.tables.part_tables import find_part_tables
from trainer.data.readers.tables.reading.divisions_beside import Divided, divisions_by, side_tables
from trainer.data.readers.tables.reading.table_files import is_table
from trainer.formats.delimited import Table
from trainer.formats.part_words import Part

_DEEPEST = 3  # folders below one that is no class, such as ImageSets/Main


@dataclass(frozen=True, kw_only=True)
class PartLists:
    """The images of class folders, divided by lists.

    train: paths of the training images.
    test: the test images as a table with the columns id and image path; None without any.
    test_paths: paths of the test images.
    read: the files of the lists.
    notes, warnings: sentences for the user.
    """

    train: frozenset[str]
    test: Table | None
    test_paths: tuple[str, ...]
    read: tuple[Path, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def warnings_beside(self, folder: Path, test_folder: Path | None) -> tuple[str, ...]:
        """The warnings, with one about the listed test images if a folder of test images goes before them.

        Args:
            folder: the data folder.
        """
        if self.test is None or test_folder is None:
            return self.warnings
        count, place = len(self.test_paths), self.test.path
        where, own = (path.relative_to(folder).as_posix() for path in (place, test_folder))
        images = counted(count, "image")
        text = f"{images} that {where} lists for testing, because {own}/ holds the test images"
        return (*self.warnings, f"not read: {text}")


def divide_by_lists(
    folder: Path,
    root: Path,
    paths: Sequence[str],
    apart: Mapping[Part, Sequence[str]],
    encoding: str | None,
    *,
    divide: bool,
) -> PartLists | None:
    """Divide the images of class folders by the lists beside them; None without lists.

    Args:
        folder: the data folder. Lists lie in it, in its folders, beside the class folders, and in a folder of lists
            among these.
        root: the folder of the class folders.
        paths: the images of all classes, relative to ``folder``.
        apart: the images in folders for testing and validation.
        divide: whether the lists are used. False: all images are training images, and a note names the lists.

    Raises:
        DataError: several lists of one part that differ, images in the lists of two parts, or labels in a list that
            contradict the folders.
    """
    prefix = "" if root == folder else f"{root.relative_to(folder).as_posix()}/"
    inner = [path for path in subfolders(folder) if root not in (path, folder)]
    inner += [path for path in subfolders(root) if holds_lists(path)]
    places = [
        folder,
        *chain.from_iterable(_with_inner(path) for path in inner),
        root,
        *(path for path in root.parents if path.is_relative_to(folder)),
    ]
    class_of = {path: PurePosixPath(path.removeprefix(prefix)).parts[0] for path in paths}
    classes = set(class_of.values())
    known = spellings(paths)
    if divide:
        refuse_unread_lists(folder, places, known, f", {ALL_PARTS}", has_tests=bool(apart["test"]))
    try:
        lists = read_part_files(folder, places, known, classes if divide else (), encoding)
    except DataError:
        if divide:
            raise
        return None
    tables = _part_tables(folder, places, paths, encoding, divide=divide)
    of_tables = {one.path for one in tables}
    lists = [*(one for one in lists if one.path not in of_tables), *tables]
    others = {image for images in apart.values() for image in images}
    lists = [one for one in of_own_folders(lists, apart, encoding) if not set(one.images) <= others]
    if not any(set(one.images) < set(paths) for one in lists):
        return None
    read = tuple(dict.fromkeys(one.path for one in lists))
    given = listed(dict.fromkeys(one.name for one in lists), 4)
    if not divide:
        note = f"{given}: not used, because --layout folders trains on the images of all parts"
        return PartLists(train=frozenset(paths), test=None, test_paths=(), read=read, notes=(note,), warnings=())
    parts, warnings = parts_of_images(lists, given)
    rest = [path for path in paths if path not in parts]
    if rest and "train" not in parts.values():
        parts.update(dict.fromkeys(rest, "train"))
    elif rest:
        images = counted(len(rest), "image")
        warnings.append(f"not read: {images} that no list of training images names, such as {rest[0]}")
    if held_out := sum(part == "val" for part in parts.values()):
        images = counted(held_out, "validation image")
        warnings.append(f"not read: {images} by the lists (folds are cut from the training images)")
    train = frozenset(path for path, part in parts.items() if part == "train")
    if not train:
        raise DataError(
            f"{given}: the lists leave no training image; add --layout folders (data.layout) to ignore them"
        )
    trained = {class_of[path] for path in train}
    if lost := [name for name in dict.fromkeys(class_of.values()) if name not in trained]:
        warnings.append(f"not trained: {listed(lost, 4)}, classes without a training image by the lists")
    test = tuple(path for path in paths if parts.get(path) == "test")
    source = next((one.path for one in lists if one.part == "test"), folder)
    note = f"{given}: the lists divide the images: {len(train)} train, {len(test)} test; --layout folders trains on all"
    table = _table(source, test, prefix) if test else None
    return PartLists(train=train, test=table, test_paths=test, read=read, notes=(note,), warnings=tuple(warnings))


def _with_inner(place: Path, depth: int = _DEEPEST) -> Iterator[Path]:
    """A folder that is no class, and those below it, such as ``splits/split1``; links are not followed."""
    if place.is_symlink():
        return
    yield place
    for inner in subfolders(place) if depth else ():
        yield from _with_inner(inner, depth - 1)


def _part_tables(
    folder: Path, places: Iterable[Path], paths: Sequence[str], encoding: str | None, *, divide: bool
) -> list[PartFile]:
    """The tables with a column of image names and one of parts, as a list for each part.

    Args:
        divide: whether tables that say more about the images are searched for parts, too.

    Raises:
        DataError: such a table seems to divide the images, but holds values whose part is unknown.
    """
    tables = [path for place in dict.fromkeys(places) for path in sorted(place.iterdir())]
    tables = [path for path in tables if is_table(path) and path.is_file() and is_data(path)]
    matcher = ImageMatcher(ImageFiles(folder, paths, may_be_masks=False), "train")
    lists = []
    dividing = find_part_tables(tables, matcher, encoding)
    if divide and not dividing:
        every = Divided(images={path: path for path in paths})
        dividing = divisions_by(side_tables(tables, every, matcher, encoding))
    for table in dividing:
        found = matcher.match(table.parts).paths
        for part in dict.fromkeys(table.parts.values()):
            cells = [cell for cell, of in table.parts.items() if of == part]
            images = list(dict.fromkeys(found[cell] for cell in cells if cell in found))
            lost = [cell for cell in cells if cell not in found]
            name = table.path.relative_to(folder).as_posix()
            lists.append(PartFile(path=table.path, name=name, part=part, images=images, lost=lost))
    return lists


def _table(source: Path, paths: Sequence[str], prefix: str) -> Table:
    return Table(
        path=source,
        rows=(("id", "image"), *((path.removeprefix(prefix), path) for path in paths)),
        numbers=tuple(range(len(paths) + 1)),
        delimiter=",",
        newline="\n",
        bom=False,
    )
