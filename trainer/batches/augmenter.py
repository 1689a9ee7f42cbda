"""Augmentations by name and strength: with `trainer.batches.augmentation_policies` the one place that touches
Albumentations.

`AUGMENTATIONS` is the vocabulary that recipes and study files use. Every strength starts at 0, which means exactly
off: the transform is absent and an image passes through untouched. `Augmenter` turns a recipe's settings into a
function of (image, key), so that a training image is augmented alike in any process and in any order.

Importing this module is cheap; Albumentations is imported when the first `Augmenter` with a strength is built.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from trainer.recipe.recipe import Augment

Image = npt.NDArray[np.uint8]
"""Pixels of one picture: uint8, shape (height, width, 3), RGB."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """One named augmentation.

    Entries that name the same transform share one instance of it, which receives the arguments of all of them:
    rotation, shift, scale and shear cost one resampling, not four.
    """

    doc: str
    """What it does and what its strength means, for people."""
    high: float
    """The largest strength allowed; the smallest is 0, off."""
    transform: str
    """Key of `_TRANSFORMS`, or the name of an Albumentations class that needs nothing more."""
    arguments: Callable[[float], dict[str, Any]]
    """Strength (above 0) -> keyword arguments of that class."""


SMALLEST_BLUR = 0.01
"""Standard deviation in pixels from which on blur is drawn: it changes nothing yet, but zero would divide by zero."""
STRONGEST_CROP = 0.92
"""Crops of 8 % of the area are ImageNet training's smallest (Szegedy et al. 2015, "Going Deeper with Convolutions")."""
WIDEST_CROP = 4 / 3
"""Width : height, or height : width, of the least square crops at that strength (same source)."""


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
"""Published mixtures by name."""

# What transforms are built with besides their entries' arguments. ``p=1`` where the strength is not the probability:
# the amount drawn decides alone how much happens. Reflection at the border invents no black corners for the network
# to read the strength from.
_REFLECT_101 = 4  # cv2.BORDER_REFLECT_101, named here to keep the import of this module light
_IMAGENET_MEAN = (124, 116, 104)  # nothing, once the network's input is normalised
_TRANSFORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "Affine": ("Affine", {"border_mode": _REFLECT_101, "keep_ratio": True, "p": 1.0}),
    "Perspective": ("Perspective", {"border_mode": _REFLECT_101, "p": 1.0}),
    # Unlike those of Affine, the defaults of ColorJitter are not the identity.
    "ColorJitter": (
        "ColorJitter",
        {"brightness": (1.0, 1.0), "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": (0.0, 0.0), "p": 1.0},
    ),
    "GaussianBlur": ("GaussianBlur", {"p": 1.0}),
    "GaussNoise": ("GaussNoise", {"p": 1.0}),
    "ImageCompression": ("ImageCompression", {"p": 1.0}),
    # DeVries & Taylor 2017, "Improved Regularization of Convolutional Neural Networks with Cutout": squares that lie
    # within the image, as here, in one half of the images do as well as those over the border in all.
    "cutout": ("CoarseDropout", {"num_holes_range": (1, 1), "fill": _IMAGENET_MEAN, "p": 0.5}),
    "coarse_dropout": (
        "CoarseDropout",
        {"num_holes_range": (3, 8), "hole_height_range": (0.05, 0.15), "hole_width_range": (0.05, 0.15), "fill": 0},
    ),
    # Zhong et al. 2020, "Random Erasing Data Augmentation". Not the paper's 0.3: Albumentations allows only areas that
    # have room at the longest shape, which would end at 30 %.
    "Erasing": ("Erasing", {"scale": (0.02, 0.33), "ratio": (0.33, 1 / 0.33), "fill": "random"}),
}


class KeyedRandom:
    """The two random streams that Albumentations draws from, set to where a key says before each image."""

    def __init__(self) -> None:
        self._bits = np.random.PCG64(0)
        self._state: Any = self._bits.state
        self._random = random.Random()  # noqa: S311  (augmentation, not cryptography)
        self._generator = np.random.Generator(self._bits)

    def govern(self, transform: Any) -> None:
        """Let a transform, or a composition with all in it, draw from these streams and from nothing else."""
        transform.set_random_state(self._generator, self._random)

    def seed(self, key: int) -> None:
        """Begin anew; the key is 0 .. 2**64 - 1."""
        # Re-seeding in place costs a fifth of making two new generators. The key is a hash already, so it needs no
        # further mixing; the increment of PCG64 selects the stream and has to be odd.
        self._random.seed(key)
        self._state["state"] = {"state": key << 64 | key, "inc": key << 1 | 1}
        self._bits.state = self._state


class Augmenter:
    """Applies the augmentations of one recipe: the crop, the policy, then all others in the order of `AUGMENTATIONS`.

    Not safe for use by several threads at once.

    Args:
        settings: strengths within their ranges, where names left out are off, and the policy.
        size: side of what a crop becomes, in pixels.
    """

    def __init__(self, settings: Augment, size: int) -> None:
        self._random = KeyedRandom()
        self._transforms = build_transforms(settings, size)
        # All transforms draw from the same two streams. Albumentations' own seeding gives each transform the same
        # seed instead, so that an image would be flipped vertically exactly when it is flipped horizontally.
        for transform in self._transforms:
            self._random.govern(transform)

    def apply(self, image: Image, key: int) -> Image:
        """Augment one image.

        Args:
            image: uint8, shape (side, side, 3), square as network input is; never changed. Its side is the network's
                ``size``, or any where the recipe crops.
            key: 0 .. 2**64 - 1. The result depends on the settings, the image and this number, on nothing else.

        Returns:
            uint8, shape (size, size, 3); ``image`` itself where nothing is on.
        """
        if not self._transforms:
            return image
        self._random.seed(key)
        for transform in self._transforms:
            image = transform(image=image)["image"]
        return np.ascontiguousarray(image)


def build_transforms(settings: Augment, size: int) -> list[Any]:
    """Albumentations transforms for what is on, in the order in which they are applied, seeded by chance."""
    arguments: dict[str, dict[str, Any]] = {}
    for name, entry in AUGMENTATIONS.items():
        strength = settings.strengths.get(name, 0.0)
        if strength > 0.0:
            constants = _TRANSFORMS.get(entry.transform, (entry.transform, {}))[1]
            arguments.setdefault(entry.transform, dict(constants)).update(entry.arguments(strength))
    with_policy = settings.policy != "none" and settings.policy_prob > 0.0
    if not arguments and not with_policy:
        return []
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # otherwise importing it asks the network for newer versions
    import albumentations
    import cv2

    cv2.setNumThreads(0)  # parallel over images, in processes: threads within one small image only cost
    transforms = []
    if "RandomResizedCrop" in arguments:
        crop = arguments.pop("RandomResizedCrop")
        transforms.append(albumentations.RandomResizedCrop(size=(size, size), p=1.0, **crop))
    if with_policy:
        from trainer.batches.augmentation_policies import build_policy

        transforms.append(build_policy(settings))
    for key, given in arguments.items():
        class_name = _TRANSFORMS.get(key, (key, {}))[0]
        transforms.append(getattr(albumentations, class_name)(**given))
    return transforms
