"""Image files by the forms of their names, and those called nearly alike. Each index is built when it is first used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import PurePosixPath

from trainer.data.readers.matching.id_spellings import alike, composed, differ_in_one_number, has_image_suffix, unpadded
from trainer.data.readers.matching.image_files import IMAGE_SUFFIXES, ImageFiles


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
        return self._files.renamed(composed)

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


def stem_of(name: PurePosixPath) -> str:
    """The composed file name of an id, without the extension of an image."""
    return composed(name.stem if name.suffix.lower() in IMAGE_SUFFIXES else name.name)


def near_names(names: NameIndex, name: str, *, any_suffix: bool) -> Iterator[list[str]]:
    """Composed paths of files called like ``name``: the same but for case, then for extension, then for zeros.

    Args:
        any_suffix: whether a file may have another extension than ``name``.
    """
    pure = PurePosixPath(name)
    stem = stem_of(pure)
    yield names.by_alike_name.get(alike(name), [])
    if any_suffix and has_image_suffix(name):
        yield names.by_alike_name.get(alike(stem), [])
    padded = names.by_unpadded_stem.get(unpadded(stem), [])
    padded = [path for path in padded if differ_in_one_number(PurePosixPath(path).stem, stem)]
    if has_image_suffix(name) and not any_suffix:
        padded = [path for path in padded if PurePosixPath(path).suffix.lower() == pure.suffix.lower()]
    yield padded


def in_folders_alike(paths: Sequence[str], folders: Sequence[str]) -> list[str]:
    """Those of ``paths`` whose innermost folders are ``folders``, but for case."""
    wanted = tuple(map(alike, folders))
    return [path for path in paths if not wanted or PurePosixPath(alike(path)).parts[:-1][-len(wanted) :] == wanted]
