"""The image names of test ids, in a table that names one for each id."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from trainer.common.errors import DataError
from trainer.data.readers.columns.header import column_names, has_header
from trainer.data.readers.matching.id_spellings import is_image_name
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.formats.delimited import Table


def image_names(
    table: Table, matcher: ImageMatcher, ids: Sequence[str], id_header: str, image_header: str | None
) -> dict[str, str]:
    """Image names by test id, where the test table has a column for each; empty where the ids are image names.

    Args:
        id_header, image_header: names of the columns of ids and of image names in the training table; the latter is
            None where the ids are image names.

    Raises:
        DataError: an id has several images.
    """
    wanted = set(ids)
    names = column_names(table, has_header(table, matcher))
    if image_header is not None and {image_header, id_header} <= set(names):
        key, value = names.index(id_header), names.index(image_header)
        return _only_names([(row[key], row[value]) for row in table.rows if row[key] in wanted], names[key], table)
    columns = list(zip(*table.rows, strict=True))
    keys = max(columns, key=lambda column: len(wanted.intersection(column)))
    found = {index: len(matcher.match(column[:200]).paths) for index, column in enumerate(columns)}
    values = columns[max(found, key=lambda index: found[index])]
    if image_header is not None:  # the ids may be numbers that name other files by chance
        files = [i for i, column in enumerate(columns) if column is not keys and all(map(is_image_name, column[1:]))]
        values = columns[max(files, key=lambda index: found[index])] if any(found[i] for i in files) else values
    if keys is values or not wanted.intersection(keys):
        return {}
    if matcher.match(ids[:200]).paths and (image_header is None or not all(map(is_image_name, values[1:]))):
        return {}
    pairs = [(key, value) for key, value in zip(keys, values, strict=True) if key in wanted]
    return _only_names(pairs, names[columns.index(keys)], table)


def listed_names_of(
    ids: Sequence[str], listed_names: Mapping[str, str], matcher: ImageMatcher, training_paths: Collection[str]
) -> dict[str, str]:
    """The image name of each test id in the table of image names; empty where its ids are those of training images.

    Raises:
        DataError: some of the ids are those of training images.
    """
    names = {identifier: listed_names[key] for identifier in ids if (key := identifier.strip()) in listed_names}
    paths = matcher.match(names.values()).paths
    trained = [identifier for identifier, name in names.items() if paths.get(name) in training_paths]
    if trained and len(trained) < len(names):
        raise DataError(
            f"{len(trained)} of {len(ids)} test ids are ids of training images, such as {trained[0]!r}: give the names "
            "of the test images in a table test.csv, with the columns of ids and of image names"
        )
    return {} if trained else names


def _only_names(pairs: Sequence[tuple[str, str]], column: str, table: Table) -> dict[str, str]:
    """The image name of each id.

    Raises:
        DataError: an id has several images.
    """
    names: dict[str, str] = {}
    for identifier, name in pairs:
        if names.setdefault(identifier, name).strip() != name.strip():
            count = len({other for key, other in pairs if key == identifier})
            raise one_for_several(
                "the sample submission", repr(column), identifier, f"{count} images in {table.path.name}"
            )
    return names


def one_for_several(where: str, what: str, example: str, images: str = "") -> DataError:
    """The error for a sample submission with a row for several images, such as those of a patient.

    Args:
        where: name of the sample submission.
        what: what has several images: a quoted column name, a folder or a group.
        example: an id.
        images: the images of ``example``; empty if its name says which.
    """
    shown = f"{example!r} with {images}" if images else repr(example)
    return DataError(
        f"{where} asks for one prediction for each {what}, such as {shown}. Predictions are made for single images: "
        f"move {where} out of the data folder, and average the rows of test_proba.csv over each {what}"
    )
