"""The table of augmentations: name, range of the strength, documentation and transform of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """One named augmentation.

    Entries with the same transform share one instance of it, which gets the arguments of all of them: rotation, shift,
    scale and shear together resample an image once, not four times.
    """

    doc: str
    """The effect and the meaning of the strength, for users."""
    high: float
    """The maximum strength; the minimum is 0, which is off."""
    transform: str
    """A key of `trainer.batches.augmenter._TRANSFORMS`, or the name of an Albumentations class."""
    arguments: Callable[[float], dict[str, Any]]
    """Strength (above 0) -> keyword arguments of the transform."""


SMALLEST_BLUR = 0.01
"""Smallest standard deviation of a blur, in pixels: too small to change an image, but zero would divide by zero."""
STRONGEST_CROP = 0.92
"""Maximum strength of a crop: the smallest crops of ImageNet training are 8 % of the area (Szegedy et al. 2015, "Going
Deeper with Convolutions").
"""
WIDEST_CROP = 4 / 3
"""Maximum aspect ratio of a crop, either way, at that strength (same source)."""


def _probability(strength: float) -> dict[str, Any]:
    return {"p": strength}


def _crop(strength: float) -> dict[str, Any]:
    widest = WIDEST_CROP ** (strength / STRONGEST_CROP)
    return {"scale": (1.0 - strength, 1.0), "ratio": (1.0 / widest, widest)}


AUGMENTATIONS: dict[str, Augmentation] = {
    "crop": Augmentation(
        doc="cut out a part of between 1 - strength and all of the area, nearly square: 0.92 is usual for ImageNet",
        high=STRONGEST_CROP,
        transform="RandomResizedCrop",
        arguments=_crop,
    ),
    "hflip": Augmentation(
        doc="mirror left to right: probability", high=1.0, transform="HorizontalFlip", arguments=_probability
    ),
    "vflip": Augmentation(
        doc="mirror top to bottom: probability", high=1.0, transform="VerticalFlip", arguments=_probability
    ),
    "rotate90": Augmentation(
        doc="turn by a random multiple of 90 degrees: probability",
        high=1.0,
        transform="RandomRotate90",
        arguments=_probability,
    ),
    "rotate": Augmentation(
        doc="rotate by up to this many degrees either way",
        high=180.0,
        transform="Affine",
        arguments=lambda s: {"rotate": (-s, s)},
    ),
    "shift": Augmentation(
        doc="shift by up to this share of the width and height",
        high=0.5,
        transform="Affine",
        arguments=lambda s: {"translate_percent": (-s, s)},
    ),
    "scale": Augmentation(
        doc="zoom out or in by a factor between 1 / (1 + strength) and 1 + strength",
        high=1.0,
        transform="Affine",
        arguments=lambda s: {"scale": (1.0 / (1.0 + s), 1.0 + s)},
    ),
    "shear": Augmentation(
        doc="shear along both axes by up to this many degrees",
        high=45.0,
        transform="Affine",
        arguments=lambda s: {"shear": (-s, s)},
    ),
    "perspective": Augmentation(
        doc="move the corners by up to about this share of the side",
        high=0.3,
        transform="Perspective",
        arguments=lambda s: {"scale": (0.0, s)},
    ),
    "grid_shuffle": Augmentation(
        doc="cut into 3 x 3 tiles and shuffle them: probability",
        high=1.0,
        transform="RandomGridShuffle",
        arguments=_probability,
    ),
    "brightness": Augmentation(
        doc="brightness times 1 - strength .. 1 + strength",
        high=0.9,
        transform="ColorJitter",
        arguments=lambda s: {"brightness": (1.0 - s, 1.0 + s)},
    ),
    "contrast": Augmentation(
        doc="contrast times 1 - strength .. 1 + strength",
        high=0.9,
        transform="ColorJitter",
        arguments=lambda s: {"contrast": (1.0 - s, 1.0 + s)},
    ),
    "saturation": Augmentation(
        doc="saturation times 1 - strength .. 1 + strength",
        high=1.0,
        transform="ColorJitter",
        arguments=lambda s: {"saturation": (1.0 - s, 1.0 + s)},
    ),
    "hue": Augmentation(
        doc="turn the colour wheel by up to this share of a full turn either way",
        high=0.5,
        transform="ColorJitter",
        arguments=lambda s: {"hue": (-s, s)},
    ),
    "solarize": Augmentation(
        doc="invert the brighter half of the tones: probability", high=1.0, transform="Solarize", arguments=_probability
    ),
    "posterize": Augmentation(
        doc="keep 4 of 8 bits per channel: probability", high=1.0, transform="Posterize", arguments=_probability
    ),
    "sepia": Augmentation(
        doc="brown, faded tones of an old photograph: probability",
        high=1.0,
        transform="ToSepia",
        arguments=_probability,
    ),
    "grayscale": Augmentation(doc="no colour: probability", high=1.0, transform="ToGray", arguments=_probability),
    "clahe": Augmentation(
        doc="spread the tones locally (contrast limited adaptive histogram equalization): probability",
        high=1.0,
        transform="CLAHE",
        arguments=_probability,
    ),
    "sharpen": Augmentation(doc="sharper edges: probability", high=1.0, transform="Sharpen", arguments=_probability),
    "blur": Augmentation(
        doc="Gaussian blur with a sigma of up to this many pixels",
        high=8.0,
        transform="GaussianBlur",
        arguments=lambda s: {"sigma_limit": (min(s, SMALLEST_BLUR), s)},
    ),
    "noise": Augmentation(
        doc="Gaussian noise with a standard deviation of up to this share of the range from black to white",
        high=0.5,
        transform="GaussNoise",
        arguments=lambda s: {"std_range": (0.0, s)},
    ),
    "jpeg": Augmentation(
        doc="JPEG compression at a quality between 100 - strength and 100",
        high=95.0,
        transform="ImageCompression",
        arguments=lambda s: {"quality_range": (max(1, round(100.0 - s)), 100)},
    ),
    "cutout": Augmentation(
        doc="cover a square of this share of the side with mean grey, in half of the images",
        high=0.75,
        transform="cutout",
        arguments=lambda s: {"hole_height_range": (s, s), "hole_width_range": (s, s)},
    ),
    "coarse_dropout": Augmentation(
        doc="cover 3 to 8 boxes, each 5 to 15 % of the side, with black: probability",
        high=1.0,
        transform="coarse_dropout",
        arguments=_probability,
    ),
    "erase": Augmentation(
        doc="cover one rectangle, 2 to 33 % of the area, with random pixels: probability",
        high=1.0,
        transform="Erasing",
        arguments=_probability,
    ),
}
"""Every augmentation by name, in the order in which they are applied: geometry, colour, degradation, occlusion."""

POLICIES = ("none", "autoaugment", "randaugment", "trivialaugment")
"""Names of published augmentation policies."""
