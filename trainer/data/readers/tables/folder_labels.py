"""A table that labels folders, such as one row for each patient: each image of a folder gets the label of its row."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, counted, listed
from trainer.data.names.own_files import is_data
from trainer.data.names.parts import split_of
from trainer.data.readers.columns.header import column_names
from trainer.data.readers.columns.label_names import is_usual_label, plain_name
from trainer.data.readers.doubts.folders.derived_files import derived_files
from trainer.data.readers.doubts.folders.doubtful_folders import images_in_two_formats
from trainer.data.readers.doubts.folders.folder_advice import mask_warnings
from trainer.data.readers.doubts.folders.labelled_folders import Folders, doubts_about_places, masks_in_folders
from trainer.data.readers.matching.id_spellings import composed, has_image_suffix, unpadded
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.find_tables import is_named_training
from trainer.data.readers.tables.reading.table_files import is_surely_table
from trainer.formats.delimited import Table

MISSING = "/"  # end of the cell in place of a path, where a folder holds no images
_PROBED_ROWS = 500
_ID = re.compile(
    r"(?:.*_)?(?:id|patient|subject|case|study|series|exam|person|participant|slide|specimen|lesion|animal|folder|dir"
    r"|directory|video|clip|scene|session)(?:_(?:id|name|no|number|key))?|.*[a-z0-9]id"
)
_CLASSES = re.compile("class|categor|taxonom|species|breed|famil")
_WORDNET = re.compile(r"n\d{8}")
_FILE_ENDING = re.compile(r"(?:\.ome|\.nii)?\.[A-Za-z][A-Za-z0-9]{1,4}$")
_RANDOM = re.compile(r"[0-9a-f]{8}[0-9a-f\-]*|[0-9.]{12,}")  # UUID, hash, DICOM's identifiers


@dataclass(frozen=True, kw_only=True)
class FolderTable:
    """A table whose column ``column`` names folders of images.

    table: as it is in the file.
    first: index of the first row below the header.
    images: the image files of each cell that names a folder, without masks of others.
    folders: the folders of each such cell, with their image files.
    masks: the masks of other images in these folders.
    """

    table: Table
    first: int
    column: int
    images: Mapping[str, Sequence[str]]
    folders: Mapping[str, Folders]
    masks: Sequence[str] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The column names."""
        return column_names(self.table, self.first == 1)

    def surely_labels(self) -> bool:
        """Whether names say that the table labels folders, and is no description of classes."""
        folders = [PurePosixPath(cell).name for cell in self.images]
        own = plain_name(self.names[self.column]) if self.first else ""
        others = [name for column, name in enumerate(self.names) if column != self.column]
        alike = len({re.sub(r"\d+", "0", name) for name in folders}) == 1 and any(map(str.isdigit, folders[0]))
        ids = bool(_ID.fullmatch(own)) or alike or all(_RANDOM.fullmatch(name.lower()) for name in folders)
        classes = is_usual_label(own) or _CLASSES.search(self.table.path.stem.lower())
        if classes or all(_WORDNET.fullmatch(name) for name in folders):
            return False
        return ids and (is_named_training(self.table.path) or any(map(is_usual_label, others)))

    def repeats_labels(self) -> bool:
        """Whether names say that the table labels folders, and several folders share one of two or more labels.

        Without a header they are paths of folders, beside a single column.
        """
        rows = [row for row in self.table.rows[self.first :] if row[self.column] in self.images]
        if not self.first:
            paths = all("/" in cell.replace("\\", "/").strip("/ ") for cell in self.images)
            return (
                paths and self.table.width == 2 and 1 < len({row[1 - self.column].strip() for row in rows}) < len(rows)
            )
        if not self.surely_labels():
            return False
        found = [{row[i].strip() for row in rows} - {""} for i, name in enumerate(self.names) if is_usual_label(name)]
        return any(1 < len(values) < len(rows) for values in found)

    def labels_deeper_than(self, class_folders: Collection[str]) -> bool:
        """Whether the table names the paths of folders inside the class folders, of which several share a label."""
        names = {PurePosixPath(cell).name for cell in self.images}
        return not self.first and self.repeats_labels() and names.isdisjoint(class_folders)

    def expanded(self) -> tuple[Table, str]:
        """The table with one row for each image, whose path is the last cell, and the name of the folder column.

        Raises:
            DataError: two rows label one folder.
        """
        rows = list(self.table.rows[: self.first])
        numbers = list(self.table.numbers[: self.first])
        names = self.names
        if self.first:
            path_name = next(name for name in ("image", "image_path", "image path ") if name not in names)
            rows = [(*rows[0], path_name)]
        seen: dict[str, int] = {}
        problems = []
        for index in range(self.first, len(self.table.rows)):
            row = self.table.rows[index]
            cell = row[self.column]
            if cell in seen and self.table.rows[seen[cell]] != row:
                problems.append(
                    f"{self.table.row_name(index)} describes the folder {cell!r} again, and otherwise than "
                    f"{self.table.unit} {self.table.numbers[seen[cell]]}: leave one row for each folder"
                )
            if cell in seen:
                continue
            seen[cell] = index
            for path in self.images.get(cell, [f"{cell}{MISSING}"]):
                rows.append((*row, path))
                numbers.append(self.table.numbers[index])
        if problems:
            raise DataError(problems)
        return dataclasses.replace(self.table, rows=tuple(rows), numbers=tuple(numbers)), names[self.column]

    def representatives(self) -> list[tuple[str, ...]]:
        """The expanded rows of the first image of each folder, by which columns are chosen."""
        rows = self.table.rows[self.first :]
        return [(*row, self.images[row[self.column]][0]) for row in rows if row[self.column] in self.images]

    def note(self, where: str) -> str:
        """What was read, for the user."""
        count = sum(map(len, self.images.values()))
        return (
            f"{where} labels folders: the {count} images of {len(self.images)} folders named in "
            f"{self.names[self.column]!r} get the label of their folder"
        )

    def warnings(self, where: str, files: ImageFiles, *, is_asked: bool) -> list[str]:
        """Warnings about images in folders without a row, about masks, and about files that may be no images.

        Args:
            is_asked: whether the user wants a table to give the labels of all these images.

        Raises:
            DataError: some of the images may be copies, or put aside, by the names of their folders.
        """
        read = [path for paths in self.images.values() for path in paths]
        known = {*read, *self.masks}
        left = [path for path in files.of_split(list(files.paths), "train") if path not in known]
        images = counted(len(left), "image")
        without = f"not read: {images} in folders without a row in {self.table.path.name}, such as {(left or [''])[0]}"
        return [
            *([without] if left else []),
            *mask_warnings(self.masks),
            *doubts_about_places(where, self.folders, refused=not is_asked),
            *images_in_two_formats(read),
            *derived_files(read),
        ]


