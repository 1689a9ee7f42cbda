"""The image files under a folder, found by the ids that tables give them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

from trainer.formats.labels import natural_key, text_problem
from trainer.inference.images import SUFFIXES

ENDINGS = tuple(sorted(SUFFIXES))
"""How the files that count as images end, in lower case."""
Part = Literal["train", "test"]
_PART = re.compile(r"(?:^|[^a-z])(train|test)(?:ing)?(?:[^a-z]|imgs?|images?|sets?|data|pics?|files?|$)", re.IGNORECASE)
OUTPUT_FOLDER = "retable"  # below the working folder, which may be the data folder
_IGNORED = ("__macosx", "__pycache__", "thumbs.db")


def part_of(name: str) -> Part | None:
    """Which part of the data a file or folder name speaks of: ``test_images`` -> test, ``Contest`` -> None."""
    found = _PART.search(name)
    if found is None:
        return None
    return "train" if found.group(1).lower() == "train" else "test"


def is_visible(name: str) -> bool:
    """Whether a directory entry is data; hidden files and what archivers and file managers leave behind are not."""
    return not name.startswith(".") and name.lower() not in _IGNORED


def is_data(path: Path) -> bool:
    """Whether a folder entry is data: visible, and not the folder into which Retable itself writes."""
    return is_visible(path.name) and path.absolute() != Path.cwd() / OUTPUT_FOLDER


class LookupFailedError(ValueError):
    """An id that does not lead to exactly one image file inside the folder; the message is the cause alone."""


class ImageFiles:
    """All image files under ``root``, by their paths relative to it (``/`` as separator, in natural order).

    Links that stay inside the folder are followed if they lead to files; links to folders never are.
    """

    def __init__(
        self, root: Path, paths: Iterable[str], *, escaping: Iterable[str] = (), linked_folders: Iterable[str] = ()
    ) -> None:
        self.root = root
        self.paths = tuple(sorted(paths, key=natural_key))
        self.escaping = frozenset(escaping)
        """Image files that are links to somewhere outside of ``root``."""
        self.linked_folders = tuple(sorted(linked_folders))

    @staticmethod
    def scan(root: Path) -> ImageFiles:
        paths: list[str] = []
        escaping: list[str] = []
        linked: list[str] = []
        real_root = root.resolve()
        for folder, subfolders, files in os.walk(root):
            here = Path(folder)
            subfolders[:] = [name for name in subfolders if is_data(here / name)]
            linked += [(here / name).relative_to(root).as_posix() for name in subfolders if (here / name).is_symlink()]
            for name in files:
                if is_visible(name) and name.lower().endswith(ENDINGS):
                    path = here / name
                    relative = path.relative_to(root).as_posix()
                    paths.append(relative)
                    if path.is_symlink() and not path.resolve().is_relative_to(real_root):
                        escaping.append(relative)
        return ImageFiles(root, paths, escaping=escaping, linked_folders=linked)

    def under(self, folder: str) -> ImageFiles:
        """The files inside ``folder`` (relative, no trailing slash) alone; their paths stay relative to the root."""
        inside = [path for path in self.paths if path.startswith(folder + "/")]
        return ImageFiles(self.root, inside, escaping=self.escaping, linked_folders=self.linked_folders)

    @cached_property
    def _by_key(self) -> dict[str, list[str]]:
        """Paths by file name, by file name without its ending, and by both in lower case, the exact forms first."""
        table: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            pure = PurePosixPath(path)
            for key in {pure.name, "stem:" + pure.stem, "fold:" + pure.name.casefold()}:
                table[key].append(path)
        return dict(table)

    @cached_property
    def _parts(self) -> dict[str, Part | None]:
        """Which part each path's folders speak of; the innermost such folder decides."""
        parts: dict[str, Part | None] = {}
        for path in self.paths:
            marks = [part_of(folder) for folder in PurePosixPath(path).parts[:-1]]
            parts[path] = next((mark for mark in reversed(marks) if mark), None)
        return parts

    @cached_property
    def _marked(self) -> set[Part | None]:
        return set(self._parts.values())

    def has(self, identifier: str, part: Part) -> bool:
        """Whether `find` would succeed."""
        try:
            self.find(identifier, part)
        except LookupFailedError:
            return False
        return True

    def find(self, identifier: str, part: Part) -> str:
        """The path of the image that a table calls ``identifier``: its name with or without ending, or a path's tail.

        Files in folders marked for ``part`` come first, unmarked ones next; those marked for the other part count
        only where no folder is marked for this one.

        Raises:
            LookupFailedError: a path that leaves the folder, no such file, or several.
        """
        wanted = identifier.strip().replace("\\", "/")
        if problem := text_problem(identifier):
            raise LookupFailedError(f"the id {problem}")
        pure = PurePosixPath(wanted)
        if pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:", wanted):
            raise LookupFailedError(f"{identifier!r} leaves the data folder; ids are file names or paths inside it")
        for key in (pure.name, "stem:" + pure.name, "fold:" + pure.name.casefold()):
            candidates = self._of_part(
                [path for path in self._by_key.get(key, ()) if _ends_in(path, pure.parent)], part
            )
            if len(candidates) > 1 and wanted in candidates:
                return self._inside(wanted)
            if len(candidates) > 1:
                raise LookupFailedError(
                    f"{identifier!r} could be {' or '.join(candidates[:3])}: move one of them out of the folder, or "
                    "write the path into the table"
                )
            if candidates:
                return self._inside(candidates[0])
        hint = (
            f" ({self.linked_folders[0]} is a link to a folder: such links are not followed)"
            if self.linked_folders
            else ""
        )
        raise LookupFailedError(f"there is no image {identifier!r}{hint}")

    def _inside(self, path: str) -> str:
        if path in self.escaping:
            raise LookupFailedError(f"{path} is a link that leaves the data folder; copy the image into it")
        return path

    def _of_part(self, paths: list[str], part: Part) -> list[str]:
        marked_here = [path for path in paths if self._parts[path] == part]
        if marked_here:
            return marked_here
        return [path for path in paths if self._parts[path] is None or part not in self._marked]


def _ends_in(path: str, folder: PurePosixPath) -> bool:
    """Whether the file lies in a folder whose path ends in ``folder``; every path does in the empty one."""
    wanted = folder.parts
    return not wanted or PurePosixPath(path).parts[:-1][-len(wanted) :] == wanted
