"""Archives that may hold images which were not found."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from trainer.inference.file_kinds import ARCHIVES
from trainer.inference.printable import printable

_ARRAYS = re.compile(r"\.nii\.gz$|-ubyte\.gz$", re.IGNORECASE)


def packed_archives(unread: Collection[str], folders: Collection[str]) -> list[str]:
    """The archives among files that are not read, but for those that are unpacked beside themselves.

    Args:
        unread: paths in the data folder.
        folders: the folders that hold images.
    """
    unpacked = {folder.casefold() for folder in folders}

    def unpacks_to(path: PurePosixPath) -> str:
        return str(path.with_name(path.name.split(".")[0])).casefold()

    return [path for path in archives_among(unread) if unpacks_to(PurePosixPath(path)) not in unpacked]


def archives_among(unread: Collection[str]) -> list[str]:
    """The archives among files that are not read."""
    return [path for path in unread if path.lower().endswith(ARCHIVES)]


def archive_hint(packed: Sequence[str]) -> str:
    """What to do about archives that may hold images, as a sentence; empty without archives."""
    if not packed:
        return ""
    shown = ", ".join(map(printable, packed[:3])) + " and others" * (len(packed) > 3)
    if all(map(_ARRAYS.search, packed)):
        return f"{shown}: volumes (NIfTI) and arrays (IDX) are not read: save each image as a PNG file"
    return f"The images may be in {shown}: unpack {'it' if len(packed) == 1 else 'them'} first"
