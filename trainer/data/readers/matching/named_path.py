"""Find a file of the data folder by a path that the user has typed."""

from __future__ import annotations

from pathlib import Path, PurePath

from trainer.formats.labels import spelled_as_among


def path_as_spelled(folder: Path, name: str) -> Path:
    """The path ``name`` inside of ``folder``, in the Unicode form of the files there: macOS decomposes file names.

    ``folder / name`` itself if it exists, or if no file has this name.

    Raises:
        OSError: a folder on the way cannot be listed.
    """
    path = folder / name
    if path.exists() or name.isascii():
        return path
    found = folder
    for part in PurePath(name).parts:
        entries = [entry.name for entry in found.iterdir()] if found.is_dir() else []
        found /= spelled_as_among(entries)(part)
    return found if found.exists() else path
