"""Find image files in a data folder by the ids that tables use for them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

from trainer.common.errors import TrainerError
from trainer.formats.labels import natural_key, text_problem
from trainer.inference.file_kinds import ARCHIVES, SUFFIXES, is_hidden
from trainer.inference.find_images import FoundFiles, find_images, ignored_message, unread_message
from trainer.inference.printable import printable

IMAGE_SUFFIXES = tuple(sorted(SUFFIXES))
"""Extensions of image files, in lower case."""
Split = Literal["train", "test"]
_SPLIT = re.compile(
    r"(?:^|[^a-z])(train|test)(?:ing)?(?:[^a-z]|imgs?|images?|sets?|data|pics?|files?|$)", re.IGNORECASE
)
_TABLES = (".csv", ".tsv", ".txt")  # never meant by an id
OUTPUT_FOLDER = "retable"  # in the working directory, which may be the data folder


def split_of(name: str) -> Split | None:
    """The split that a file or folder name mentions: ``test_images`` -> test, ``Contest`` -> None."""
    found = _SPLIT.search(name)
    if found is None:
        return None
    return "train" if found.group(1).lower() == "train" else "test"


def is_visible(name: str) -> bool:
    """Whether a name may be data. Hidden files and leftovers of archivers and file managers are not."""
    return not is_hidden(name)


def is_data(path: Path) -> bool:
    """Whether a path may be data: visible, and not Retable's own output folder."""
    return is_visible(path.name) and path.absolute() != Path.cwd() / OUTPUT_FOLDER


class ImageLookupError(TrainerError):
    """An id that does not match exactly one image file inside the folder. The message is the cause alone."""


class ImageMissingError(ImageLookupError):
    """An id that matches no image file at all."""


