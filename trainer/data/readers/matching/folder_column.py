"""Find the column that names the folder of each image, where the file names alone occur in several folders."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from trainer.data.readers.matching.id_spellings import slashes
from trainer.data.readers.matching.match_images import ImageMatcher


def folder_column(
    rows: Sequence[Sequence[str]], image: int, ambiguous: Collection[str], matcher: ImageMatcher
) -> tuple[int, str] | None:
    """The column that stands for the folders, and an image's path by it; None without such a column.

    Args:
        rows: of the table, without its header.
        image: the column of file names.
        ambiguous: the cells of that column that several files fit.
    """
    unclear = [row for row in rows if row[image] in ambiguous]
    for column in range(len(rows[0])):
        if column == image:
            continue
        paths = list(dict.fromkeys(f"{slashes(row[column]).strip('/ ')}/{slashes(row[image])}" for row in unclear))
        found = matcher.match(paths).paths
        folders = {slashes(row[column]).strip("/ ").rpartition("/")[2] for row in unclear}
        if found.keys() == set(paths) and folders <= {PurePosixPath(path).parent.name for path in found.values()}:
            return column, paths[0]
    return None
