"""Image files by the forms of their names. Each index is built when it is first used."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from pathlib import PurePosixPath

from trainer.data.readers.matching.id_spellings import alike, composed, unpadded
from trainer.data.readers.matching.image_files import ImageFiles


class NameIndex:
    """Indices of ``files``. "Composed" paths are in Unicode's form NFC."""

    def __init__(self, files: ImageFiles) -> None:
        self._files = files

    @cached_property
    def by_form(self) -> dict[str, list[str]]:
        """The paths on disk by composed form."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in self._files.paths:
            found[composed(path)].append(path)
        return dict(found)

    @cached_property
    def composed_files(self) -> ImageFiles:
        """The files under their composed names."""
        return ImageFiles(self._files.root, self.by_form, other=self._files.other)

    @cached_property
    def by_name(self) -> dict[str, list[str]]:
        """Composed paths by file name, and by file name without extension."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in self.by_form:
            pure = PurePosixPath(path)
            for key in {pure.name, pure.stem}:
                found[key].append(path)
        return dict(found)

    @cached_property
    def by_unpadded_stem(self) -> dict[str, list[str]]:
        """Composed paths by file name without extension and without leading zeros of numbers."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in self.by_form:
            found[unpadded(PurePosixPath(path).stem)].append(path)
        return dict(found)

    @cached_property
    def by_alike_name(self) -> dict[str, list[str]]:
        """Composed paths by the `alike` form of their file names, with and without extension."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in self.by_form:
            pure = PurePosixPath(path)
            for key in {alike(pure.name), alike(pure.stem)}:
                found[key].append(path)
        return dict(found)
