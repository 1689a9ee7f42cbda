"""Refuse keys that may mean two different images."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from trainer.common.errors import DataError, listed
from trainer.data.readers.columns.image_column import ID_NAMES, PROBED_ROWS, refers_to_images
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.columns.label_names import plain_name
from trainer.data.readers.matching.id_spellings import is_image_name
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.folder_labels import speaks_of_groups
from trainer.data.readers.tables.links.find_keys import Key, rival_keys
from trainer.data.readers.tables.links.keyed_table import KeyedTable


def refuse_contradiction(table: KeyedTable, keys: Sequence[tuple[KeyedTable, Key]], matcher: ImageMatcher) -> None:
    """Raise a DataError if two columns of ids, or two tables of image names, name different images."""
    (first, key), *others = keys
    for listing, other in others:
        for one, two in zip(table.cells(key.other), table.cells(other.other), strict=True):
            image, image_too = key.files.get(key.spelled(one)), other.files.get(other.spelled(two))
            if not image or not image_too or _is_one_file(image[0], image_too[0], matcher):
                continue
            where = table.table.path.name
            if key.other != other.other:
                raise DataError(
                    f"{where}: both {table.names[key.other]!r} and {table.names[other.other]!r} may be the ids of "
                    f"{listing.table.path.name}, and name different images. Choose one with --id-column NAME "
                    "(data.id_column)"
                )
            raise DataError(
                f"{first.table.path.name} and {listing.table.path.name} name different images for the id {one!r} "
                f"of {where}: leave only one of them in the folder"
            )


def refuse_foreign_keys(listing: KeyedTable, table: KeyedTable, key: Key) -> None:
    """Raise a DataError if another column of the table of image names may hold the ids of the other table.

    In ``images(id, file_name, patient_id)`` and ``patients(id, diagnosis)`` both tables number their own rows.
    """
    ours, theirs, where = listing.names[key.listing], table.names[key.other], table.table.path
    if plain_name(ours) not in ID_NAMES:
        return
    wanted = set(map(key.spelled, table.values(key.other)))
    for column, name in enumerate(listing.names):
        if column in (key.listing, listing.image) or not _may_refer_to(name, where.stem):
            continue
        values = set(map(key.spelled, listing.values(column)))
        if len(values) > 1 and values <= wanted:
            raise DataError(
                f"the column {theirs!r} of {where.name} may hold the {ours!r} or the {name!r} of "
                f"{listing.table.path.name}. If it is the first, add --id-column {shlex.quote(theirs)} "
                f"(data.id_column); if it is the second, rename it to {name!r}"
            )


def _may_refer_to(name: str, stem: str) -> bool:
    """Whether the name of a column says that its cells are the ids of another table: ``patient_id``, ``sample``."""
    plain, of_table = plain_name(name), plain_name(stem)
    thing = plain.removesuffix("id").rstrip("_")
    if plain in ID_NAMES or not thing:
        return False
    return thing != plain or of_table.startswith(thing) or speaks_of_groups(name) or refers_to_images(name)


def _is_one_file(one: str, two: str, matcher: ImageMatcher) -> bool:
    paths = matcher.match([one, two]).paths
    return one == two or (paths.get(one) is not None and paths.get(one) == paths.get(two))


def are_image_names(cells: Sequence[str], files: Mapping[str, str], key: Key, matcher: ImageMatcher) -> bool:
    """Whether ids are names of images, and those of the other table where it names some."""
    own = matcher.match(cells).paths
    named = {cell: files[key.spelled(cell)] for cell in own if key.spelled(cell) in files}
    theirs = matcher.match(named.values()).paths
    return bool(own) and all(theirs.get(file, own[cell]) == own[cell] for cell, file in named.items())


def refuse_numbers(
    listing: KeyedTable, table: KeyedTable, key: Key, matcher: ImageMatcher, sample: SampleHints
) -> None:
    """Raise a DataError if numbers may be ids of other images, though their columns have different names."""
    files = {cell: images[0] for cell, images in key.files.items()}
    cells, where = table.cells(key.other), table.table.path.name
    if listing.owns_labels(key.listing, sample) or not table.claims_labels(key.other, sample):
        return
    if are_image_names(cells, files, key, matcher):
        return
    name, ours = table.names[key.other], listing.names[key.listing]
    others = [table.names[rival.other] for rival in rival_keys(listing, table, key)]
    also = f" (or those in {listed(others)})" * bool(others)
    raise DataError(
        f"{where} labels the numbers in {name!r}, which may be those in {ours!r} of {listing.table.path.name}, "
        f"such as {files[key.spelled(cells[0])]!r} for {cells[0]!r}{also}. If they are, add --id-column "
        f"{'NAME' if others else shlex.quote(name)} (data.id_column); if not, add --table {where} (data.table)"
    )


def refuse_unclear(listing: KeyedTable, table: KeyedTable, matcher: ImageMatcher, sample: SampleHints) -> None:
    """Raise a DataError if a table of image names has two columns that may name the images."""
    where, source = table.table.path, listing.table.path
    if where == source:
        return
    shared = [name for name in listing.names if name in table.names and table.header]
    for name in shared:
        ours, theirs = (set(found.cells(found.names.index(name))) for found in (listing, table))
        column = table.names.index(name)
        if len(ours & theirs) * 2 < len(theirs) or not table.claims_labels(column, sample):
            continue
        if listing.owns_labels(listing.names.index(name), sample):
            continue
        for column, other in enumerate(listing.names):
            usual = len(listing.names) == 2 or plain_name(other) in ID_NAMES
            match = matcher.match(listing.cells(column)[:PROBED_ROWS])
            files = bool(match.paths) and all(map(is_image_name, match.paths))  # without any, former names of the files
            if other == name or not usual or not (files or len(match.paths) > len(match.errors)):
                continue
            raise DataError(
                f"{source.name} may name the image of each {name!r} of {where.name} in {other!r}, but both columns "
                f"name images. If it does, write file names with their extension in {other!r}; if {name!r} names "
                f"the images, add --table {where.name} (data.table)"
            )
