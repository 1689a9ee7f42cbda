"""Names of masks, annotations and what other programs make of images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from trainer.data.names.words import (
    MASK_WORDS,
    NEUTRAL_WORDS,
    RESULT_WORDS,
    TO_PREDICT_WORDS,
    speaks_of,
    words_in,
)
from trainer.formats.part_words import without_accents

# fmt: off
_MASK_COMPANIONS = frozenset((
    "out", "txt", "class",
    "classes", "object", "objects", "instance", "instances", "semantic", "panoptic", "binary", "map",
    "maps", "prob", "probs", "model", "net", "unet", "nnunet", "sam", "yolo", "deeplab", "lung", "lesion", "tumor",
    "tumour", "nuclei", "cell",
))
"""Words beside `MASK_WORDS` in the names of such folders."""
# fmt: on
_AMBIGUOUS = TO_PREDICT_WORDS | RESULT_WORDS | {"label", "labels", "vis", "viz"}
"""Those of `MASK_WORDS` that may also say what an image shows: the label of a bottle."""
_NOT_WORN = r"(?:no|non|not|without|un|in?correct(?:ly)?|improper(?:ly)?|wrong(?:ly)?)[\W_]*mask"
_WITHOUT_MASK = re.compile(rf"(?:^|[\W_]){_NOT_WORN}|mask(?:ed)?[\W_]*(?:off|less|\w*[\W_]+incorrect)", re.IGNORECASE)
_MASK = (
    r"masks?|maske|masque|m\u00e1scara|mascara|マスク|superpixels?|segmentations?|segmented|seg|annotations?|annotated"
    r"|trimap|gt|ground[_-]?truth|labels?|pred(?:iction|icted)?s?|overlay|heatmap|gradcam|binary|contours?|roi|depth"
)
_MASK_STEM = re.compile(
    rf"(.+?)(?:[_.\- ](?:{_MASK})|mask)(?:[_-]?\d+)?|(?:{_MASK})[_.\- ](.+)|mask(.+)",
    re.IGNORECASE,
)
_COPIED = re.compile(r"(.+?)([ _]*\((?:copy|kopie|\d+)\)|[ _]+-[ _]+(?:copy|kopie))", re.IGNORECASE)
"""What file managers write at the end of a copy's name."""


def holds_masks(name: str) -> bool:
    """Whether a folder holds masks, or what programs make of images, by its name: ``train_masks``, ``seg_out``."""
    name = re.sub(r"ground[\W_]*truth", "groundtruth", name, flags=re.IGNORECASE)
    words = words_in(name)
    if len(words) > 1 and words[-1] in ("out", "maps", "txt"):  # unet_out, prob_maps, labelTxt
        return speaks_of(name, {*MASK_WORDS, *_MASK_COMPANIONS}) and words[-2] not in NEUTRAL_WORDS
    return speaks_of(name, MASK_WORDS, _MASK_COMPANIONS)


def is_mask_word(word: str) -> bool:
    """Whether a word in lower case means masks, annotations, or what other programs make of images."""
    return without_accents(word) in MASK_WORDS


def is_mask_alone(stem: str) -> bool:
    """Whether the name of a file says only that it is a mask or the like: ``mask.png``, ``Heatmap.jpg``."""
    return without_accents(stem).casefold() in MASK_WORDS - _AMBIGUOUS


def masks_are_worn(names: Iterable[str]) -> bool:
    """Whether ``mask`` is a class, because another folder is called ``no_mask``, ``unmasked`` or the like."""
    return any(map(_WITHOUT_MASK.search, names))


def stem_of_owner(stem: str) -> str:
    """The stem of the image of which a file holds the mask by its own ``stem``: ``a`` of ``a_mask``; "" of others.

    The copies of both end alike: ``a (copy)`` of ``a_mask (copy)``.
    """
    if copied := _COPIED.fullmatch(stem):
        owner = stem_of_owner(copied[1])
        return owner and owner + copied[2]
    found = _MASK_STEM.fullmatch(stem)
    return "" if found is None else next(filter(None, found.groups()))


def masks_among(paths: Sequence[str]) -> list[str]:
    """Those of the paths that are masks of another one by their names: ``a_mask.png`` beside ``a.png``."""
    stems = {str(PurePosixPath(path).with_suffix("")) for path in paths}
    named = {path: owner for path in paths if (owner := stem_of_owner(PurePosixPath(path).stem))}
    return [path for path, owner in named.items() if str(PurePosixPath(path).with_name(owner)) in stems]
