"""Warnings about images that belong together by the names of their files, and that may lie in different folds."""

from __future__ import annotations

from trainer.common.errors import counted
from trainer.data.image_set import ImageSet
from trainer.inference.printable import printable


def grouping_names(image_set: ImageSet) -> list[str]:
    """Warnings about the names of the training images; none with a group column."""
    return [] if image_set.groups is not None else _unassigned_versions(image_set)


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
