"""Warnings about tables beside the labels that say which images belong together: ``patients.csv``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from trainer.data.readers.doubts.groups.possible_groups import may_group
from trainer.data.readers.matching.match_images import ImageMatcher


def groups_beside(
    place: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    matcher: ImageMatcher,
    labels: Mapping[str, str],
    labelled: str,
) -> list[str]:
    """A warning about the first column that may group the images of another table.

    Args:
        place: of the table that is not read.
        names: of its columns.
        rows: without the header.
        matcher: finds the images.
        labels: of each image file, by the table that gives the labels.
        labelled: place of that table.
    """
    for column in range(len(names)):
        paths = matcher.match([row[column] for row in rows if row[column].strip()]).paths
        own = [(row, labels[paths[row[column]]]) for row in rows if paths.get(row[column]) in labels]
        if 2 * len(own) > len(labels):
            break
    else:
        return []
    of_images = [label for _, label in own]
    for other, name in enumerate(names):
        if other != column and may_group(name, [row[other].strip() for row, _ in own], of_images):
            return [
                f"{place} is not read, and several images have the same {name!r} there. If such images are alike, "
                f"scores are too high: copy this column into {labelled}, and add --group-column {shlex.quote(name)} "
                "(data.group_column), which keeps them in one fold"
            ]
    return []
