"""Augmentations by name and strength: the one place that touches Albumentations.

`AUGMENTATIONS` is the vocabulary that recipes and study files use. Every strength starts at 0, which means exactly
off: the transform is absent and an image passes through untouched. `Augmenter` turns a set of strengths into a
function of (image, key), so that a training image is augmented alike in any process and in any order.

Importing this module is cheap; Albumentations is imported when the first `Augmenter` with a strength is built.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""Pixels of one picture: uint8, shape (height, width, 3), RGB."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """One named augmentation.

    Entries that name the same Albumentations class share one instance of it, which receives the arguments of all of
    them: rotation, shift, scale and shear cost one resampling, not four.
    """

    doc: str
    """What it does and what its strength means, for people."""
    high: float
    """The largest strength allowed; the smallest is 0, off."""
    transform: str
    """Name of the Albumentations class."""
    arguments: Callable[[float], dict[str, Any]]
    """Strength (above 0) -> keyword arguments of that class."""


SMALLEST_BLUR = 0.01
"""Standard deviation in pixels from which on blur is drawn: it changes nothing yet, but zero would divide by zero."""


def _probability(strength: float) -> dict[str, Any]:
    return {"p": strength}


AUGMENTATIONS: dict[str, Augmentation] = {
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
    "erase": Augmentation(
        doc="cover one to three boxes, each 10 to 35 % of the side, with a flat random colour: probability",
        high=1.0,
        transform="CoarseDropout",
        arguments=_probability,
    ),
}
"""Every augmentation by name, in the order in which they are applied: geometry, colour, degradation, occlusion."""

# What each class is built with besides its entries' arguments. ``p=1`` where the strength is not the probability:
# the amount drawn decides alone how much happens. Reflection at the border invents no black corners for the network
# to read the strength from.
_REFLECT_101 = 4  # cv2.BORDER_REFLECT_101, named here to keep the import of this module light
_FIXED: dict[str, dict[str, Any]] = {
    "Affine": {"border_mode": _REFLECT_101, "keep_ratio": True, "p": 1.0},
    "Perspective": {"border_mode": _REFLECT_101, "p": 1.0},
    # Unlike those of Affine, the defaults of ColorJitter are not the identity.
    "ColorJitter": {
        "brightness": (1.0, 1.0),
        "contrast": (1.0, 1.0),
        "saturation": (1.0, 1.0),
        "hue": (0.0, 0.0),
        "p": 1.0,
    },
    "GaussianBlur": {"p": 1.0},
    "GaussNoise": {"p": 1.0},
    "ImageCompression": {"p": 1.0},
    "CoarseDropout": {
        "num_holes_range": (1, 3),
        "hole_height_range": (0.1, 0.35),
        "hole_width_range": (0.1, 0.35),
        "fill": "random_uniform",
    },
}


class Augmenter:
    """Applies the augmentations of one recipe; not safe for use by several threads at once.

    Args:
        strengths: strength by name of `AUGMENTATIONS`, within the range of each; names left out are off.
    """

    def __init__(self, strengths: Mapping[str, float]) -> None:
        self._random = random.Random()  # noqa: S311  (augmentation, not cryptography)
        self._bits = np.random.PCG64(0)
        self._state: Any = self._bits.state
        self._transforms = _build(strengths)
        # All transforms draw from the same two streams. Albumentations' own seeding gives each transform the same
        # seed instead, so that an image would be flipped vertically exactly when it is flipped horizontally.
        generator = np.random.Generator(self._bits)
        for transform in self._transforms:
            transform.set_random_state(generator, self._random)

    def apply(self, image: Image, key: int) -> Image:
        """Augment one image.

        Args:
            image: uint8, shape (size, size, 3), square as network input is; never changed.
            key: 0 .. 2**64 - 1. The result depends on the strengths, the image and this number, on nothing else.

        Returns:
            uint8, same shape; ``image`` itself where nothing is on.
        """
        if not self._transforms:
            return image
        # Re-seeding in place costs a fifth of making two new generators. The key is a hash already, so it needs no
        # further mixing; the increment of PCG64 selects the stream and has to be odd.
        self._random.seed(key)
        self._state["state"] = {"state": key << 64 | key, "inc": key << 1 | 1}
        self._bits.state = self._state
        for transform in self._transforms:
            image = transform(image=image)["image"]
        return np.ascontiguousarray(image)


def _build(strengths: Mapping[str, float]) -> list[Any]:
    """Albumentations transforms for the strengths above zero, in the order of `AUGMENTATIONS`."""
    arguments: dict[str, dict[str, Any]] = {}
    for name, entry in AUGMENTATIONS.items():
        strength = strengths.get(name, 0.0)
        if strength > 0.0:
            arguments.setdefault(entry.transform, dict(_FIXED.get(entry.transform, {}))).update(
                entry.arguments(strength)
            )
    if not arguments:
        return []
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # otherwise importing it asks the network for newer versions
    import albumentations
    import cv2

    cv2.setNumThreads(0)  # parallel over images, in processes: threads within one small image only cost
    return [getattr(albumentations, name)(**settings) for name, settings in arguments.items()]
