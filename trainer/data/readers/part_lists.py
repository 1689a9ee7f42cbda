"""Lists of the training and test images beside class folders, such as Food-101's ``meta/train.txt``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, listed
from trainer.data.file_names import is_held_out, split_of
from trainer.data.readers.class_folders import subfolders
from trainer.data.readers.matching.id_spellings import composed
from trainer.formats.delimited import Table
from trainer.formats.part_words import Part

_SUFFIXES = (".txt", ".lst", ".csv")
_MOST_BYTES = 2**26


@dataclass(frozen=True, kw_only=True)
class PartLists:
    """The images of class folders, divided by lists.

    train: paths of the training images.
    test: the test images as a table with the columns id and image path; None without any.
    test_paths: paths of the test images.
    notes, warnings: sentences for the user.
    """

    train: frozenset[str]
    test: Table | None
    test_paths: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def warnings_beside(self, test_folder: Path | None) -> tuple[str, ...]:
        """The warnings, with one about the listed test images if a folder of test images goes before them."""
        if self.test is None or test_folder is None:
            return self.warnings
        count, place = len(self.test_paths), self.test.path
        where = place.relative_to(test_folder.parent).as_posix()
        text = f"{count} images that {where} lists for testing, because {test_folder.name}/ holds the test images"
        return (*self.warnings, f"not read: {text}")


def divide_by_lists(
    folder: Path, root: Path, paths: Sequence[str], encoding: str | None, *, divide: bool
) -> PartLists | None:
    """Divide the images of class folders by the lists beside them; None without lists.

    Args:
        folder: the data folder. Lists lie in it, in its folders, and beside the class folders.
        root: the folder of the class folders.
        paths: the images of all classes, relative to ``folder``.
        divide: whether the lists are used. False: all images are training images, and a note names the lists.

    Raises:
        DataError: several lists of one part that differ, or images in the lists of two parts.
    """
    prefix = "" if root == folder else f"{root.relative_to(folder).as_posix()}/"
    lists = _read_lists(folder, root, _spellings(paths, prefix), encoding)
    if not any(set(one.images) < set(paths) for one in lists):
        return None
    given = listed((one.name for one in lists), 4)
    if not divide:
        note = f"{given}: not used, because --layout folders trains on the images of all parts"
        return PartLists(train=frozenset(paths), test=None, test_paths=(), notes=(note,), warnings=())
    parts, warnings = _parts(lists, given)
    rest = [path for path in paths if path not in parts]
    if rest and "train" not in parts.values():
        parts.update(dict.fromkeys(rest, "train"))
    elif rest:
        warnings.append(f"not read: {len(rest)} images that no list of training images names, such as {rest[0]}")
    if held_out := sum(part == "val" for part in parts.values()):
        warnings.append(f"not read: {held_out} validation images by the lists (folds are cut from the training images)")
    train = frozenset(path for path, part in parts.items() if part == "train")
    if not train:
        raise DataError(
            f"{given}: the lists leave no training image; add --layout folders (data.layout) to ignore them"
        )
    trained = {PurePosixPath(path).parent.name for path in train}
    if lost := [
        name for name in dict.fromkeys(PurePosixPath(path).parent.name for path in paths) if name not in trained
    ]:
        warnings.append(f"not trained: {listed(lost, 4)}, classes without a training image by the lists")
    test = tuple(path for path in paths if parts.get(path) == "test")
    source = next((one.path for one in lists if one.part == "test"), folder)
    note = f"{given}: the lists divide the images: {len(train)} train, {len(test)} test; --layout folders trains on all"
    table = _table(source, test, prefix) if test else None
    return PartLists(train=train, test=table, test_paths=test, notes=(note,), warnings=tuple(warnings))


@dataclass(frozen=True, kw_only=True)
class _List:
    """A file that lists images of one part."""

    path: Path
    name: str
    """Its path relative to the data folder."""
    part: Part
    images: list[str]
    lost: list[str]
    """Lines that name no image."""


def _read_lists(folder: Path, root: Path, known: Mapping[str, str], encoding: str | None) -> list[_List]:
    """The files that are called after a part and name more images than other things."""
    lists = []
    for path in _candidates(folder, root):
        part = _part_of(path.stem)
        if part is None:
            continue
        images, lost = _listed_images(path, known, encoding)
        if len(images) > len(lost):
            name = path.relative_to(folder).as_posix()
            lists.append(_List(path=path, name=name, part=part, images=images, lost=lost))
    return lists


def _parts(lists: Sequence[_List], given: str) -> tuple[dict[str, Part], list[str]]:
    """The part of each listed image, and warnings.

    Args:
        given: names of the lists, for messages.

    Raises:
        DataError: several lists of one part that differ, or images in the lists of two parts.
    """
    parts: dict[str, Part] = {}
    warnings = []
    for wanted in ("train", "val", "test"):
        own = [one for one in lists if one.part == wanted]
        if len({frozenset(one.images) for one in own}) > 1:
            raise DataError(
                f"{listed((one.name for one in own), 4)}: each lists other {wanted} images. Move all but one out "
                "of the data folder, or train on the images of all parts with --layout folders (data.layout)"
            )
        for one in own[:1]:
            if twice := [image for image in one.images if image in parts]:
                raise DataError(
                    f"{one.name} lists {twice[0]} as a {one.part} image, which is a {parts[twice[0]]} image by another "
                    f"list ({given}; {len(twice)} such images): remove these lines from one of the lists, or train on "
                    "the images of all parts with --layout folders (data.layout)"
                )
            parts.update(dict.fromkeys(one.images, one.part))
            if one.lost:
                warnings.append(
                    f"{one.name}: {len(one.lost)} lines name no image of the classes, such as {one.lost[0]!r}"
                )
    return parts, warnings


def _part_of(stem: str) -> Part | None:
    return "val" if is_held_out(stem) else split_of(stem)


def _candidates(folder: Path, root: Path) -> list[Path]:
    """The files of lists in the data folder, in its folders but that of the classes, and in those above the classes."""
    inner = [path for path in subfolders(folder) if path != root and path.parent != root and not path.is_symlink()]
    places = dict.fromkeys([folder, *inner, root, *(path for path in root.parents if path.is_relative_to(folder))])
    return sorted(
        path
        for place in places
        for path in place.iterdir()
        if path.suffix.lower() in _SUFFIXES and path.is_file() and path.stat().st_size <= _MOST_BYTES
    )


def _spellings(paths: Sequence[str], prefix: str) -> Mapping[str, str]:
    """The image of each way to write its path: from the data or the class folders, with or without extension.

    A spelling that fits two images means none.
    """
    known: dict[str, str] = {}
    for path in paths:
        inner = path.removeprefix(prefix)
        whole = {path, inner, PurePosixPath(path).name}
        for key in {composed(text) for name in whole for text in (name, str(PurePosixPath(name).with_suffix("")))}:
            known[key] = path if known.setdefault(key, path) == path else ""
    return known


def _listed_images(path: Path, known: Mapping[str, str], encoding: str | None) -> tuple[list[str], list[str]]:
    """The images that the lines of a file name, and the lines that name none. A number may follow a name."""
    try:
        lines = path.read_text(encoding=encoding or "utf-8-sig").splitlines()
    except (UnicodeError, LookupError):  # no list
        return [], []
    found: dict[str, None] = {}
    lost = []
    for line in filter(None, map(str.strip, lines)):
        text = composed(line.replace("\\", "/").strip("\"'").removeprefix("./"))
        name = known.get(text) or known.get(text.rpartition(" ")[0].rstrip(" ,")) or known.get(text.rpartition(",")[0])
        if name:
            found[name] = None
        else:
            lost.append(line)
    return list(found), lost


def _table(source: Path, paths: Sequence[str], prefix: str) -> Table:
    return Table(
        path=source,
        rows=(("id", "image"), *((path.removeprefix(prefix), path) for path in paths)),
        numbers=tuple(range(len(paths) + 1)),
        delimiter=",",
        newline="\n",
        bom=False,
    )
