"""Doubt an image that an id names exactly where a twin of it lies among the images of the other ids."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

from trainer.data.names.parts import Split, names_no_class
from trainer.data.readers.matching.id_spellings import alike, has_image_suffix, slashes
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.lookup_errors import ImageAmbiguousError
from trainer.data.readers.matching.name_index import NameIndex, stem_of

_MOST = 0.5  # least share of the exact names of a folder that have twins elsewhere
_IMAGES = re.compile(
    r"(?:.*[\W_])?(?:images?|imgs?|pics?|pictures?|photos?|jpe?gs?|pngs?|jpegimages)(?:[\W_].*)?", re.I
)


class Twins:
    """Files whose names differ from another's in case or extension alone: a photo 1.JPG, and its thumbnail 1.jpg."""

    def __init__(self, files: ImageFiles, names: NameIndex, split: Split) -> None:
        self._files, self._names, self._split = files, names, split

    def of(self, cell: str) -> list[str]:
        """The files that an id names in another case or without its extension, the exact file among them."""
        pure = PurePosixPath(slashes(cell))
        if pure.is_absolute() or ".." in pure.parts:
            return []
        return self.inside(pure, self._names.by_alike_name.get(alike(stem_of(pure)), []))

    def inside(self, wanted: PurePosixPath, paths: Collection[str]) -> list[str]:
        """Those of ``paths`` (composed) that lie in the folders which an id names, as they are on disk."""
        folders = wanted.parts[:-1]
        inside = [path for path in paths if not folders or PurePosixPath(path).parts[:-1][-len(folders) :] == folders]
        fitting = self._names.composed_files.of_split(inside, self._split, len(folders))
        return [self._names.by_form[path][0] for path in fitting]

    def doubtful(self, found: Mapping[str, str]) -> dict[str, ImageAmbiguousError]:
        """An error for each id whose exact file may be the thumbnail of an image that lies among the others.

        Its folder holds fewer of the ids than the folder of the twin, which is that of other ids, and at least `_MOST`
        of its images have a twin there. Where the folder of the twins names no id exactly, it has to lie around the
        exact names, or to be called ``images`` or the like, and the twins have to differ in case alone.

        Args:
            found: the files of the ids that name one exactly, by id.
        """
        if len({path.rpartition("/")[0] for path in self._files.paths}) < 2:
            return {}
        taken = frozenset(found.values())
        twins: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for cell, path in found.items():
            if "/" in cell and slashes(cell) == path:
                continue
            for other in self.of(cell):
                if other not in taken and PurePosixPath(other).parent != PurePosixPath(path).parent:
                    twins[apart(path, other)].setdefault(cell, other)
        errors: dict[str, ImageAmbiguousError] = {}
        for (mine, its), others in twins.items():
            own, theirs = ({cell for cell, path in found.items() if _holds(folder, path)} for folder in (mine, its))
            own -= theirs  # of a folder around the other one
            if theirs:
                doubtful = len(others) >= _MOST * len(own) and len(theirs | set(others)) > len(own)
            else:
                others = {cell: other for cell, other in others.items() if _differ_in_case(cell, other)}
                doubtful = len(others) >= _MOST * len(own) and _is_around(its, mine)
            if doubtful:
                errors |= {cell: ImageAmbiguousError(cell, [found[cell], other]) for cell, other in others.items()}
        return errors


def apart(one: str, other: str) -> tuple[str, str]:
    """The outermost folders that hold the one file, but not the other, with a slash at their end.

    For a file directly in the common folder, it is this folder without a slash.
    """
    folders, others = PurePosixPath(one).parts[:-1], PurePosixPath(other).parts[:-1]
    common = 0
    while common < min(len(folders), len(others)) and folders[common] == others[common]:
        common += 1
    mine, its = PurePosixPath(*folders[: common + 1]), PurePosixPath(*others[: common + 1])
    return f"{mine}{'/' * (len(folders) > common)}", f"{its}{'/' * (len(others) > common)}"


def names_images(folder: str) -> bool:
    """Whether the name of a folder says that it holds the images, and nothing else about them."""
    return names_no_class(folder) and _IMAGES.fullmatch(folder) is not None


def _holds(folder: str, path: str) -> bool:
    """Whether a folder, as `apart` writes it, holds a file."""
    return path.startswith(folder) if folder.endswith("/") else str(PurePosixPath(path).parent) == folder


def _is_around(its: str, mine: str) -> bool:
    """Whether the folder ``its`` is the obvious home of images that ``mine`` holds under their exact names."""
    if not its.endswith("/"):
        return its != "."
    return names_images(PurePosixPath(its).name) and not names_images(PurePosixPath(mine).name)


def _differ_in_case(cell: str, other: str) -> bool:
    name = PurePosixPath(slashes(cell)).name
    return has_image_suffix(cell) and alike(name) == alike(PurePosixPath(other).name)
