"""The folder that a table speaks of: that in which it lies, or that with its name. Other folders may repeat the names.

Cameras number their images anew: ``train/000.jpg`` is no image of ``external/labels.csv`` beside ``external/images``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from trainer.common.errors import counted
from trainer.data.names.parts import Split
from trainer.data.names.put_aside import holds_copies
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.formats.delimited import Table
from trainer.inference.printable import printable

_PROBED_ROWS = 500


def files_for(table: Table, files: ImageFiles) -> ImageFiles:
    """The files without the folders beside that of a table, if they repeat names of its images; else all.

    That is the folder in which the table lies, or one beside it that is called as the table, and holds most of the
    images that a column of the table names.
    """
    rows = table.rows[:_PROBED_ROWS]
    for folder in _own_folders(table.path, files):
        rest = without_namesakes(files, folder, "train")
        if rest is not files and _names_most(rows, files.under(folder)):
            return rest
    return files


def without_namesakes(files: ImageFiles, folder: str, split: Split) -> ImageFiles:
    """The files without the folders beside ``folder`` that hold an image with the name of one in it.

    Args:
        folder: relative to the data folder.
        split: of the images that are looked for; those of the other parts are no namesakes.
    """
    inside = files.paths_in(files.root / folder)
    own = {_stem(path) for path in inside}
    places: dict[str, list[str]] = {}
    taken: set[str] = set()
    known = set(inside)
    for path in files.paths:
        if path in known or not files.of_split([path], split):
            continue
        place = _place_beside(path, folder)
        places.setdefault(place, []).append(path)
        if _stem(path) in own:
            taken.add(place)
    lost = {path for place in taken for path in places[place]}
    return files.without(lost) if lost else files


def of_tests(files: ImageFiles) -> tuple[ImageFiles, list[str]]:
    """The files without other versions of all test images, as ``test_512`` beside ``test``, and a warning about them.

    A folder that holds further images is no version.
    """
    folders = {path.removesuffix(f"/{files.below_split(path, 'test')}") for path in files.paths_below("test")}
    found = [folder for folder in folders if PurePosixPath(folder).name.lower() == "test"]
    highest = min((folder.count("/") for folder in found), default=0)
    found = [folder for folder in found if folder.count("/") == highest]
    if len(found) != 1:
        return files, []
    rest = without_namesakes(files, found[0], "test")
    kept = set(rest.paths)
    lost = [path for path in files.paths if path not in kept]
    if not lost or not {_stem(path) for path in lost} <= {
        _stem(path) for path in files.paths_in(files.root / found[0])
    }:
        return files, []
    images = counted(len(lost), "image")
    return rest, [f"not read: {images} with the names of those in {printable(found[0])}/, such as {printable(lost[0])}"]


def _own_folders(table: Path, files: ImageFiles) -> list[str]:
    """The folders that a table may speak of and that hold images, relative to the data folder."""
    places = [table.parent, *(path for path in table.parent.iterdir() if path.name.lower() == table.stem.lower())]
    names = [path.relative_to(files.root).as_posix() for path in places if path != files.root and path.is_dir()]
    return [name for name in names if files.paths_in(files.root / name)]


def _names_most(rows: Sequence[Sequence[str]], files: ImageFiles) -> bool:
    """Whether most cells of a column name files, of which most lie in no folder of changed copies."""
    matcher = ImageMatcher(files, "train")
    for column in range(max(map(len, rows), default=0)):
        cells = [row[column] for row in rows if column < len(row) and row[column].strip()]
        found = set(matcher.match(cells).paths.values())
        kept = [path for path in found if not any(map(holds_copies, PurePosixPath(path).parts[:-1]))]
        if 2 * len(kept) > len(set(cells)) - 1:
            return True
    return False


def _place_beside(path: str, folder: str) -> str:
    """The uppermost folder above ``path`` that is not above ``folder``; for a file directly in one of these, that."""
    own, other = folder.split("/"), path.split("/")
    depth = 0
    while depth < min(len(own), len(other) - 1) and own[depth] == other[depth]:
        depth += 1
    return "/".join(other[: depth + 1]) if depth < len(other) - 1 else "/".join([*other[:-1], ""])


def _stem(path: str) -> str:
    return composed(PurePosixPath(path).stem)