def speaks_of_groups(name: str) -> bool:
    """Whether a column has a usual name of ids of patients, studies and the like."""
    return _ID.fullmatch(plain_name(name)) is not None


def speaks_of_classes(name: str) -> bool:
    """Whether the name of a column or a table speaks of classes, breeds or the like."""
    return is_usual_label(name) or _CLASSES.search(name.lower()) is not None


def folder_names(files: ImageFiles) -> frozenset[str]:
    """The names of all folders with images, as they are and without leading zeros."""
    names = {name for path in files.paths for name in composed(path).split("/")[:-1]}
    return frozenset(names | set(map(unpadded, names)))


def may_name_folders(rows: Sequence[Sequence[str]], names: frozenset[str]) -> bool:
    """Whether a column of the first rows of a table holds two `folder_names` at least."""
    for column in range(max(map(len, rows), default=0)):
        paths = [composed(row[column].strip()).rstrip("/\\") for row in rows if column < len(row)]
        cells = {re.split(r"[/\\]", path)[-1] for path in paths}
        spelled = ((cell, unpadded(cell), _stem(cell), unpadded(_stem(cell))) for cell in cells)
        if sum(not names.isdisjoint(forms) for forms in spelled) > 1:
            return True
    return False


def folder_table(table: Table, files: ImageFiles, matcher: ImageMatcher) -> FolderTable | None:
    """The table as one that labels folders; None if no column names most of its rows' folders, each in one row."""
    inside = _images_by_folder(files)
    for column in range(table.width):
        cells = [row[column] for row in table.rows]
        images = _images_of(_folders_of(cells[:_PROBED_ROWS], inside))
        if len(images) < 2 or len(images) * 2 <= len(cells[:_PROBED_ROWS]) - 1:
            continue
        folders = _folders_of(cells, inside)
        images = _images_of(folders)
        if len(images) * 5 < sum(cell in images for cell in cells) * 4:  # the labels of images, named like folders
            continue
        owned = [path for paths in images.values() for path in paths]
        if len(set(owned)) < len(owned) or _names_images(table, column, matcher, len(images), len(owned)):
            continue
        masks = [path for own in folders.values() for path in masks_in_folders(own)]
        folders = _without(masks, folders)
        return FolderTable(
            table=table,
            first=0 if cells[0] in images else 1,
            column=column,
            images=_images_of(folders),
            folders=folders,
            masks=masks,
        )
    return None