class ImageFiles:
    """The image files under ``root``.

    paths: relative to ``root``, with ``/`` as separator, in natural order.
    escaping: those of ``paths`` that are links to a file outside of ``root``.
    other: everything else that lies there, see `trainer.inference.find_images.FoundFiles`.
    linked_folders: paths of links to folders that are not followed.
    """

    def __init__(
        self, root: Path, paths: Iterable[str], *, escaping: Iterable[str] = (), other: FoundFiles | None = None
    ) -> None:
        self.root = root
        self.paths = tuple(sorted(paths, key=natural_key))
        self.escaping = frozenset(escaping)
        self.other = other or FoundFiles()
        self.linked_folders = tuple(sorted(self.other.unfollowed))

    @staticmethod
    def scan(root: Path) -> ImageFiles:
        """List the image files in ``root`` and all folders below it."""
        found = find_images(root, is_data)
        real_root = root.resolve()
        escaping = [
            path
            for path in found.images
            if (root / path).is_symlink() and not (root / path).resolve().is_relative_to(real_root)
        ]
        return ImageFiles(root, found.images, escaping=escaping, other=found)

    def under(self, folder: str) -> ImageFiles:
        """Only the files inside ``folder`` (relative, no trailing slash). Their paths stay relative to ``root``."""
        inside = [path for path in self.paths if path.startswith(folder + "/")]
        return ImageFiles(self.root, inside, escaping=self.escaping, other=self.other)

    def unread_warnings(self, folders: Iterable[str]) -> list[str]:
        """Warnings about the files in ``folders`` (relative) and below them that are not read as images."""
        prefixes = tuple(f"{folder}/" for folder in folders)
        unread = {path: kind for path, kind in self.other.unread.items() if path.startswith(prefixes)}
        links = [
            f"not read: {printable(link)} {why}; copy the folder into the data"
            for link, why in sorted(self.other.unfollowed.items())
            if link.startswith(prefixes)
        ]
        return [*([f"not read: {unread_message(unread)}"] if unread else []), *links]

    def missing_hint(self) -> str:
        """Where images may be that were not found, as a sentence: in archives, or in files that are not read."""
        packed = [path for path in self.other.unread if path.lower().endswith(ARCHIVES)]
        if packed:
            shown = ", ".join(map(printable, packed[:3])) + " and others" * (len(packed) > 3)
            return f"The images may be in {shown}: unpack {'it' if len(packed) == 1 else 'them'} first"
        unread = {path: kind for path, kind in self.other.unread.items() if kind not in _TABLES}
        return f"There are {unread_message(unread)}" if unread else ""

    def ignored_notes(self) -> list[str]:
        """A note that counts the hidden files and those of the operating system."""
        return [f"ignored: {ignored_message(self.other.ignored)}"] if self.other.ignored else []

    def closed_problems(self) -> list[str]:
        """One problem for each folder whose content cannot be listed."""
        return [
            f"the folder {printable(path)} cannot be read: {why}" for path, why in sorted(self.other.closed.items())
        ]

    @cached_property
    def _by_key(self) -> dict[str, list[str]]:
        """Paths by file name, by ``stem:`` and name without extension, and by ``fold:`` and case-folded name."""
        table: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            pure = PurePosixPath(path)
            for key in {pure.name, "stem:" + pure.stem, "fold:" + pure.name.casefold()}:
                table[key].append(path)
        return dict(table)

    @cached_property
    def _splits(self) -> dict[str, Split | None]:
        """The split of each path by its folder names; the innermost folder that mentions a split decides."""
        splits: dict[str, Split | None] = {}
        for path in self.paths:
            mentioned = [split_of(folder) for folder in PurePosixPath(path).parts[:-1]]
            splits[path] = next((split for split in reversed(mentioned) if split), None)
        return splits

    @cached_property
    def _found_splits(self) -> set[Split | None]:
        return set(self._splits.values())

    def has(self, identifier: str, split: Split) -> bool:
        """Whether `find` would succeed."""
        try:
            self.find(identifier, split)
        except ImageLookupError:
            return False
        return True

    def find(self, identifier: str, split: Split) -> str:
        """The path of the image with this id.

        The id may be a file name, a file name without extension, or the end of a path. Files in folders of ``split``
        have precedence over files in folders that mention no split. Files of the other split count only if no folder
        mentions ``split``.

        Raises:
            ImageLookupError: the id is a path that leaves the folder, or matches no file or several.
        """
        wanted = identifier.strip().replace("\\", "/")
        if problem := text_problem(identifier):
            raise ImageLookupError(f"the id {problem}")
        pure = PurePosixPath(wanted)
        if pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:", wanted):
            raise ImageLookupError(f"{identifier!r} leaves the data folder; ids are file names or paths inside it")
        for key in (pure.name, "stem:" + pure.name, "fold:" + pure.name.casefold()):
            candidates = self._of_split(
                [path for path in self._by_key.get(key, ()) if _is_in(path, pure.parent)], split
            )
            if len(candidates) > 1:  # a folder and a link to it
                candidates = [path for path in candidates if path not in self.other.linked] or candidates
            if len(candidates) > 1 and wanted in candidates:
                return self._inside(wanted)
            if len(candidates) > 1:
                raise ImageLookupError(
                    f"{identifier!r} could be {' or '.join(candidates[:3])}: move one of them out of the folder, or "
                    "write the path into the table"
                )
            if candidates:
                return self._inside(candidates[0])
        hint = self._unread_hint(pure)
        if not hint and self.linked_folders:
            hint = f" ({self.linked_folders[0]} is a link to a folder: such links are not followed)"
        raise ImageMissingError(f"there is no image {identifier!r}{hint}")

    def _unread_hint(self, wanted: PurePosixPath) -> str:
        """Why the file of an id is there, but not read; empty if it is not there."""
        for path, kind in self.other.unread.items():
            found = PurePosixPath(path)
            if wanted.name in (found.name, found.stem) and kind not in _TABLES and _is_in(path, wanted.parent):
                return f" ({printable(path)} is there, but not read: {unread_message({path: kind})})"
        return ""

    def _inside(self, path: str) -> str:
        if path in self.escaping:
            raise ImageLookupError(f"{path} is a link that leaves the data folder; copy the image into it")
        return path

    def _of_split(self, paths: list[str], split: Split) -> list[str]:
        same_split = [path for path in paths if self._splits[path] == split]
        if same_split:
            return same_split
        return [path for path in paths if self._splits[path] is None or split not in self._found_splits]


def _is_in(path: str, folder: PurePosixPath) -> bool:
    """Whether the path of the file's folder ends in ``folder``; always true for the empty ``folder``."""
    wanted = folder.parts
    return not wanted or PurePosixPath(path).parts[:-1][-len(wanted) :] == wanted
