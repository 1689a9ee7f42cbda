"""The ranges by which a data set's images with more than 8 bits per value are scaled."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.common.environment import usable_cores
from trainer.common.errors import counted
from trainer.data.image_set import ImageSet
from trainer.data.images import FileImages, Images
from trainer.inference.errors import ImageError
from trainer.inference.images import ImageFacts, image_facts
from trainer.inference.pixel_values import STEPS, Range, Ranges, common_range, is_usual_no_data, to_8_bit

MUCH_DARKER = 16  # a range that is this many times smaller than the common one leaves 16 of 256 levels
FEW_LEVELS = 16  # gray levels; images with fewer look nearly alike
SHOWN_VALUES = 3  # no-data values of one kind that are reported
MOST_IN_FULL = 1e15  # larger values are written with an exponent
CONFIRMED = 20  # images that are decoded again before a warning on all of them


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
    facts, no_data_warnings = _without_no_data(facts)
    by_kind: dict[str, list[Range]] = defaultdict(list)
    for found in facts:
        if found.kind is not None and found.range is not None:
            by_kind[found.kind].append(found.range)
    ranges = {kind: common_range(kind, measured) for kind, measured in sorted(by_kind.items())}
    notes = [_note(kind, ranges[kind], len(measured)) for kind, measured in sorted(by_kind.items())]
    warnings = no_data_warnings
    for kind, measured in sorted(by_kind.items()):
        low, high = ranges[kind]
        dark = sum((top - bottom) * MUCH_DARKER < high - low for bottom, top in measured)
        if dark:
            use = "uses" if dark == 1 else "use"
            warnings.append(
                f"{dark} of {len(measured)} images with {_NAMES[kind]} {use} less than 1/{MUCH_DARKER} of the range "
                f"{_value(low)} to {_value(high)} that the others use: few gray levels are left; scale all images alike"
            )
        warnings += _squeezed(kind, ranges[kind], [found for found in facts if found.kind == kind])
    animated = sum(found.animated for found in facts)
    if animated:
        warnings.append(f"several frames or pages in {counted(animated, 'image')}; only the first one is read")
    dropped = sum(found.drops_channel for found in facts)
    if dropped:
        warnings.append(
            f"a fourth channel in {counted(dropped, 'image')}, as of infrared light, is not read; the first three are "
            "red, green and blue"
        )
    return dataclasses.replace(
        with_ranges(image_set, ranges),
        notes=(*image_set.notes, *notes),
        warnings=(*image_set.warnings, *warnings),
    )


def with_level_warning(image_set: ImageSet) -> ImageSet:
    """The set with a warning for training images, and one for test images, if half of them have few gray levels.

    Args:
        image_set: a set whose images were verified.
    """
    inspected = image_set.inspected
    if inspected is None or image_set.value_ranges:  # `measure_ranges` reports images with more than 8 bits
        return image_set
    n = len(image_set.train_ids)
    readable: NDArray[np.bool_] = inspected.sizes.min(axis=1) > 0
    thumbnails = inspected.thumbnails
    flat: NDArray[np.bool_] = thumbnails.max(axis=(1, 2)) - thumbnails.min(axis=(1, 2)) < FEW_LEVELS
    warnings = []
    for name, images, part in (
        ("training", image_set.train_images, slice(0, n)),
        ("test", image_set.test_images, slice(n, None)),
    ):
        few, usable = np.flatnonzero(flat[part] & readable[part]), int(readable[part].sum())
        if not usable or 2 * len(few) < usable:
            continue
        ends = _ends(images, few)
        if ends is not None:
            low, high = ends
            values = f"{low} and {high}" if high - low == 1 else f"{low} to {high}" if high > low else f"{low}"
            warnings.append(
                f"{len(few)} of {usable} {name} images have fewer than {FEW_LEVELS} gray levels (values {values} only, "
                "of 0 to 255): they look nearly alike to a network and to the search for duplicates; scale them to "
                "0 to 255"
            )
    return dataclasses.replace(image_set, warnings=(*image_set.warnings, *warnings)) if warnings else image_set


def _ends(images: Images, few: NDArray[np.intp]) -> tuple[int, int] | None:
    """The lowest and the highest value of a sample of images; None: one has more levels than its thumbnail shows."""
    lows, highs = [], []
    for place in np.unique(np.linspace(0, len(few) - 1, min(CONFIRMED, len(few))).round().astype(int)):
        pixels = images.read(int(few[place]))
        lows.append(int(pixels.min()))
        highs.append(int(pixels.max()))
        if highs[-1] - lows[-1] >= FEW_LEVELS:
            return None
    return min(lows), max(highs)


def _squeezed(kind: str, given: Range, facts: list[ImageFacts]) -> list[str]:
    """A warning if images use the whole range, but nearly all their values become the same few gray levels."""
    low, high = given
    squeezed = [
        found
        for found in facts
        if found.range is not None
        and (found.range[1] - found.range[0]) * MUCH_DARKER >= high - low
        and 2 * len(found.distinct) >= STEPS
        and len(np.unique(to_8_bit(np.array(found.distinct), kind, given))) < FEW_LEVELS
    ]
    if not squeezed:
        return []
    # Without its ends, which may be extreme.
    inner = [value for found in squeezed for value in found.distinct[2:-2]]
    keep = "keeps" if len(squeezed) == 1 else "keep"
    return [
        f"{len(squeezed)} of {counted(len(facts), 'image')} with {_NAMES[kind]} {keep} fewer than {FEW_LEVELS} gray "
        f"levels: most of the values lie in {_value(min(inner))} to {_value(max(inner))}, but the range is "
        f"{_value(low)} to {_value(high)}; replace the extreme values, or scale the images"
    ]


def _without_no_data(facts: list[ImageFacts]) -> tuple[list[ImageFacts], list[str]]:
    """The facts with ranges that leave out the no-data values of any image, and a warning for each such value."""
    warnings = []
    found_in = {kind: Counter(v for fact in facts if fact.kind == kind for v in fact.no_data) for kind in _NAMES}
    kept = [_without(fact, found_in[fact.kind]) if fact.kind is not None else fact for fact in facts]
    for kind, values in found_in.items():
        own = [fact for fact in facts if fact.kind == kind]
        others = [fact.range for fact in kept if fact.kind == kind and fact.range is not None]
        for value, _ in values.most_common(SHOWN_VALUES) if others else ():
            count = sum(_holds(fact, value) for fact in own)
            low, high = min(low for low, _ in others), max(high for _, high in others)
            hold, its = ("holds", "its") if count == 1 else ("hold", "their")
            far = f"{_value(value)}, far from {its} other values {_value(low)} to {_value(high)}"
            warnings.append(
                f"{count} of {counted(len(own), 'image')} with {_NAMES[kind]} {hold} "
                f"{'NaN' if math.isnan(value) else far}: probably a no-data value. It is left out of the range and "
                f"becomes {255 if value > high else 0}; write another value if it means something"
            )
    return kept, warnings


def _holds(fact: ImageFacts, value: float) -> bool:
    return (math.isnan(value) and any(map(math.isnan, fact.no_data))) or value in (*fact.no_data, *fact.distinct)


def _without(fact: ImageFacts, no_data: Collection[float]) -> ImageFacts:
    """The facts of an image in which ``no_data``, found in another image, may be an end of the range."""
    if fact.range is None:
        return fact
    constant = fact.range[0] == fact.range[1]
    if not any(end in no_data and (constant or is_usual_no_data(end)) for end in fact.range):
        return fact
    others = [value for value in fact.distinct if value not in no_data]
    return dataclasses.replace(fact, range=(others[0], others[-1]) if others else None)


_NAMES = {"integer": "more than 8 bits", "float": "floating-point values"}


def _note(kind: str, given: Range, count: int) -> str:
    values = f"{_value(given[0])} to {_value(given[1])}"
    return f"{counted(count, 'image')} with {_NAMES[kind]}: the values {values} are scaled to 0 to 255"


def _value(value: float) -> str:
    """A value of pixels: a whole number in full, any other one with six digits."""
    return str(int(value)) if abs(value) < MOST_IN_FULL and value == int(value) else f"{value:g}"


def _facts(path: Path) -> ImageFacts | None:
    try:
        return image_facts(path)
    except ImageError:  # decoding reports it
        return None
