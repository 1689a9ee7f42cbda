"""A refusal of a sample submission whose images lie in folders that are not read as those of test images."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, counted
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.formats.delimited import Table
from trainer.inference.printable import printable


def refuse_sample_elsewhere(folder: Path, root: Path, sample: Table, files: ImageFiles) -> None:
    """Refuse a sample submission that lists images in other folders, where there is no folder of test images.

    Args:
        folder: the data folder.
        root: the folder of the class folders.
        files: all images of the data folder.

    Raises:
        DataError: the sample lists most images of a folder, or images of several folders.
    """
    paths = _listed(sample, files)
    if not paths:
        return
    where = f"{sample.path.name} lists {counted(len(paths), 'image')}"
    places = Counter(_place(path, folder, root) for path in paths)
    place, count = places.most_common(1)[0]
    if place and count == len(paths) and 2 * count > len(files.paths_in(folder / place)):
        raise DataError(
            f"{where} in {printable(place)}/, which is not read as the folder of test images: rename it to "
            f"{printable(str(PurePosixPath(place).with_name('test')))}"
        )
    raise DataError(
        f"{where} beside the training images, such as {printable(paths[0])}, and there is no folder of test images: "
        "move the test images into a folder test"
    )


def _listed(sample: Table, files: ImageFiles) -> list[str]:
    """The images that most rows of a sample name; empty if its ids name none, or may name others."""
    matcher = ImageMatcher(files, "test")
    columns = [matcher.match(column).paths for column in zip(*sample.rows, strict=True)]
    found = max(columns, key=len, default={})
    return list(dict.fromkeys(found.values())) if 2 * len(found) >= len(sample.rows) else []


def _place(path: str, folder: Path, root: Path) -> str:
    """The folder of an image beside the class folders, or in the data folder; empty for an image in none."""
    prefix = "" if root == folder else f"{root.relative_to(folder).as_posix()}/"
    if not path.startswith(prefix):
        prefix = ""
    first, mark, _ = path.removeprefix(prefix).partition("/")
    return f"{prefix}{first}" if mark else ""
