"""Warnings about images to which several rows give different labels, as far as corrections have not settled them."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

from trainer.common.errors import rows_named
from trainer.data.image_set import ImageSet
from trainer.data.images import FileImages

_SHOWN_IMAGES = 5  # images named one by one
_MANY = 0.05  # share of images in rows of different labels from which the rows may list several labels


def with_two_labels(image_set: ImageSet) -> ImageSet:
    """The set with a warning for each image that has several labels. Annotators may disagree, so all rows are kept."""
    images = image_set.train_images
    if image_set.several_labels or not isinstance(images, FileImages) or not images.named_by:
        return image_set
    by_id: dict[str, list[int]] = defaultdict(list)
    for row, identifier in enumerate(image_set.train_ids):
        by_id[identifier].append(row)
    several = {identifier: rows for identifier, rows in by_id.items() if len(rows) > 1}
    if not several:
        return image_set
    warnings = [
        f"{_rows_named([images.named_by[row] for row in rows])}: the image {identifier!r} has the labels "
        f"{' and '.join(repr(image_set.class_names[image_set.y[row]]) for row in rows)}; "
        f"{'both' if len(rows) == 2 else 'all'} rows are kept, in one fold"
        for identifier, rows in several.items()
    ]
    if (more := len(warnings) - _SHOWN_IMAGES) > 0:
        warnings = [*warnings[:_SHOWN_IMAGES], f"... and {more} more images with several labels"]
    if len(several) >= _MANY * len(by_id):
        table = _parts_of(images.named_by[0])[0]
        warnings.append(
            f"{table}: if an image may have several of the labels at once, such as every object in it, add "
            "--several-labels yes (data.several_labels)"
        )
    return dataclasses.replace(image_set, warnings=(*image_set.warnings, *warnings))


def _rows_named(names: Sequence[str]) -> str:
    """Rows of one table, each named as ``train.csv row 8``."""
    table, unit, _ = _parts_of(names[0])
    return rows_named(table, [_parts_of(name)[2] for name in names], unit=unit)


def _parts_of(name: str) -> tuple[str, str, str]:
    """The table, the unit and the number of the name of a row: ``train.csv``, ``row`` and ``8``."""
    table, unit, number = name.rsplit(" ", 2)
    return table, unit, number
