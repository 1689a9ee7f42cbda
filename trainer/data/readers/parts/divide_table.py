"""Divide the rows of a training table by the lists of images beside it, such as ``train.txt`` and ``test.txt``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, counted
from trainer.data.names.put_aside import holds_copies
from trainer.data.readers.class_folders import subfolders
from trainer.data.readers.matching.id_spellings import has_image_suffix, slashes
from trainer.data.readers.parts.lists_apart import warn_of_lists
from trainer.data.readers.parts.number_lists import number_lists
from trainer.data.readers.parts.part_files import (
    PartFile,
    of_own_folders,
    part_of_stem,
    parts_of_images,
    read_part_files,
    spellings,
)
from trainer.data.readers.parts.unread_lists import refuse_unread_lists
from trainer.data.readers.parts.unused_lists import names_of, sort_lists
from trainer.data.readers.tables.find_tables import are_twins
from trainer.data.readers.tables.part_tables import PartTable
from trainer.formats.delimited import Table
from trainer.formats.part_words import Part, with_joined_parts


@dataclass(frozen=True, kw_only=True)
class TableLists:
    """What the lists beside a table say.

    parts: the part of each image of the table; None where the lists do not divide them.
    test: images that only a list of test images names, as a table of one column; None without any.
    used: the files of the lists.
    unused: the files of lists that divide nothing, of which a warning speaks.
    warnings: sentences for the user.
    """

    parts: PartTable | None = None
    test: Table | None = None
    used: frozenset[Path] = frozenset()
    unused: frozenset[Path] = frozenset()
    warnings: tuple[str, ...] = ()


def lists_beside(
    folder: Path,
    table: Path,
    labelled: Mapping[str, str],
    images: Sequence[str],
    apart: Mapping[Part, Sequence[str]],
    encoding: str | None,
    ids: Mapping[str, str] | None = None,
    *,
    has_tests: bool = False,
    tests: str = "",
    is_chosen: bool = False,
) -> TableLists:
    """Read the lists in the data folder, in its folders and beside the table.

    Args:
        folder: the data folder.
        table: the training table, which is no list itself.
        labelled: the id of each image that it labels, by path.
        images: paths of all images.
        apart: those in folders for testing and validation.
        ids: the path of the image of each id that another table names; in the lists, too, these ids are no file names.
        has_tests: whether a table lists the test images.
        tests: what gives test images that ``table`` does not label, as the beginning of a sentence; empty: nothing.
        is_chosen: whether the user named the table.

    Raises:
        DataError: a file of an unread kind may divide the images, images are in the lists of two parts, the table
            labels some images of a list of test images, or JSON that seems to divide them cannot be read.
    """
    originals = [path for path in images if not any(map(holds_copies, PurePosixPath(path).parts[:-1]))]
    known = {**spellings(originals), **spellings(sorted(labelled)), **(ids or {})}
    places = [folder, *(path for path in subfolders(folder) if not path.is_symlink()), table.parent]
    otherwise = "; without it, the images of all rows are trained on"
    refuse_unread_lists(folder, places, known, otherwise, has_tests=has_tests or bool(apart["test"]))
    numbers = tuple(number_lists(folder, places, known, encoding))
    found = of_own_folders(read_part_files(folder, places, known, (), encoding, table=table), apart, encoding)
    dividing = [one for one in found if not set(one.images).isdisjoint(labelled)]
    if "trainval" in with_joined_parts(table.stem.lower()):  # the lists of its two parts divide nothing
        dividing = [one for one in dividing if one.part == "test"]
    own_tests = _test_images(found, table, labelled)
    tests = tests or ("" if own_tests is None else f"{own_tests.path.name} lists the test images")
    if any(set(labelled) - set(one.images) for one in dividing):
        _refuse_overlap(table, labelled, dividing)
    known_lists = sort_lists(dividing, table, labelled, tests or "--table chooses it" * is_chosen)
    dividing = list(known_lists.dividing)
    if not any(set(labelled) - set(one.images) for one in dividing):
        nothing_known = not (has_tests or apart["test"] or known_lists.unused)
        doubts = warn_of_lists(folder, table, labelled, known, apart) if nothing_known else []
        warnings = (*known_lists.warnings, *_lost_tests(found, own_tests), *numbers, *doubts)
        return TableLists(test=own_tests, unused=known_lists.unused, warnings=warnings)
    names = names_of(dividing)
    parts, lost = parts_of_images(dividing, names)
    if "train" not in parts.values():
        parts = {**dict.fromkeys(labelled, "train"), **parts}
    if "train" not in {parts.get(image) for image in labelled}:
        raise DataError(f"{names}: the lists leave no training image of {table.name}; move them out of the data folder")
    several = len({one.path for one in dividing}) > 1
    return TableLists(
        parts=PartTable(path=dividing[0].path, parts=parts, numbers={}, names=names if several else ""),
        used=frozenset(one.path for one in dividing),
        unused=known_lists.unused,
        warnings=(*lost, *_warn_of_tests(parts, labelled, dividing, table, tests), *known_lists.warnings, *numbers),
    )


def _warn_of_tests(
    parts: Mapping[str, Part], labelled: Collection[str], lists: Sequence[PartFile], table: Path, tests: str
) -> list[str]:
    """A warning about rows that lists hold back for testing, although other images are those for testing.

    Args:
        parts: the part of each listed image.
        tests: what names the other test images; empty where nothing does.
    """
    held_back = sum(parts.get(image) == "test" for image in labelled)
    if not tests or not held_back:
        return []
    testing = [one for one in lists if one.part == "test"]
    several = len({one.path for one in testing}) > 1
    given = f"{names_of(testing)} list{'s' * (not several)} for testing"
    return [
        f"not trained: {counted(held_back, 'row')} of {table.name} that {given}, though {tests}; move "
        f"{'these lists' if several else 'this list'} out of the data folder to train on all rows"
    ]


def _refuse_overlap(table: Path, labelled: Mapping[str, str], dividing: Sequence[PartFile]) -> None:
    """Refuse a test set of which the training table labels some images, though it does not list them all.

    A list that divides the table has all its images in the table, or most of them where some are lost.
    """
    if any(one.part == "train" for one in dividing):
        return
    for one in dividing:
        both = [image for image in one.images if image in labelled]
        few = len(both) * 2 < len(one.images) or part_of_stem(table.stem) == "train"
        if one.part == "test" and few and len(both) < len(one.images):
            raise DataError(
                f"{one.name} lists {len(one.images)} test images, but {table.name} labels {len(both)} of them, such as "
                f"{both[0]}: remove these rows from one of the two"
            )


def _test_images(found: Sequence[PartFile], table: Path, labelled: Mapping[str, str]) -> Table | None:
    """The images of a list of test images beside a list of training images with labels, as in Oxford's pets.

    Among several lists, the one with the table's name counts (`are_twins`).
    """
    lists = [one for one in found if one.part == "test" and one.path.parent == table.parent]
    if len(lists) > 1:
        lists = [one for one in lists if are_twins(table, one.path)]
    if part_of_stem(table.stem) != "train" or len(lists) != 1 or not set(lists[0].images).isdisjoint(labelled):
        return None
    rows = (("id",), *((name,) for name in _ids_like(list(labelled.values()), lists[0].images)))
    return Table(path=lists[0].path, rows=rows, numbers=tuple(range(len(rows))), delimiter=",", newline="\n", bom=False)


def _lost_tests(found: Sequence[PartFile], tests: Table | None) -> list[str]:
    """A warning about lines of the list of test images that name none."""
    lost = [line for one in found if tests is not None and one.path == tests.path for line in one.lost]
    if not lost or tests is None:
        return []
    return [f"{tests.path.name}: {counted(len(lost), 'line')} without an image, such as {lost[0]!r}"]


def _ids_like(ids: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Ids of images that are written as ``ids`` are: with as many folders, with or without extension.

    Names that several images have get all their folders.
    """
    folders = max((len(PurePosixPath(slashes(name)).parts) for name in ids), default=1)
    names = ["/".join(PurePosixPath(path).parts[-folders:]) for path in paths]
    if len(set(names)) < len(names):
        names = list(paths)
    return names if all(map(has_image_suffix, ids)) else [str(PurePosixPath(name).with_suffix("")) for name in names]
