"""Reproducible augmentation with Albumentations: the result depends only on the settings, the image and a key.

`trainer.recipe.augmentation_table.AUGMENTATIONS` lists the augmentations by name. A strength of 0 means exactly off:
the transform is absent, and an image passes through unchanged. `Augmenter` turns a recipe's settings into a function of
(image, key), so a training image is augmented alike in any process and in any order.

Importing this module is cheap; Albumentations is imported when the first `Augmenter` with a strength is built. No other
module uses Albumentations, except `trainer.batches.augmentation_policies`.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.recipe.augmentation_table import AUGMENTATIONS

if TYPE_CHECKING:
    from trainer.recipe.recipe import Augment

Image = npt.NDArray[np.uint8]
"""Pixels of one image: uint8, shape (height, width, 3), RGB."""


# By `Augmentation.transform`: the Albumentations class, and its arguments that do not depend on the strength. If the
# strength is not a probability, ``p`` is 1, and only the amount is random. Borders are filled by reflection, because
# black corners would show the network the strength of the augmentation.
_REFLECT_101 = 4  # cv2.BORDER_REFLECT_101; defined here to keep the import of this module light
_IMAGENET_MEAN = (124, 116, 104)  # near zero once the network's input is normalised
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
    # DeVries & Taylor 2017, "Improved Regularization of Convolutional Neural Networks with Cutout": squares inside the
    # image, applied to half of the images as here, work as well as squares across the border in all images.
    "cutout": ("CoarseDropout", {"num_holes_range": (1, 1), "fill": _IMAGENET_MEAN, "p": 0.5}),
    "coarse_dropout": (
        "CoarseDropout",
        {"num_holes_range": (3, 8), "hole_height_range": (0.05, 0.15), "hole_width_range": (0.05, 0.15), "fill": 0},
    ),
    # Zhong et al. 2020, "Random Erasing Data Augmentation". The paper's most elongated shape has the ratio 0.3; here it
    # is 0.33, because Albumentations allows only areas that fit at that shape, and 0.3 would limit them to 30 %.
    "Erasing": ("Erasing", {"scale": (0.02, 0.33), "ratio": (0.33, 1 / 0.33), "fill": "random"}),
}


class KeyedRandom:
    """The two random streams that Albumentations draws from, seeded by a key before each image."""

    def __init__(self) -> None:
        self._bits = np.random.PCG64(0)
        self._state: Any = self._bits.state
        self._random = random.Random()  # noqa: S311  (augmentation, not cryptography)
        self._generator = np.random.Generator(self._bits)

    def attach_to(self, transform: Any) -> None:
        """Make a transform, or a composition and all of its parts, draw from these streams only."""
        transform.set_random_state(self._generator, self._random)

    def seed(self, key: int) -> None:
        """Seed both streams; the key is 0 .. 2**64 - 1."""
        # Seeding in place takes a fifth of the time of creating two generators. The key is a hash already, so it needs
        # no further mixing; the increment of PCG64 selects the stream and has to be odd.
        self._random.seed(key)
        self._state["state"] = {"state": key << 64 | key, "inc": key << 1 | 1}
        self._bits.state = self._state


class Augmenter:
    """Applies the augmentations of one recipe: the crop, the policy, then all others in the order of `AUGMENTATIONS`.

    Not thread-safe.

    Args:
        settings: the policy, and strengths within their ranges; augmentations that are not named are off.
        size: side of the augmented images in pixels, to which crops are resized.
    """

    def __init__(self, settings: Augment, size: int) -> None:
        self._random = KeyedRandom()
        self._transforms = build_transforms(settings, size)
        # All transforms draw from the same two streams. Albumentations' own seeding would give each transform the same
        # seed, so that an image would be flipped vertically exactly when it is flipped horizontally.
        for transform in self._transforms:
            self._random.attach_to(transform)

    def apply(self, image: Image, key: int) -> Image:
        """Augment one image.

        Args:
            image: uint8, shape (side, side, 3); not modified. ``side`` is ``size``, or anything if the recipe crops.
            key: seed, 0 .. 2**64 - 1. The result depends on the settings, the image and this number only.

        Returns:
            uint8, shape (size, size, 3); ``image`` itself if all augmentations are off.
        """
        if not self._transforms:
            return image
        self._random.seed(key)
        for transform in self._transforms:
            image = transform(image=image)["image"]
        return np.ascontiguousarray(image)


def build_transforms(settings: Augment, size: int) -> list[Any]:
    """The Albumentations transforms of ``settings`` in their order of application, with random seeds."""
    arguments: dict[str, dict[str, Any]] = {}
    for name, entry in AUGMENTATIONS.items():
        strength = settings.strengths.get(name, 0.0)
        if strength > 0.0:
            constants = _TRANSFORMS.get(entry.transform, (entry.transform, {}))[1]
            arguments.setdefault(entry.transform, dict(constants)).update(entry.arguments(strength))
    with_policy = settings.policy != "none" and settings.policy_prob > 0.0
    if not arguments and not with_policy:
        return []
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # otherwise the import asks the network for newer versions
    import albumentations
    import cv2

    cv2.setNumThreads(0)  # processes already run in parallel; threads within one small image only add overhead
    transforms = []
    if "RandomResizedCrop" in arguments:
        crop = arguments.pop("RandomResizedCrop")
        transforms.append(albumentations.RandomResizedCrop(size=(size, size), p=1.0, **crop))
    if with_policy:
        from trainer.batches.augmentation_policies import build_policy

        transforms.append(build_policy(settings))
    for transform, keywords in arguments.items():
        class_name = _TRANSFORMS.get(transform, (transform, {}))[0]
        transforms.append(getattr(albumentations, class_name)(**keywords))
    return transforms
