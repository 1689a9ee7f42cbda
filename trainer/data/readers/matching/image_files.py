"""Find image files in a data folder by the ids that tables use for them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from trainer.common.errors import counted
from trainer.data.names.own_files import is_data, is_own_picture
from trainer.data.names.parts import Split, is_held_out, split_of
from trainer.data.readers.matching.archives import archive_hint, archives_among, packed_archives
from trainer.data.readers.matching.lookup_errors import (
    ImageAmbiguousError,
    ImageLookupError,
    ImageMissingError,
    ImageOutsideError,
)
from trainer.data.readers.matching.mask_folders import mask_folders
from trainer.data.readers.matching.split_folders import SplitFolder, split_folders
from trainer.formats.labels import natural_key, text_problem
from trainer.inference.file_kinds import SUFFIXES
from trainer.inference.find_images import FoundFiles, find_images, ignored_message, unread_message
from trainer.inference.printable import printable

IMAGE_SUFFIXES = tuple(sorted(SUFFIXES))
"""Extensions of image files, in lower case."""
LINK_HELP = "put a copy of the folder in its place, or remove the link"
"""What to do about a link to a folder that is not followed."""
_TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")  # never meant by an id


class ImageFiles:
    """The image files under ``root``.

    paths: relative to ``root``, with ``/`` as separator, in natural order.
    escaping: those of ``paths`` that are links to a file outside of ``root``.
    other: everything else that lies there, see `trainer.inference.find_images.FoundFiles`.
    linked_folders: paths of links to folders that are not followed.
    may_be_masks: whether a folder may hold masks by its name. False: all of ``paths`` are images of classes.
    """

    def __init__(
        self,
        root: Path,
        paths: Iterable[str],
        *,
        escaping: Iterable[str] = (),
        other: FoundFiles | None = None,
        may_be_masks: bool = True,
    ) -> None:
        self.root = root
        self.paths = tuple(sorted(paths, key=natural_key))
        self.escaping = frozenset(escaping)
        self.other = other or FoundFiles()
        self.may_be_masks = may_be_masks
        self.linked_folders = tuple(sorted(self.other.unfollowed))

    @staticmethod
    def scan(root: Path) -> ImageFiles:
        """List the image files in ``root`` and all folders below it."""
        found = find_images(root, is_data)
        real_root = root.resolve()
        images = [path for path in found.images if not is_own_picture(root / path)]
        escaping = [
            path
            for path in images
            if (root / path).is_symlink()
            and (root / path).exists()  # decoding reports a link that leads to no file
            and not (root / path).resolve().is_relative_to(real_root)
        ]
        return ImageFiles(root, images, escaping=escaping, other=found)

    def under(self, folder: str) -> ImageFiles:
        """Only the files inside ``folder`` (relative, no trailing slash). Their paths stay relative to ``root``."""
        return self._alone(self._by_folder.get(folder, []))

    def without(self, paths: Collection[str]) -> ImageFiles:
        """All files but ``paths``."""
        return self._alone([path for path in self.paths if path not in paths])

    def renamed(self, rename: Callable[[str], str]) -> ImageFiles:
        """The files under other names. Their folders mean what they mean here."""
        files = ImageFiles(self.root, {rename(path) for path in self.paths}, other=self.other)
        files._mask_folders = frozenset(map(rename, self._mask_folders))
        files._split_folders = {
            rename(path): (split, PurePosixPath(rename(str(folder))))
            for path, (split, folder) in self._split_folders.items()
        }
        return files

    def _alone(self, paths: Sequence[str]) -> ImageFiles:
        """Only ``paths``, whose folders mean what they mean among all files."""
        files = ImageFiles(self.root, paths, escaping=self.escaping, other=self.other)
        files._mask_folders = self._mask_folders
        files._split_folders = {path: self._split_folders[path] for path in paths}
        return files

    def under_tests(self, folder: Path) -> ImageFiles:
        """Only the files inside ``folder``, a folder below ``root``, all of which are test images."""
        name = folder.relative_to(self.root).as_posix()
        files = self.under(name)
        own: SplitFolder = ("test", PurePosixPath(name))
        files._split_folders = {
            path: found if found[0] == "test" else own for path, found in files._split_folders.items()
        }
        return files

    def paths_in(self, folder: Path) -> Sequence[str]:
        """Those of ``paths`` that lie in ``folder``, a folder below ``root``, or in the folders below it."""
        return self._by_folder.get(folder.relative_to(self.root).as_posix(), [])

    @cached_property
    def _by_folder(self) -> dict[str, list[str]]:
        """The paths in and below each folder: to filter all of them for each of a thousand folders takes minutes."""
        inside: dict[str, list[str]] = {".": list(self.paths)}
        for path in self.paths:
            end = path.find("/")
            while end >= 0:
                inside.setdefault(path[:end], []).append(path)
                end = path.find("/", end + 1)
        return inside

    def unread_warnings(self, folders: Iterable[str], read: Collection[Path] = ()) -> list[str]:
        """Warnings about the files in ``folders`` (relative) and below them that are not ``read``, as no image is.

        Links to folders outside of the data are reported beside ``folders``, too.
        """
        prefixes = tuple(f"{folder}/" for folder in folders)
        unread = {
            path: kind
            for path, kind in self.other.unread.items()
            if path.startswith(prefixes) and self.root / path not in read
        }
        links = [
            f"not read: {printable(link)} {why}; {LINK_HELP}"
            for link, why in sorted(self.other.unfollowed.items())
            if link.startswith(prefixes) or "/" not in link
        ]
        return [*([f"not read: {unread_message(unread)}"] if unread else []), *links]

    def missing_hint(self) -> str:
        """Where images may be that were not found, as a sentence: behind links, in archives, in unread files."""
        links = [path for path in self.linked_folders if "/" not in path]
        if links:
            why = self.other.unfollowed[links[0]]
            return f"The images may be in {printable(links[0])}, which {why}: such links are not followed; {LINK_HELP}"
        if packed := self.packed_hint():
            return packed
        unread = {path: kind for path, kind in self.other.unread.items() if kind not in _TABLES}
        return f"There {'is' if len(unread) == 1 else 'are'} {unread_message(unread)}" if unread else ""

    def packed_hint(self) -> str:
        """The archives that may hold images that were not found, as a sentence; empty without archives."""
        archives = archives_among(self.other.unread)
        if archives and not self._packed:
            return f"If the images are in {printable(archives[0])}, it was not unpacked as a whole: unpack it again"
        return archive_hint(self._packed)

    @cached_property
    def _packed(self) -> list[str]:
        """The archives that are not unpacked."""
        return packed_archives(self.other.unread, self._by_folder)

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

    def paths_below(self, split: Split) -> list[str]:
        """Those of ``paths`` that lie in a folder of a split."""
        return [path for path in self.paths if self._splits[path] == split]

    def tests_to_predict(self) -> list[str]:
        """The images in folders of test images, but those inside folders of results: ``output/test``."""
        masks = self._mask_folders
        above = {path: self._split_folders[path][1].parents for path in self.paths_below("test")}
        return [path for path, folders in above.items() if not masks or masks.isdisjoint(map(str, folders))]

    def below_split(self, path: str, split: Split) -> str | None:
        """The part of one of ``paths`` below its folder of a split; None if it is not in such a folder."""
        if self._splits[path] != split:
            return None
        folder = self._split_folders[path][1]
        return str(PurePosixPath(path).relative_to(folder))

    @cached_property
    def _splits(self) -> dict[str, Split | None]:
        return {path: split for path, (split, _) in self._split_folders.items()}

    @cached_property
    def _split_folders(self) -> dict[str, SplitFolder]:
        return split_folders(self.paths)

    @cached_property
    def _found_splits(self) -> set[Split | None]:
        return set(self._splits.values())

    @cached_property
    def _level_of_tests(self) -> int:
        """The number of folders in the shortest path of a folder of test images, of which there is one."""
        return min(len(folder.parts) for own, folder in set(self._split_folders.values()) if own == "test")

    def find(self, identifier: str, split: Split) -> str:
        """The path of the image with this id.

        The id may be a file name, a file name without extension, the end of a path, or an absolute path into ``root``.
        Files in folders of ``split`` have precedence over files in folders that mention no split. `of_split` says which
        files are no substitute.

        Raises:
            ImageLookupError: the id is a path that leaves the folder, or matches no file or several.
        """
        wanted = identifier.strip().replace("\\", "/")
        if problem := text_problem(identifier):
            raise ImageLookupError(f"the id {problem}")
        pure = PurePosixPath(wanted)
        if pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:", wanted):
            own = self._below_root(pure)
            if own in self._splits:
                return self._inside(own)
            if own is not None:
                raise ImageMissingError(f"there is no image {identifier!r}")
            raise ImageOutsideError(
                f"there is no image {identifier!r}: the path leaves the data folder, and no image inside ends like it"
            )
        if "/" in wanted and wanted in self._splits:
            return self._inside(wanted)
        for key in (pure.name, "stem:" + pure.name, "fold:" + pure.name.casefold()):
            inside = [path for path in self._by_key.get(key, ()) if _is_in(path, pure.parent)]
            candidates = self.of_split(inside, split, len(pure.parent.parts))
            if len(candidates) > 1:  # a folder and a link to it
                candidates = [path for path in candidates if path not in self.other.linked] or candidates
            if len(candidates) > 1 and wanted in candidates:
                return self._inside(wanted)
            if len(candidates) > 1:
                raise ImageAmbiguousError(identifier, candidates)
            if candidates:
                return self._inside(candidates[0])
        namesakes = self._namesakes(pure)
        hint = self._unread_hint(pure) or self._elsewhere_hint(pure, namesakes, split)
        if not hint and self.linked_folders:
            hint = f" ({self.linked_folders[0]} is a link to a folder: such links are not followed)"
        raise ImageMissingError(f"there is no image {identifier!r}{hint}", namesakes)

    def _below_root(self, path: PurePosixPath) -> str | None:
        """The relative path of an absolute one that points into ``root``; None for any other."""
        if ".." in path.parts:
            return None
        return next((str(path.relative_to(root)) for root in self._roots if path.is_relative_to(root)), None)

    @cached_property
    def _roots(self) -> set[str]:
        """The absolute path of ``root``, as it is given and without links."""
        return {Path(find(self.root)).as_posix() for find in (os.path.abspath, os.path.realpath)}

    def _unread_hint(self, wanted: PurePosixPath) -> str:
        """Why the file of an id is there, but not read; empty if it is not there."""
        for path, kind in self.other.unread.items():
            found = PurePosixPath(path)
            if wanted.name in (found.name, found.stem) and kind not in _TABLES and _is_in(path, wanted.parent):
                return f" ({printable(path)} is there, but not read: {unread_message({path: kind})})"
        return ""

    def _namesakes(self, wanted: PurePosixPath) -> Sequence[str]:
        """The files with the name of an id, in whatever folders."""
        stem = wanted.stem if wanted.suffix.lower() in IMAGE_SUFFIXES else wanted.name
        return self._by_key.get(wanted.name) or self._by_key.get("stem:" + stem) or ()

    def _elsewhere_hint(self, wanted: PurePosixPath, found: Sequence[str], split: Split) -> str:
        """Where a file with the name of an id, out of ``found``, lies that is no substitute; empty without one."""
        if not found:
            return ""
        part = self._other_part(found[0]) if split == "train" and not wanted.parts[:-1] else ""
        if part:
            return (
                f" ({printable(found[0])} lies in a folder of {part} images: if it is one, remove the row; else "
                "move it to the training images)"
            )
        means = "if it is meant, write this path into the table"
        same = next((path for path in found if _is_in(str(wanted), PurePosixPath(path).parent)), None)
        if same is not None and "/" in same:
            return f" ({printable(same)} ends in the same way; {means})"
        if len(found) > 1 and len(wanted.parts) > 1:
            return f" ({len(found)} images have this name, but none is in such a folder)"
        return f" ({printable(found[0])} is another image; {means})"

    def _other_part(self, path: str) -> str:
        """The kind of the images in a folder for testing or validation; empty for masks, and for other folders."""
        if self._mask_folders.intersection(map(str, PurePosixPath(path).parents)):
            return ""
        if self._splits[path] == "test":
            return "test"
        return "validation" if any(map(is_held_out, path.split("/")[:-1])) else ""

    def _inside(self, path: str) -> str:
        if path in self.escaping:
            raise ImageLookupError(self.link_problem(path))
        return path

    def link_problem(self, path: str) -> str:
        """What to do about one of ``escaping``."""
        return f"{printable(path)} is a link that leaves the data folder; copy the image into it"

    def of_split(self, paths: list[str], split: Split, named: int = 0) -> list[str]:
        """Those of ``paths`` that `find` considers for ``split``.

        Folders of masks are no substitute for a missing image. Folders of the other split and of validation images are
        none for a training image, and none for a test image if there is a test folder. Then no other folder is a
        substitute either, unless it mentions the split (``test_extra`` beside ``test``). A folder that the id names is
        always considered.

        Args:
            named: number of the innermost folders of each path that the id names.
        """
        exclusive = split in self._found_splits
        paths = [path for path in paths if not self._is_barred(path, split, named, split == "train" or exclusive)]
        if any(self._splits[path] == split for path in paths):
            # A folder train_extra beside train may be meant as well: its name mentions the split.
            return [path for path in paths if self._splits[path] == split or self._may_be(path, split)]
        if split == "test" and exclusive:
            return [
                path
                for path in paths
                if self._may_be(path, split) or (named and path.count("/") - named < self._level_of_tests)
            ]
        return paths

    def are_copies(self, paths: Sequence[str]) -> bool:
        """Whether these files have the same content."""
        files = [self.root / path for path in paths]
        try:
            if self.escaping.intersection(paths) or len({file.stat().st_size for file in files}) > 1:
                return False
            return len({file.read_bytes() for file in files}) == 1
        except OSError:  # the reader's own check reports a file that cannot be read
            return False

    def beside_notes(self, paths: Sequence[str], split: Split) -> list[str]:
        """A note if some of ``paths``, but not all, lie outside of the folders of ``split``."""
        found = [path for path in paths if self._splits[path] is None and not self._may_be(path, split)]
        if split not in self._found_splits or not 0 < len(found) < len(paths):
            return []
        return [f"outside of the {split} folder: {counted(len(found), 'image')}, such as {found[0]}"]

    @cached_property
    def _mask_folders(self) -> frozenset[str]:
        return mask_folders(self.paths, may_be_packed=bool(self._packed)) if self.may_be_masks else frozenset()

    def _is_barred(self, path: str, split: Split, named: int, exclusive: bool) -> bool:
        """Whether a folder of the path that the id does not name says that the image is of another kind."""
        folders = path.split("/")[:-1]
        unnamed = folders[: len(folders) - named]
        masks = self._mask_folders
        if masks and any("/".join(folders[: depth + 1]) in masks for depth in range(len(unnamed))):
            return True
        own, folder = self._split_folders[path]
        depth = len(folder.parts)
        other = own not in (None, split) and depth <= len(unnamed)
        return exclusive and (other or any(map(is_held_out, unnamed[depth:])))

    def _may_be(self, path: str, split: Split) -> bool:
        """Whether a folder of a path without a split mentions ``split``."""
        folders = PurePosixPath(path).parts[:-1]
        return self._splits[path] is None and any(split_of(folder) == split for folder in folders)


def _is_in(path: str, folder: PurePosixPath) -> bool:
    """Whether the path of the file's folder ends in ``folder``; always true for the empty ``folder``."""
    wanted = folder.parts
    return not wanted or PurePosixPath(path).parts[:-1][-len(wanted) :] == wanted
