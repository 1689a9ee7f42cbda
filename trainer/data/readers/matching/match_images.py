"""Match a column of ids with image files: exactly, else by rules that are reported."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote

from trainer.data.file_names import Split, folder_split
from trainer.data.readers.matching.image_files import (
    IMAGE_SUFFIXES,
    ImageAmbiguousError,
    ImageFiles,
    ImageLookupError,
    ImageMissingError,
)

_NUMBER = re.compile(r"(\d{1,18})(?:\.0+)?", re.ASCII)  # 7.0: a column of whole numbers with a gap
_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, kw_only=True)
class ColumnMatch:
    """The image files of the distinct cells of a column.

    paths: relative paths by cell.
    exact: the cells of ``paths`` that name their file as it is.
    errors: why a cell has no file, by cell.
    notes: one sentence for each rule by which the other cells were matched.
    """

    paths: dict[str, str]
    exact: frozenset[str]
    errors: dict[str, ImageLookupError]
    notes: tuple[str, ...]


class ImageMatcher:
    """Finds files of ``files`` by the ids of one split."""

    def __init__(self, files: ImageFiles, split: Split) -> None:
        self._files = files
        self._split: Split = split

    def match(self, cells: Iterable[str]) -> ColumnMatch:
        """Find the files of a column.

        A cell is looked up as it is (`ImageFiles.find`), else in Unicode's composed form, because macOS decomposes file
        names. Then these rules follow: the file has another image extension; a number has lost or gained leading zeros;
        a path begins with folders of another machine. Several files with the same content count as one. A web address
        may end in a query, and file names may have the prefix that Label Studio gives to each upload.
        """
        paths: dict[str, str] = {}
        errors: dict[str, ImageLookupError] = {}
        for cell in dict.fromkeys(cells):
            try:
                paths[cell] = self._files.find(cell, self._split)
            except ImageLookupError as error:
                errors[cell] = error
        exact = frozenset(paths)
        notes: list[str] = []

        def apply(rule: Callable[[str], str | None], sentence: str) -> None:
            found: dict[str, str] = {}
            for cell in [cell for cell, error in errors.items() if isinstance(error, ImageMissingError)]:
                try:
                    path = rule(cell)
                except ImageMissingError:
                    continue
                except ImageLookupError as error:
                    errors[cell] = error
                    continue
                if path is not None:
                    found[cell] = path
                    del errors[cell]
            paths.update(found)
            if found and sentence:
                cell, path = next(iter(found.items()))
                notes.append(sentence.format(n=len(found), cell=cell, path=path))

        if errors:
            apply(self._in_composed_form, "")
            same_suffix = any(_has_image_suffix(cell) for cell in exact)
            if not same_suffix:  # else a mask could replace a missing image
                apply(
                    self._with_other_suffix, "{n} ids have another extension than the file, such as {cell!r} for {path}"
                )
            apply(
                lambda cell: self._without_zeros(cell, same_suffix),
                "{n} ids lack or add leading zeros, such as {cell!r} for {path}",
            )
            self._match_ends(paths, errors, notes)
            self._match_copies(paths, errors, notes)
            self._match_web_paths(paths, errors, notes)
        notes += self._files.beside_notes(list(paths.values()), self._split)
        return ColumnMatch(paths=paths, exact=exact, errors=errors, notes=tuple(notes))

    def _in_composed_form(self, cell: str) -> str | None:
        return self._real(cell, self._composed.find(composed(cell), self._split))

    def _with_other_suffix(self, cell: str) -> str | None:
        pure = PurePosixPath(_slashes(cell))
        if not _has_image_suffix(cell):
            return None
        return self._real(cell, self._composed.find(composed(str(pure.with_suffix(""))), self._split))

    def _without_zeros(self, cell: str, same_suffix: bool) -> str | None:
        pure = PurePosixPath(_slashes(cell))
        stem = pure.stem if pure.suffix.lower() in IMAGE_SUFFIXES else pure.name
        number = _NUMBER.fullmatch(stem)
        if number is None or pure.is_absolute() or ".." in pure.parts:
            return None
        fitting = self._ending(self._by_number.get(int(number[1]), []), pure.parts[:-1])
        fitting = [path for path in fitting if PurePosixPath(path).stem != stem]
        if same_suffix and _has_image_suffix(cell):
            fitting = [path for path in fitting if PurePosixPath(path).suffix.lower() == pure.suffix.lower()]
        return self._only(cell, fitting) if fitting else None

    def _match_ends(self, paths: dict[str, str], errors: dict[str, ImageLookupError], notes: list[str]) -> None:
        """Match paths by their longest ending that a file has.

        What is left in front has to be foreign to the data folder for all cells: where the front part of one path is
        the beginning of another's, the other path names a folder that is missing, and is not matched. The file name
        alone counts only if no path of the column has more in common with a file.
        """
        found: dict[str, tuple[list[str], tuple[str, ...], int]] = {}
        for cell in [cell for cell, error in errors.items() if isinstance(error, ImageMissingError)]:
            ending = self._longest_ending(cell)
            if ending is not None:
                found[cell] = ending
        fronts = {front for _, front, _ in found.values()}
        longest = max((length for _, _, length in found.values()), default=0)
        if any("/" in _slashes(cell) for cell in paths):
            fronts.add(())
        kept = set()
        for cell, (fitting, front, length) in found.items():
            if (length == 1 and longest > 1) or any(front[:end] in fronts for end in range(len(front))):
                continue
            try:
                paths[cell] = self._only(cell, fitting)
            except ImageLookupError as error:
                errors[cell] = error
                continue
            del errors[cell]
            kept.add(front)
        if kept:
            shown = " or ".join(repr("/".join(front).replace("//", "/") + "/") for front in sorted(kept)[:3])
            notes.append(f"paths begin with {shown}, which the data folder lacks: the rest of each path names the file")

    def _match_web_paths(self, paths: dict[str, str], errors: dict[str, ImageLookupError], notes: list[str]) -> None:
        """Match what is left of web addresses without their query, and of Label Studio's uploads without their prefix.

        The prefix is removed only where no cell names a file with it, and most cells have it.
        """
        sentences = {
            _without_query: "{n} web addresses are read without their query, such as {cell!r} for {path}",
            _without_upload_prefix: "{n} file names lack the prefix of Label Studio, such as {cell!r} for {path}",
        }
        for rule, sentence in sentences.items():
            shorter = {cell: name for cell in errors if (name := rule(cell)) is not None}
            if not shorter or (rule is _without_upload_prefix and (paths or len(shorter) * 2 <= len(errors))):
                continue
            found = self.match(shorter.values())
            for cell, name in shorter.items():
                if name in found.paths:
                    paths[cell] = found.paths[name]
                    del errors[cell]
                else:
                    errors[cell] = found.errors[name]
            if found.paths:
                cell = next(cell for cell, name in shorter.items() if name in found.paths)
                notes.append(sentence.format(n=len(found.paths), cell=cell, path=paths[cell]))
                notes += found.notes

    def _longest_ending(self, cell: str) -> tuple[list[str], tuple[str, ...], int] | None:
        """The files with the longest common ending, the parts in front of it, and its length; None without any."""
        parts = PurePosixPath(composed(_slashes(cell))).parts
        inner = [part for part in parts if part not in ("..", "/") and not _DRIVE.fullmatch(part)]
        if len(parts) < 2 or tuple(inner) != parts[len(parts) - len(inner) :]:
            return None
        for length in range(len(inner), 0, -1):
            fitting = self._ending(self._by_name.get(inner[-1], []), tuple(inner[-length:-1]))
            if fitting:
                front = parts[: len(parts) - length]
                named = [split for part in front if (split := folder_split(part))]
                if not front or (named and named[-1] != self._split):
                    return None
                return fitting, front, length
        return None

    def _match_copies(self, paths: dict[str, str], errors: dict[str, ImageLookupError], notes: list[str]) -> None:
        """Take the first of several files with the same content."""
        found = {}
        for cell, error in errors.items():
            if isinstance(error, ImageAmbiguousError) and self._files.are_copies(error.paths):
                found[cell] = error.paths[0]
        for cell, path in found.items():
            paths[cell] = path
            del errors[cell]
        if found:
            cell, path = next(iter(found.items()))
            notes.append(f"{len(found)} ids name several files with the same content, such as {cell!r} for {path}")

    def _ending(self, paths: list[str], folders: tuple[str, ...]) -> list[str]:
        """Those of ``paths`` (composed) whose folders end in ``folders``, as far as the split allows them."""
        wanted = tuple(map(composed, folders))
        inside = [p for p in paths if not wanted or PurePosixPath(p).parts[:-1][-len(wanted) :] == wanted]
        return self._composed.of_split(inside, self._split, len(wanted))

    def _only(self, cell: str, fitting: list[str]) -> str:
        """The only one of the ``fitting`` composed paths, as it is on disk."""
        if len(fitting) > 1:
            raise ImageAmbiguousError(cell, fitting)
        return self._real(cell, fitting[0])

    def _real(self, cell: str, path: str) -> str:
        """The path on disk with this composed form."""
        real = self._by_form[path]
        if len(real) > 1:
            raise ImageAmbiguousError(cell, real)
        if real[0] in self._files.escaping:
            raise ImageLookupError(f"{real[0]} is a link that leaves the data folder; copy the image into it")
        return real[0]

    @cached_property
    def _by_form(self) -> dict[str, list[str]]:
        """The paths on disk by composed form."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in self._files.paths:
            found[composed(path)].append(path)
        return dict(found)

    @cached_property
    def _composed(self) -> ImageFiles:
        """The files under their composed names."""
        return ImageFiles(self._files.root, self._by_form)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Composed paths by file name, and by file name without extension."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in self._by_form:
            pure = PurePosixPath(path)
            for key in {pure.name, pure.stem}:
                found[key].append(path)
        return dict(found)

    @cached_property
    def _by_number(self) -> dict[int, list[str]]:
        """Composed paths of the files whose name without extension is a number."""
        found: dict[int, list[str]] = defaultdict(list)
        for path in self._by_form:
            if number := _NUMBER.fullmatch(PurePosixPath(path).stem):
                found[int(number[1])].append(path)
        return dict(found)


def composed(text: str) -> str:
    """A text in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", text)


def is_image_name(cell: str) -> bool:
    """Whether a cell is the name, path or web address of an image file."""
    return _has_image_suffix(_without_query(cell) or cell)


def _without_query(cell: str) -> str | None:
    """The path of a web address, or the file that Label Studio's address names in its query; None without a query."""
    front, mark, query = cell.strip().partition("?")
    front, fragment, _ = front.partition("#")
    if not (mark or fragment or ("%" in front and "://" in front)):
        return None
    named = parse_qs(query).get("d", [])
    return named[0] if named and front.endswith("/local-files/") else unquote(front)


def _without_upload_prefix(cell: str) -> str | None:
    """A path without the eight hexadecimal digits before its file name; None if it has none."""
    folder, slash, name = _slashes(cell).rpartition("/")
    found = _UPLOAD.fullmatch(name)
    return f"{folder}{slash}{found[1]}" if found and _has_image_suffix(name) else None


def _has_image_suffix(cell: str) -> bool:
    return PurePosixPath(_slashes(cell)).suffix.lower() in IMAGE_SUFFIXES


def _slashes(cell: str) -> str:
    return cell.strip().replace("\\", "/")
