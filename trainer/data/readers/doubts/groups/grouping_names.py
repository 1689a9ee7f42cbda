"""Warnings about images that belong together by the names of their files, and that may lie in different folds."""

from __future__ import annotations

from trainer.common.errors import counted
from trainer.data.image_set import ImageSet
from trainer.data.images import FileImages
from trainer.data.readers.doubts.groups.file_name_groups import beginnings_that_group
from trainer.inference.printable import printable


def grouping_names(image_set: ImageSet) -> list[str]:
    """Warnings about the names of the training images; none with a group column."""
    return [] if image_set.groups is not None else [*_unassigned_versions(image_set), *_beginnings(image_set)]


def _beginnings(image_set: ImageSet) -> list[str]:
    """A warning about beginnings of file names that may be patients, videos or the like.

    Versions of one image have a reason of their own to begin alike: one of them stands for all. A column of a table is
    named first.
    """
    images = image_set.train_images
    if not isinstance(images, FileImages) or image_set.versions.unassigned:
        return []
    if any("--group-column" in warning for warning in image_set.warnings):
        return []
    further = {row for members in image_set.versions.members for row in members[1:]}
    rows = [row for row in range(len(image_set.train_ids)) if row not in further]
    paths, labels = [images.paths[row] for row in rows], [image_set.label_of(row) for row in rows]
    beginnings = beginnings_that_group(paths, labels)
    if not beginnings:
        return []
    first = next(index for index, beginning in enumerate(beginnings) if beginning)
    name, label = beginnings[first], labels[first]
    same = beginnings.count(name)
    found = len(set(filter(None, beginnings)))
    if image_set.reader == "folders":
        row = f"{printable(paths[first])},{printable(label)},{printable(name)}"
        how = f"write a table labels.csv with the columns image, label and group, and one row for each image: {row}"
    else:
        how = f"add a column group to the table, such as {printable(name)} for {printable(paths[first])}"
    return [
        f"the names of {sum(map(bool, beginnings))} images have {found} beginnings, such as {printable(name)!r} for "
        f"{same} images. If those of one are of one patient, video or the like, they may lie in different folds, and "
        f"scores are too high: {how}; --group-column group (data.group_column) keeps them in one fold"
    ]


def _unassigned_versions(image_set: ImageSet) -> list[str]:
    """A warning about altered versions whose originals are not known."""
    unassigned = image_set.versions.unassigned
    if not unassigned:
        return []
    example = printable(image_set.train_ids[unassigned[0]])
    return [
        f"{counted(len(unassigned), 'image')}, such as {example}, "
        f"{'is an altered version' if len(unassigned) == 1 else 'are altered versions'} of others by the names, which "
        "do not say of which ones. In different folds they make the scores too high: leave only the originals in the "
        "data, because trainings alter their images anyway"
    ]
