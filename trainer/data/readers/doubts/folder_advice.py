"""What to do about folders that are no class folders, or that may be none, in sentences for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from trainer.common.errors import listed
from trainer.data.file_names import holds_masks, is_held_out, masks_are_worn, names_no_class, split_of
from trainer.data.image_set import DataOptions
from trainer.data.readers.class_folders import subfolders
from trainer.data.readers.tables.find_tables import (
    bare_tables,
    find_tables,
    how_to_save,
    may_give_labels,
    other_tables,
)
from trainer.inference.printable import printable


def nested_advice(path: str) -> str:
    """What to do about an image in a folder inside a class folder."""
    place = PurePosixPath(path).parent.parent
    inner, of_part = PurePosixPath(path).parent.name, ""
    if is_held_out(inner) or split_of(inner) is not None:
        of_part = (
            f"If {printable(inner)} is a part of the data, put it above the classes: "
            f"{printable(inner)}/{printable(place.name)} in place of {printable(place.name)}/{printable(inner)}. "
        )
    while is_held_out(place.name) or split_of(place.name) is not None:
        place = place.parent
    return (
        f"{of_part}If the inner folders are the classes, give the folder that holds them as the data folder, such as "
        f"{printable(str(place))} inside of this one; else write a table labels.csv with the columns image and label, "
        f"and one row for each image, such as {printable(path)}"
    )


def parts_message(folder: Path, candidates: Sequence[str], options: DataOptions) -> str:
    """Why folders that look like parts of one set are not read as classes, and what to do."""
    tables = find_tables(folder, options.encoding).labels
    beside = f"; no table beside them ({listed(path.name for path in tables)}) names their images" if tables else ""
    others = [*filter(may_give_labels, other_tables(folder)), *bare_tables(folder)]
    beside += "".join(f"; {printable(path.name)} is not read: {how_to_save(path)}" for path in others[:4])
    inner = sorted({path.name for part in candidates for path in subfolders(folder / part)})
    if inner:
        beside += (
            f". If the folders inside them are the classes ({listed(inner, 4)}), put the images of all parts into one "
            "folder for each class"
        )
    return (
        f"the folders {listed(candidates, 4)} look like parts of one set, not like classes{beside}. If "
        "the parts are the classes, add --layout folders (data.layout)"
    )


def not_classes(names: Sequence[str]) -> list[str]:
    """Warnings about class folders whose names say something else."""
    return [
        f"the folder {name!r} is read as a class; if it is none, move it out of the data"
        for name in names
        if names_no_class(name) and split_of(name) is None and not (holds_masks(name) and masks_are_worn(names))
    ]


def mask_warnings(masks: Sequence[str]) -> list[str]:
    """A warning about images that are masks of others by their names."""
    if not masks:
        return []
    return [f"not read as images: masks ({len(masks)}), such as {printable(masks[0])}; rename those that are images"]


def not_splits(names: Sequence[str]) -> list[str]:
    """Notes on class folders that mention training or testing."""
    return [f"the folder {name!r} is read as a class" for name in names if split_of(name) is not None]
