"""Read a folder of images, whatever its layout, into an `ImageSet`; check every image on the way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.inspection import Looks, Progress, look_at
from trainer.data.readers import folder_layout, npz_layout, table_layout
from trainer.data.readers.base import Reader, Reading
from trainer.data.readers.image_files import is_data

__all__ = ["READERS", "DataError", "DataOptions", "ImageSet", "read_images"]

READERS: dict[str, Reader] = {
    "npz": npz_layout.READER,
    "table": table_layout.READER,
    "folders": folder_layout.READER,
}
"""Data layouts by name; the first one that recognises a folder reads it."""


def read_images(
    folder: Path, options: DataOptions | None = None, *, verify: bool = True, progress: Progress | None = None
) -> ImageSet:
    """Read the data set in ``folder`` (or in the only folder inside it), checking that every image can be decoded.

    Args:
        folder: the data folder. It is only read, never written to.
        options: what the person said about columns and bad images.
        verify: decode every image once. False reads only tables and headers, for workers that join a study whose data
            were verified before; with ``options.skip_bad`` images are decoded all the same, so that everybody leaves
            out the same ones.
        progress: called with (images done, images in all) while images are decoded.

    Raises:
        DataError: no layout fits, or something is wrong with the data: every problem is named, those of tables and
            those of image files together. With ``options.skip_bad`` bad training images are left out, listed in
            ``skipped`` and explained in ``warnings``; bad test images are an error all the same.
    """
    chosen = options or DataOptions()
    reading = _read(_checked_folder(folder), chosen)
    image_set, problems = reading.image_set, list(reading.problems)
    bad: dict[int, str] = {}
    if verify or chosen.skip_bad:
        n, total = len(image_set.train_ids), len(image_set.train_ids) + len(image_set.test_ids)
        train_looks, bad = look_at(image_set.train_images, lambda done, _: progress(done, total) if progress else None)
        test_looks, bad_test = look_at(
            image_set.test_images, lambda done, _: progress(n + done, total) if progress else None
        )
        problems += bad_test.values()
        image_set = dataclasses.replace(image_set, looks=Looks.joined([train_looks, test_looks]))
    excusable = [*(defect.why for defect in reading.defects), *bad.values()]
    if chosen.skip_bad and not problems and excusable:
        lost = [defect.id for defect in reading.defects if defect.id is not None]
        return image_set.without(bad, lost, excusable)
    if problems or excusable:
        advice = "" if problems else f"To go on without {'it' if len(excusable) == 1 else 'them'}, add --skip-bad"
        raise DataError([*problems, *([] if chosen.skip_bad else excusable)], advice)
    return image_set


def _checked_folder(folder: Path) -> Path:
    if not folder.exists():
        raise DataError(f"there is no folder {folder}")
    if not folder.is_dir():
        hint = "; unpack it first" if folder.suffix.lower() in (".zip", ".gz", ".tar", ".7z") else ""
        raise DataError(f"{folder} is a file, not a folder of images{hint}")
    return folder


def _read(folder: Path, options: DataOptions) -> Reading:
    """Read with the first reader that fits, here or in the only folder inside (archives like to add one)."""
    inner = folder
    while True:
        for reader in READERS.values():
            if reader.detect(inner):
                return reader.read(inner, options)
        entries = [path for path in inner.iterdir() if is_data(path)]
        if len(entries) != 1 or not entries[0].is_dir() or entries[0].is_symlink():
            raise DataError(_unknown_layout(folder))
        inner = entries[0]


def _unknown_layout(folder: Path) -> str:
    found = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir() if is_data(path))
    shown = ", ".join(found[:12]) + (f" and {len(found) - 12} more" if len(found) > 12 else "")
    layouts = "\n".join(f"  {name}: {reader.layout}" for name, reader in READERS.items())
    return f"{folder} has none of the known layouts (it holds {shown or 'nothing'}). Known are\n{layouts}"
