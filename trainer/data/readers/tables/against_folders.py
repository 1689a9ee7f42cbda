"""Compare the labels of a table with the class folders and the names of its images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from trainer.common.errors import listed
from trainer.data.readers.doubts.folders.folder_choice import folders_choice
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.choice.folder_levels import FolderLevel, folded, rival_level, same_level
from trainer.data.readers.tables.reading.training_rows import TrainingRow
from trainer.formats.class_lists import odd_rows
from trainer.formats.delimited import Table
from trainer.inference.printable import printable

_SEPARATORS = re.compile(r"[,;|\t]+")  # between labels in a cell
_MOST_MISNAMED = 1 / 3  # share of the images called after a label up to which their names speak of labels at all


def against_folders(rows: Sequence[TrainingRow], levels: Sequence[FolderLevel], files: ImageFiles) -> list[str]:
    """A problem if labels mean the folders of a level, but some images lie in the folder of another class.

    Labels mean the folders by their names, or by most of their images: numbers of classes, each with the most images
    in a folder of its own. Numbers of folders further down have to agree by their names. Where half of the labels or
    more name their folders, those that name none contradict them, too.

    Args:
        files: of the data folder.
    """
    labels = {row.path: row.label for row in rows}
    meant = {row: folded(row.label) for row in rows}
    given = set(meant.values())
    named = [level for level in levels if level.repeats(labels)]
    wrong: list[TrainingRow] = []
    for level in named or [level for level in levels if level.surely or not level.numbered]:
        folders = {row: level.folders.get(row.path, "") for row in rows}
        if given <= level.known:
            wrong = [row for row in rows if folders[row] and folders[row] != meant[row]]
        elif 2 * sum(folders[row] == meant[row] for row in rows) >= len(rows):
            # Some images have a label that no folder has: another opinion, or one folder under another name.
            wrong = [row for row in rows if folders[row] in given and folders[row] != meant[row]]
        elif all(folders.values()):
            odd = odd_rows([row.label for row in rows], [folders[row] for row in rows])
            wrong = [rows[index] for index in odd]
        if wrong:
            break
    if not wrong:
        return []
    return [
        f"{wrong[0].row} labels {wrong[0].path} as {wrong[0].label!r}: {len(wrong)} of {len(rows)} labels contradict "
        "the folders of their images. Choose the table with --layout table. If the folders are the classes, "
        f"{folders_choice(files.root, files)}"
    ]


def other_than_folders(
    rows: Sequence[TrainingRow], levels: Sequence[FolderLevel], files: ImageFiles, where: str
) -> list[str]:
    """A warning if the labels of a table say something else than the folders that may be classes of its images.

    Args:
        files: of the data folder.
        where: name of the table.
    """
    labels = {row.path: row.label for row in rows}
    rival = rival_level(levels, labels)
    if rival is None or len(set(rival.folders.values())) < 2 or same_level(levels, labels) is not None:
        return []
    return [
        f"the labels are those of {where}, not the folders {listed(rival.names, 4)} of the images; if the folders are "
        f"the classes, {folders_choice(files.root, files)}"
    ]


def other_than_names(rows: Sequence[TrainingRow], where: str) -> list[str]:
    """A warning if most images are called after their label, and some after that of others: ``cat_12.jpg``.

    Args:
        where: name of the table.
    """
    words = {label: _words_of(label) for label in {row.label for row in rows}}
    times = Counter(words.values())
    labels = {own: label for label, own in words.items() if times[own] == 1}  # cat1 and cat2 have the same words
    named = {row: found for row in rows if (found := _label_in_name(row.path, labels)) is not None}
    wrong = [row for row, label in named.items() if label != row.label]
    if 2 * len(named) <= len(rows) or not 0 < len(wrong) <= _MOST_MISNAMED * len(named):
        return []
    return [
        f"{where} labels {len(wrong)} of {len(rows)} images otherwise than their names say, such as "
        f"{printable(wrong[0].path)} as {wrong[0].label!r}; correct the table if the names are right"
    ]


def _label_in_name(path: str, labels: Mapping[tuple[str, ...], str]) -> str | None:
    """The label of whose words the first words of a file name consist, the longest such label."""
    words = _words_of(PurePosixPath(path).stem)
    return next((labels[words[:end]] for end in range(len(words), 0, -1) if words[:end] in labels), None)


def _words_of(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\W\d_]+", composed(text).casefold()))


def named_by_folders(rows: Sequence[TrainingRow], class_folders: Sequence[str]) -> dict[str, str]:
    """The class folder of each label, if the labels are numbers, each of which stands for one folder; else empty."""
    known = set(map(composed, class_folders))
    pairs = list(dict.fromkeys((row.label, composed(PurePosixPath(row.path).parent.name)) for row in rows))
    names = dict(pairs)
    if len(set(names.values())) < len(pairs) or not known.issuperset(names.values()):
        return {}
    return names if all(label.isascii() and label.isdecimal() for label in names) else {}


def tells_other_labels(table: Table, matcher: ImageMatcher, *, within_folders: bool) -> bool:
    """Whether a table names images in most rows, and a column repeats values that do not mean the images' folders.

    Values mean the folders if they hold their names, or if each value belongs to one folder.

    Args:
        within_folders: whether images of one folder have to differ in this column.
    """
    for column in range(table.width):
        paths = matcher.match(row[column] for row in table.rows).paths
        rows = [(row, PurePosixPath(paths[row[column]]).parent) for row in table.rows if row[column] in paths]
        if 2 * len(rows) < len(table.rows):
            continue
        for other in (index for index in range(table.width) if index != column):
            pairs = {(str(folder), row[other].strip()) for row, folder in rows}
            values, folders = {value for _, value in pairs}, {folder for folder, _ in pairs}
            means_folders = len(pairs) == len(values) == len(folders) or all(
                f" {folder.name} ".casefold() in f" {_SEPARATORS.sub(' ', row[other])} ".casefold()
                for row, folder in rows
            )
            differ = len(pairs) > len(folders) or not within_folders
            if differ and not means_folders and 1 < len(values) <= len(rows) / 2:
                return True
    return False