def refused(where: str, table: FolderTable) -> DataError:
    """The question whether a table labels folders or describes classes."""
    folders = listed(sorted(PurePosixPath(cell).name for cell in table.images), 4)
    return DataError(
        f"{where} may label folders of images, or describe classes: it has one row for each of the folders {folders}, "
        f"and several have the same value. To give each image the label of its folder's row, add --table {where} "
        "(data.table); if the folders are the classes, add --layout folders (data.layout)"
    )


def _names_images(table: Table, column: int, matcher: ImageMatcher, folders: int, images: int) -> bool:
    """Whether a column names as many single images: another one, or the same one, if folders hold one image each."""
    for other in range(table.width):
        found = len(set(matcher.match(row[other] for row in table.rows).paths.values()))
        if found >= (images if other == column else folders):
            return True
    return False


def _images_by_folder(files: ImageFiles) -> dict[str, dict[str, list[str]]]:
    """The training images by the name of each folder above them, then by the path of that folder."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in files.of_split(list(files.paths), "train"):
        for folder in PurePosixPath(path).parents[:-1]:
            for key in {composed(folder.name), "unpadded:" + unpadded(folder.name)}:
                found[key][str(folder)].append(path)
    return found


def _end_alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the shorter of two paths is the end of the other one. A single name is no path."""
    shorter = min(len(one), len(other))
    return not other or (shorter > 0 and one[-shorter:] == other[-shorter:])


def _unpadded_folders(inside: Mapping[str, Mapping[str, Sequence[str]]], name: str) -> Mapping[str, Sequence[str]]:
    """The folders of one name that differs from a cell in the leading zeros of its numbers; empty without any."""
    folders = inside.get("unpadded:" + unpadded(name)) or {}
    return folders if len({PurePosixPath(folder).name for folder in folders}) == 1 else {}


def _stem(name: str) -> str:
    """The name of a video, slide or scan without its extension. That of an image file is no folder."""
    stem = _FILE_ENDING.sub("", name)
    return name if has_image_suffix(name) or not stem else stem


def _folders_of(
    cells: Sequence[str], inside: Mapping[str, Mapping[str, Sequence[str]]]
) -> dict[str, dict[str, Sequence[str]]]:
    """The folders of each cell that names some by a name, by the end of a path, or by a longer path, and their images.

    Args:
        inside: `_images_by_folder`.
    """
    found = {}
    for cell in dict.fromkeys(cells):
        wanted = PurePosixPath(composed(cell.strip().replace("\\", "/")))
        folders = inside.get(wanted.name) or {}
        folders = folders or _unpadded_folders(inside, wanted.name)
        ending = wanted.parts[:-1]
        kept = [folder for folder in folders if _end_alike(PurePosixPath(composed(folder)).parts[:-1], ending)]
        if not folders and (stem := _stem(wanted.name)) != wanted.name:
            folders = inside.get(stem) or _unpadded_folders(inside, stem)
            kept = [folder for folder in folders if _end_alike(PurePosixPath(composed(folder)).parts[:-1], ending)]
            kept = kept or list(folders) * (len(folders) == 1)  # videos/7.mp4 lies elsewhere than its frames/7
        if kept:
            found[cell] = {folder: folders[folder] for folder in kept}
    return found


def _images_of(folders: Mapping[str, Folders]) -> dict[str, list[str]]:
    """The images of all folders of each cell."""
    return {cell: [path for paths in own.values() for path in paths] for cell, own in folders.items()}


def _without(left_out: Collection[str], folders: Mapping[str, Folders]) -> dict[str, dict[str, Sequence[str]]]:
    """The folders of each cell without some images."""
    masks = set(left_out)
    kept = {
        cell: {folder: [path for path in paths if path not in masks] for folder, paths in own.items()}
        for cell, own in folders.items()
    }
    return {cell: {folder: paths for folder, paths in own.items() if paths} for cell, own in kept.items()}


def tables_beside_classes(root: Path | None, folder: Path, names: Sequence[str]) -> list[Path]:
    """The tables directly in ``root``, the folder of the class folders, if it is not ``folder`` itself.

    Those of test images are left out.
    """
    if root is None or root == folder or not names:
        return []
    found = (path for path in root.iterdir() if path.is_file() and is_data(path))
    tables = sorted(path for path in found if is_surely_table(path))
    return [path for path in tables if split_of(path.stem) != "test"]
