"""Keep what a command writes out of the images: a picture in a class folder would become a training image."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from search.runtime.errors import SearchError
from trainer.data.names.own_files import PICTURES, is_data, is_own_picture, is_visible
from trainer.inference.file_kinds import SUFFIXES, unread_kind
from trainer.inference.printable import printable

_TABLES = (".csv", ".tsv", ".txt")
_USERS_TABLE = re.compile(r"train|labels?(?![a-z])")  # read as the user's own, whatever its header


class OutputInData(SearchError):
    """What is to be written would become a part of the data. Nothing was written."""


def check_file(path: Path, data: Iterable[Path], home: Path) -> None:
    """Check that a file at ``path`` will be no part of the data.

    A file beside the folders of images may have a usual name, because the data folder may be the working folder.

    Args:
        data: folders of images that are known on this machine.
        home: the home folder, in which everything may be written.

    Raises:
        OutputInData: it lies in a folder of images, or would be read as an image or a table of labels.
    """
    for folder in data:
        place = _place(path.parent, folder, home)
        if place is None:
            continue
        if (images := _image_folder(place, folder)) is not None:
            raise OutputInData(f"{_holds_images(path, images)}{_advice(path, folder)}")
        name = path.name.lower()
        if path.suffix.lower() in SUFFIXES and name not in PICTURES:
            raise OutputInData(
                f"{printable(str(path))} would be read as an image of the data folder {printable(str(folder))}"
                f"{_advice(path, folder)}"
            )
        if path.suffix.lower() in _TABLES and _USERS_TABLE.match(path.stem.lower()):
            raise OutputInData(
                f"{printable(str(path))} would be read as a table of labels, by its name, in the data folder "
                f"{printable(str(folder))}{_advice(path, folder)}"
            )


def check_folder(path: Path, data: Iterable[Path], home: Path) -> None:
    """Check that files in the folder ``path`` will be no part of the data. It need not exist.

    Args:
        data, home: as in `check_file`.

    Raises:
        OutputInData: it is a folder of images, or lies in one.
    """
    for folder in data:
        place = _place(path, folder, home)
        if place is not None and (images := _image_folder(place, folder)) is not None:
            raise OutputInData(f"{_holds_images(path, images)}{_advice(path, folder)}")


def _place(path: Path, folder: Path, home: Path) -> Path | None:
    """The real path of a folder, if it is ``folder`` or lies in it, but not in ``home``."""
    try:
        place, root = path.resolve(), folder.resolve()
        if not place.is_relative_to(root) or (home.resolve() != root and place.is_relative_to(home.resolve())):
            return None
    except (OSError, RuntimeError, ValueError):  # a loop of links, or no path: the writer explains it
        return None
    return place


def _image_folder(place: Path, folder: Path) -> Path | None:
    """The innermost folder of images among ``place`` and those around it, inside of ``folder``."""
    root = folder.resolve()
    around = [path for path in (place, *place.parents) if path.is_relative_to(root) and path != root]
    if any(path.is_dir() and not is_data(path) for path in around):
        return None
    return next((path for path in around if any(_images_below(path))), None)


def _images_below(folder: Path) -> Iterator[Path]:
    for here, subfolders, files in os.walk(folder):
        subfolders[:] = [name for name in subfolders if is_data(Path(here) / name)]
        for path in (Path(here) / name for name in files if is_visible(name)):
            if unread_kind(path) is None and not is_own_picture(path):
                yield path


def _holds_images(path: Path, images: Path) -> str:
    lies = "is" if path.resolve() == images else "lies in"
    return f"{printable(str(path))} {lies} a folder of images of the data ({printable(str(images))})"


def _advice(path: Path, folder: Path) -> str:
    """Where to write instead: in the working folder, or beside the data folder if that holds the working folder."""
    root = folder.resolve()
    place = root.parent if Path.cwd().resolve().is_relative_to(root) else Path()
    name = path.resolve().name
    free = next(each for each in (name, f"retable_{name}", f"my_retable_{name}") if not os.path.lexists(place / each))
    return f": give an --output outside of the data, such as {printable(str(place / free))}"
