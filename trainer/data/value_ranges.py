"""The ranges by which a data set's images with more than 8 bits per value are scaled."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainer.common.environment import usable_cores
from trainer.data.image_set import ImageSet
from trainer.data.images import FileImages, Images
from trainer.inference.errors import ImageError
from trainer.inference.images import ImageFacts, image_facts
from trainer.inference.pixel_values import Range, Ranges, common_range

MUCH_DARKER = 16  # a range that is this many times smaller than the common one leaves 16 of 256 levels


def with_ranges(image_set: ImageSet, ranges: Ranges) -> ImageSet:
    """The set with recorded ranges: images are decoded as when the ranges were measured."""

    def scaled(images: Images) -> Images:
        return dataclasses.replace(images, ranges=ranges) if isinstance(images, FileImages) else images

    return dataclasses.replace(
        image_set,
        value_ranges=dict(ranges),
        train_images=scaled(image_set.train_images),
        test_images=scaled(image_set.test_images),
    )


def measure_ranges(image_set: ImageSet) -> ImageSet:
    """The set with the ranges of its own images, and sentences about them and about animations.

    Only the headers of images with 8 bits are read. Images that cannot be read are left out.
    """
    paths = [
        images.root / path
        for images in (image_set.train_images, image_set.test_images)
        if isinstance(images, FileImages)
        for path in images.paths
    ]
    with ThreadPoolExecutor(usable_cores()) as pool:
        facts = [found for found in pool.map(_facts, paths) if found is not None]
    by_kind: dict[str, list[Range]] = defaultdict(list)
    for found in facts:
        if found.kind is not None and found.range is not None:
            by_kind[found.kind].append(found.range)
    ranges = {kind: common_range(kind, measured) for kind, measured in sorted(by_kind.items())}
    notes = [_note(kind, ranges[kind], len(measured)) for kind, measured in sorted(by_kind.items())]
    warnings = []
    for kind, measured in sorted(by_kind.items()):
        low, high = ranges[kind]
        dark = sum((top - bottom) * MUCH_DARKER < high - low for bottom, top in measured)
        if dark:
            warnings.append(
                f"{dark} of {len(measured)} images with {_NAMES[kind]} use less than 1/{MUCH_DARKER} of the range "
                f"{low:g} to {high:g} that the others use: they keep few gray levels; scale them alike"
            )
    animated = sum(found.animated for found in facts)
    if animated:
        warnings.append(
            f"several frames or pages in {animated} image{'s' * (animated > 1)}; only the first one is read"
        )
    return dataclasses.replace(
        with_ranges(image_set, ranges),
        notes=(*image_set.notes, *notes),
        warnings=(*image_set.warnings, *warnings),
    )


_NAMES = {"integer": "more than 8 bits", "float": "floating-point values"}


def _note(kind: str, given: Range, count: int) -> str:
    return f"{count} images with {_NAMES[kind]}: the values {given[0]:g} to {given[1]:g} are scaled to 0 to 255"


def _facts(path: Path) -> ImageFacts | None:
    try:
        return image_facts(path)
    except ImageError:  # decoding reports it
        return None
