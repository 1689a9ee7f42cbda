"""Collect the images of the class folders, and what forbids the use of a folder."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.names.masks import masks_among
from trainer.data.readers.base import SkippableProblem
from trainer.data.readers.class_folders import ClassContent, content_of_class, in_two_classes, subfolders
from trainer.data.readers.doubts.folders.folder_advice import nested_advice
from trainer.data.readers.doubts.folders.tables_apart import table_apart_advice
from trainer.data.readers.doubts.other_tables import files_in, other_tables
from trainer.data.readers.matching.image_files import LINK_HELP, ImageFiles
from trainer.data.readers.tables.reading.table_files import is_surely_table
from trainer.formats.labels import text_problem
from trainer.inference.printable import name_problem, printable

"""Extensions of files that are tables: a text may be anything."""


@dataclass(frozen=True, kw_only=True)
class ClassImages:
    """The images of all class folders."""

    paths: list[str] = field(default_factory=list)
    """Relative to the data folder."""
    labels: list[str] = field(default_factory=list)
    """Of each of `paths`: the name of its class folder."""
    bad_names: list[SkippableProblem] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    """Masks of other images, by their names; they are none of `paths`."""


def images_of(folder: Path, folders: Sequence[Path], files: ImageFiles) -> ClassImages:
    """Collect the images of the class ``folders``.

    Raises:
        DataError: class folders that cannot be used.
    """
    found = ClassImages()
    problems: list[str] = []
    nested: dict[str, Sequence[str]] = {}
    for class_folder in folders:
        inside = files.paths_in(class_folder)
        name = class_folder.relative_to(folder).as_posix()
        content = content_of_class(name, inside, files.other.linked)
        problems += _class_problems(folder, class_folder, content, files)
        if content.nested:
            nested[name] = content.nested
        inside = tuple(content.images)
        unusable = {path: problem for path in inside if (problem := name_problem(path))}
        found.bad_names.extend(
            SkippableProblem(lost_id=printable(path), message=f"{printable(path)}: the file name {problem}")
            for path, problem in unusable.items()
        )
        own_masks = masks_among(inside)
        found.masks.extend((*own_masks, *content.masks))
        usable = [path for path in inside if path not in unusable and path not in own_masks]
        found.paths.extend(usable)
        found.labels.extend([class_folder.name] * len(usable))
    problems += in_two_classes(files, found.paths, found.labels)
    problems += files.closed_problems()
    if problems:
        advice = [table_apart_advice(folder, files), nested_advice(folder, nested, files)] if nested else []
        raise DataError(problems, "\n".join(filter(None, advice)))
    return found


def _labels_inside(folder: Path, class_folder: Path) -> str:
    """What to do if a class folder without images holds the labels in a table, to follow what else may be done."""
    places = (class_folder, *subfolders(class_folder))
    if tables := [path for place in places for path in files_in(place) if is_surely_table(path)]:
        table = shlex.quote(tables[0].relative_to(folder).as_posix())
        return (
            f"; or, if {printable(tables[0].name)} in it holds the labels, add --table {printable(table)} (data.table)"
        )
    if others := [path for place in places for path in other_tables(place)]:
        return f"; or, if {printable(others[0].name)} in it holds the labels, save it as CSV"
    return ""


def _class_problems(folder: Path, class_folder: Path, content: ClassContent, files: ImageFiles) -> list[str]:
    """What forbids the use of a class folder with this ``content``."""
    name = class_folder.relative_to(folder).as_posix()
    if class_folder.is_symlink():
        return [f"{name} is a link to a folder: such links are not followed; {LINK_HELP}"]
    if problem := name_problem(class_folder.name):
        return [f"the class folder {printable(name)}: its name {problem}"]
    if problem := text_problem(class_folder.name):
        return [f"the class folder {name!r} {problem}"]
    outside = [
        f"{printable(link)} {why}: such links are not followed; copy its images into {printable(name)} itself"
        for link, why in sorted(files.other.unfollowed.items())
        if link.startswith(f"{name}/")
    ]
    if outside:
        return outside
    if not content.images and not content.nested:
        labels = _labels_inside(folder, class_folder)
        return [
            f"the class folder {name} holds no images; add images or remove the folder{labels}",
            *files.unread_warnings([name]),
        ]
    problems = [files.link_problem(path) for path in content.images if path in files.escaping]
    if content.nested:
        problems.append(
            f"{content.nested[0]}: a class folder holds its images directly, but {name} has folders with images"
        )
    return problems
