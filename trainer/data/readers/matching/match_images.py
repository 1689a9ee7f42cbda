"""Match a column of ids with image files: exactly, else by rules that are reported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from trainer.common.errors import counted
from trainer.data.names.parts import Split, folder_split
from trainer.data.readers.matching.id_spellings import (
    REWRITES,
    alike,
    composed,
    differ_in_one_number,
    has_image_suffix,
    slashes,
    unpadded,
    without_upload_prefix,
)
from trainer.data.readers.matching.image_files import IMAGE_SUFFIXES, ImageFiles
from trainer.data.readers.matching.lookup_errors import ImageAmbiguousError, ImageLookupError, ImageMissingError
from trainer.data.readers.matching.name_index import NameIndex, in_folders_alike, near_names
from trainer.data.readers.matching.nearest_name import nearest_name_hint, nearly_the_path
from trainer.data.readers.matching.rival_folders import RivalFolders

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
        self._names = NameIndex(files)
        self._rivals = RivalFolders(files, self._names, split)
        self._split: Split = split

    @property
    def files(self) -> ImageFiles:
        """The files among which the matcher looks."""
        return self._files

    def match(self, cells: Iterable[str]) -> ColumnMatch:
        """Find the files of a column.

        A cell is looked up as it is (`ImageFiles.find`), else in Unicode's composed form, because macOS decomposes file
        names. If some files lie in a folder of training images, and one other folder holds all names, these are meant:
        the first folder holds copies. A file beside the folder that holds the images of all other ids is no match
        (`RivalFolders`). Then these rules follow: the name differs in case, width, blanks or invisible characters; the
        file has another image extension; a number has lost or gained leading zeros; a path begins with folders of
        another machine.
        Several files with the same content count as one. At last the other spellings in
        `trainer.data.readers.matching.id_spellings.REWRITES` are looked up.
        """
        paths: dict[str, str] = {}
        errors: dict[str, ImageLookupError] = {}
        for cell in dict.fromkeys(cells):
            try:
                paths[cell] = self._files.find(cell, self._split)
            except ImageLookupError as error:
                errors[cell] = error
        notes = self._in_whole_folder(paths)
        replaced = self._rivals.replaced([*paths, *errors], paths)
        found_exactly = {cell: path for cell, path in paths.items() if cell not in replaced}
        exact = frozenset(found_exactly)
        notes += _case_notes(found_exactly)
        _replace(paths, errors, replaced, notes)

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
            apply(
                self._written_alike,
                "{n} ids differ from the file name in case, width, blanks or invisible characters, "
                "such as {cell!r} for {path}",
            )
            same_suffix = any(has_image_suffix(cell) for cell in exact)
            if not same_suffix:  # else a mask could replace a missing image
                apply(
                    self._with_other_suffix, "{n} ids have another extension than the file, such as {cell!r} for {path}"
                )
            apply(
                lambda cell: self._without_zeros(cell, same_suffix),
                "{n} ids lack or add leading zeros or a decimal point, such as {cell!r} for {path}",
            )
            self._match_ends(paths, errors, notes, any_suffix=not same_suffix)
            self._match_copies(paths, errors, notes)
            self._match_other_spellings(paths, errors, notes)
        notes += self._files.beside_notes(list(paths.values()), self._split)
        return ColumnMatch(paths=paths, exact=exact, errors=errors, notes=tuple(notes))

    def _in_whole_folder(self, paths: dict[str, str]) -> list[str]:
        """Put the files of the only folder that holds all names in place of those in folders of the split.

        As ``photos/`` beside ``train/``, ``val/`` and ``test/`` with resized copies of all photos: else the images of
        validation and testing alone would be photos.

        Returns:
            A note, if files were replaced.
        """
        if self._split != "train" or any("/" in slashes(cell) for cell in paths):
            return []
        inside = [cell for cell, path in paths.items() if self._files.below_split(path, "train") is not None]
        folders = {path.rpartition("/")[0] for path in paths.values()}
        folders -= {paths[cell].rpartition("/")[0] for cell in inside}
        if not inside or len(folders) != 1 or not (folder := folders.pop()):
            return []
        found = ImageMatcher(self._files.under(folder), "train").match(paths)
        if len(found.paths) < len(paths):
            return []
        left_out = paths[inside[0]]
        paths.update(found.paths)
        names = {PurePosixPath(path).name for path in paths.values()}
        tests = [path for path in self._files.paths_below("test") if PurePosixPath(path).name in names]
        notes = [
            f"{folder}/ holds the images of all ids, so {counted(len(inside), 'image')} of the same names in other "
            f"folders, such as {left_out}, are not read"
        ]
        if tests:
            notes.append(
                f"by the names, {counted(len(tests), 'test image')} may be copies of those in {folder}/: {tests[0]}"
            )
        return notes

    def explained(self, cell: str, error: ImageLookupError) -> str:
        """The message of an error of `match`, with the nearest file name if the id names no file at all."""
        message = str(error)
        if isinstance(error, ImageMissingError) and len(error.namesakes) > 1:
            message = nearly_the_path(cell, error.namesakes) or message
        if type(error) is not ImageMissingError or message.endswith(")"):
            return message
        allowed = self._files.of_split(list(self._files.paths), self._split)
        return message + nearest_name_hint(cell, allowed)

    def _in_composed_form(self, cell: str) -> str | None:
        return self._real(cell, self._names.composed_files.find(composed(cell), self._split))

    def _with_other_suffix(self, cell: str) -> str | None:
        pure = PurePosixPath(slashes(cell))
        if not has_image_suffix(cell):
            return None
        return self._real(cell, self._names.composed_files.find(composed(str(pure.with_suffix(""))), self._split))

    def _written_alike(self, cell: str) -> str | None:
        pure = PurePosixPath(alike(cell))
        found = self._names.by_alike_name.get(pure.name, [])
        wanted = pure.parts[:-1]
        inside = [
            path for path in found if not wanted or PurePosixPath(alike(path)).parts[:-1][-len(wanted) :] == wanted
        ]
        fitting = self._names.composed_files.of_split(inside, self._split, len(wanted))
        return self._only(cell, fitting) if fitting else None

    def _without_zeros(self, cell: str, same_suffix: bool) -> str | None:
        pure = PurePosixPath(slashes(cell))
        stem = pure.stem if pure.suffix.lower() in IMAGE_SUFFIXES else pure.name
        if pure.is_absolute() or ".." in pure.parts:
            return None
        fitting = self._ending(self._names.by_unpadded_stem.get(unpadded(stem), []), pure.parts[:-1])
        stems = {path: PurePosixPath(path).stem for path in fitting}
        fitting = [path for path in fitting if stems[path] != stem and differ_in_one_number(stems[path], stem)]
        if same_suffix and has_image_suffix(cell):
            fitting = [path for path in fitting if PurePosixPath(path).suffix.lower() == pure.suffix.lower()]
        return self._only(cell, fitting) if fitting else None

    def _match_ends(
        self, paths: dict[str, str], errors: dict[str, ImageLookupError], notes: list[str], *, any_suffix: bool
    ) -> None:
        """Match paths by their longest ending that a file has, with the tolerance of ids without folders.

        What is left in front has to be foreign to the data folder for all cells: where the front part of one path is
        the beginning of another's, the other path names a folder that is missing, and is not matched. The front of a
        relative path that names its file is empty, which is the beginning of all relative paths, but of none that
        leaves the folder. The file name alone counts only if no path of the column has more in common with a file.
        """
        found: dict[str, tuple[list[str], tuple[str, ...], int]] = {}
        missing = [cell for cell, error in errors.items() if isinstance(error, ImageMissingError)]
        named = [PurePosixPath(composed(slashes(cell))).name for cell in missing if has_image_suffix(cell)]
        if any(name in self._names.by_name for name in named):
            any_suffix = False  # else a mask could replace a missing image
        for cell in missing:
            ending = self._longest_ending(cell, any_suffix=any_suffix)
            if ending is not None:
                found[cell] = ending
        fronts = {front for _, front, _ in found.values()}
        inside = [slashes(cell) for cell in paths if not _leaves(PurePosixPath(slashes(cell)).parts)]
        if any("/" in cell for cell in inside):
            fronts.add(())
        longest = max(
            [length for _, _, length in found.values()] + [len(PurePosixPath(cell).parts) for cell in inside], default=0
        )
        kept, matched, near = set(), 0, []
        for cell, (fitting, front, length) in found.items():
            if (length == 1 and longest > 1) or any(front[:end] in fronts for end in range(_leaves(front), len(front))):
                continue
            try:
                paths[cell] = self._only(cell, fitting)
            except ImageLookupError as error:
                errors[cell] = error
                continue
            del errors[cell]
            kept.add(front)
            matched += 1
            if composed(PurePosixPath(slashes(cell)).name) not in (
                (real := PurePosixPath(composed(paths[cell]))).name,
                real.stem,
            ):
                near.append(cell)
        if kept:
            shown = " or ".join(repr(f"{'/'.join(front)}/".replace("//", "/")) for front in sorted(kept)[:3])
            begin = (
                "paths begin" if matched == len(paths) else f"{counted(matched, 'path')} begin{'s' * (matched == 1)}"
            )
            notes.append(f"{begin} with {shown}, which the data folder lacks: the rest of each path names the file")
        if near:
            notes.append(
                f"{counted(len(near), 'path')} differ{'s' * (len(near) == 1)} from the file name in case, extension or "
                f"leading zeros, such as {near[0]!r} for {paths[near[0]]}"
            )

    def _match_other_spellings(
        self, paths: dict[str, str], errors: dict[str, ImageLookupError], notes: list[str]
    ) -> None:
        """Match what is left in the spellings of `REWRITES`.

        The prefix of an upload is removed only where no cell names a file with it, and most cells have it.
        """
        for rule, sentence in REWRITES.items():
            other = {cell: name for cell in errors if (name := rule(cell)) is not None and name != cell}
            if not other or (rule is without_upload_prefix and (paths or len(other) * 2 <= len(errors))):
                continue
            found = self.match(other.values())
            for cell, name in other.items():
                if name in found.paths:
                    paths[cell] = found.paths[name]
                    del errors[cell]
                else:
                    errors[cell] = found.errors[name]
            if found.paths:
                cell = next(cell for cell, name in other.items() if name in found.paths)
                notes.append(sentence.format(n=len(found.paths), cell=cell, path=paths[cell]))
                notes += found.notes

    def _longest_ending(self, cell: str, *, any_suffix: bool) -> tuple[list[str], tuple[str, ...], int] | None:
        """The files with the longest common ending, the parts in front of it, and its length; None without any."""
        parts = PurePosixPath(composed(slashes(cell))).parts
        inner = [part for part in parts if part not in ("..", "/") and not _DRIVE.fullmatch(part)]
        if len(parts) < 2 or tuple(inner) != parts[len(parts) - len(inner) :]:
            return None
        exact = self._names.by_name.get(inner[-1], [])
        near = list(near_names(self._names, inner[-1], any_suffix=any_suffix))
        for length in range(len(inner), 0, -1):
            folders = tuple(inner[-length:-1])
            fitting = self._ending(exact, folders) or next(
                filter(None, (self._allowed(in_folders_alike(paths, folders), folders) for paths in near)), []
            )
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
        return self._allowed(inside, wanted)

    def _allowed(self, paths: list[str], folders: Sequence[str]) -> list[str]:
        """Those of ``paths`` (composed) that the split allows, if the id names their innermost ``folders``."""
        return self._names.composed_files.of_split(paths, self._split, len(folders))

    def _only(self, cell: str, fitting: list[str]) -> str:
        """The only one of the ``fitting`` composed paths, as it is on disk."""
        if len(fitting) > 1:
            raise ImageAmbiguousError(cell, fitting)
        return self._real(cell, fitting[0])

    def _real(self, cell: str, path: str) -> str:
        """The path on disk with this composed form."""
        real = self._names.by_form[path]
        if len(real) > 1:
            raise ImageAmbiguousError(cell, real)
        if real[0] in self._files.escaping:
            raise ImageLookupError(self._files.link_problem(real[0]))
        return real[0]


def _leaves(parts: Sequence[str]) -> bool:
    """Whether a path with these parts is absolute, or begins above the folder or in the home of a user (``~``)."""
    return bool(parts) and (parts[0] in ("/", "//", "..", "~") or _DRIVE.fullmatch(parts[0]) is not None)


def _replace(
    paths: dict[str, str],
    errors: dict[str, ImageLookupError],
    replaced: Mapping[str, str | ImageLookupError],
    notes: list[str],
) -> None:
    """Put the files and errors of `RivalFolders.replaced` in place of the exact matches."""
    left_out = {cell: paths.pop(cell) for cell in replaced}
    for cell, file in replaced.items():
        if isinstance(file, str):
            paths[cell] = file
        else:
            errors[cell] = file
    chosen = [cell for cell in left_out if cell in paths]
    if chosen:
        notes.append(
            f"{len(chosen)} ids name a file beside the folder of the other images, which is not read, such as "
            f"{left_out[chosen[0]]}: {chosen[0]!r} is read as {paths[chosen[0]]}"
        )


def _case_notes(paths: Mapping[str, str]) -> list[str]:
    """A note about ids that are found as they are, but for blanks around them or the case of letters."""
    differing = [
        cell
        for cell, path in paths.items()
        if cell != cell.strip() or not ((wanted := str(PurePosixPath(slashes(cell)))) in path or wanted.endswith(path))
    ]
    if not differing:
        return []
    cell = differing[0]
    return [f"{len(differing)} ids differ from the file name in case or blanks, such as {cell!r} for {paths[cell]}"]
