"""Recognise labels of groups of images in a second table, such as one row for each patient."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath

from trainer.common.errors import DataError, listed
from trainer.data.image_set import DataOptions
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.columns.label_names import is_usual_label
from trainer.data.readers.matching.id_spellings import unpadded
from trainer.data.readers.tables.find_tables import claim_level, is_named_training
from trainer.data.readers.tables.folder_labels import speaks_of_classes, speaks_of_groups
from trainer.data.readers.tables.links.find_keys import Key
from trainer.data.readers.tables.links.keyed_table import KeyedTable


def group_problem(
    listing: KeyedTable, table: KeyedTable, key: Key, options: DataOptions, sample: SampleHints
) -> DataError | None:
    """The error for a table that labels groups of images, whose groups would else be read as the classes.

    Args:
        listing: the table that names images and their groups.
        table: the table with a row for each group.
        key: the column of groups.

    Returns:
        None if the table does not label groups: it lists classes, or describes the groups of a table of labels.
    """
    where, name = listing.table.path, listing.names[key.listing]
    if options.label_column in listing.names:
        return None
    labels = table.label_columns([key.other])
    if not labels or speaks_of_classes(name) or len(set(table.cells(key.other))) * 2 <= len(table.rows):
        return None
    if listing.owns_labels(key.listing, sample):
        weaker = claim_level(table.table.path) >= claim_level(where)
        if weaker or _agree(listing, table, key, labels):
            return None
    if not (speaks_of_groups(name) or any(len(set(table.cells(column))) < len(table.rows) for column in labels)):
        return None  # one row for each class
    words = not any(character.isdigit() for cell in key.files for character in cell)
    if (
        words
        and not speaks_of_groups(name)
        and (is_named_training(where) or not table.claims_labels(key.other, sample))
    ):
        return None  # names of classes, which the other table describes
    if _are_folders(listing, key):
        return None
    if not key.sure and not (
        table.claims_labels(key.other, sample) and (speaks_of_groups(name) or table.image is None)
    ):
        return None  # numbers that both tables have by chance
    group, images = next((cell, images) for cell, images in key.files.items() if len(images) > 1)
    usual = [table.names[column] for column in labels if is_usual_label(table.names[column])]
    label = listed(usual[:1] or [table.names[column] for column in labels])
    assert listing.image is not None, "a table that lists images"
    return DataError(
        f"{where.name} gives the {name!r} of each image, such as {group!r} for {len(images)} images, and "
        f"{table.table.path.name} has one row for each of them, which may hold the labels. Such tables are not joined: "
        f"write one table with a row for each image and the columns {listing.names[listing.image]!r}, {name!r} and "
        f"{label}, and add --table NAME (data.table), --label-column NAME (data.label_column) and --group-column "
        f"{shlex.quote(name)} (data.group_column). If {where.name} holds the labels, name their column with "
        "--label-column NAME; if folders are the classes, add --layout folders (data.layout)"
    )


def _agree(listing: KeyedTable, table: KeyedTable, key: Key, labels: Sequence[int]) -> bool:
    """Whether the table of image names repeats a column of labels."""
    for column in labels:
        name = table.names[column]
        if name not in listing.names:
            continue
        known = dict(zip(map(key.spelled, table.cells(key.other)), table.cells(column), strict=True))
        own = zip(map(key.spelled, listing.cells(key.listing)), listing.cells(listing.names.index(name)), strict=True)
        if all(known.get(group, label) == label for group, label in own):
            return True
    return False


def _are_folders(listing: KeyedTable, key: Key) -> bool:
    """Whether each image lies in a folder of the name of its group, so that the groups may be read as folders."""
    return all(
        unpadded(group) in map(unpadded, PurePosixPath(image).parts[:-1])
        for group, image in zip(listing.cells(key.listing), listing.image_cells, strict=True)
    )
