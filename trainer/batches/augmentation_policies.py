"""Augmentation policies: AutoAugment, RandAugment and TrivialAugment, built from Albumentations.

As in torchvision, a larger magnitude is always a stronger operation, and operations with a direction go either way. (In
the papers' own code, a larger magnitude of some operations is a weaker one.) Borders are filled by reflection and not
with grey, as for all augmentations here (`trainer.batches.augmenter`).

This module imports Albumentations; `trainer.batches.augmenter` imports it when a recipe has a policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import albumentations
import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from trainer.recipe.recipe import Augment

Range = tuple[float, float]
"""Lowest and highest magnitude to draw from; equal for a fixed magnitude."""

AUTOAUGMENT: tuple[tuple[tuple[str, float, int | None], tuple[str, float, int | None]], ...] = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, None)),
    (("Equalize", 0.8, None), ("Equalize", 0.6, None)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, None), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, None), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, None)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, None)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, None), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, None)),
    (("Equalize", 0.0, None), ("Equalize", 0.8, None)),
    (("Invert", 0.6, None), ("Equalize", 1.0, None)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, None)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, None)),
    (("Color", 0.4, 0), ("Equalize", 0.6, None)),
    (("Equalize", 0.4, None), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, None)),
    (("Invert", 0.6, None), ("Equalize", 1.0, None)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, None), ("Equalize", 0.6, None)),
)
"""The 25 sub-policies for ImageNet, each of two steps (operation, probability, magnitude 0 .. 9).

Cubuk et al. 2019, "AutoAugment: Learning Augmentation Strategies from Data", table 9."""

AUTOAUGMENT_STRONGEST = 9

OPERATIONS = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
"""The operations of RandAugment and TrivialAugment, drawn with equal probability.

Cubuk et al. 2020, "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space"."""

STRONGEST: dict[str, float] = {
    "ShearX": 0.3,  # pixels sideways per pixel down
    "ShearY": 0.3,
    "TranslateX": 150 / 331,  # share of the side: 150 pixels of an image of 331 x 331
    "TranslateY": 150 / 331,
    "Rotate": 30.0,  # degrees
    "Brightness": 0.9,  # factor 0.1 .. 1.9
    "Color": 0.9,
    "Contrast": 0.9,
    "Sharpness": 0.9,
    "Posterize": 4.0,  # bits dropped
    "Solarize": 1.0,  # share of the tones inverted, from the brightest down
}
"""Largest magnitudes of AutoAugment and RandAugment (Cubuk et al. 2019, table 6); other operations have none."""

STRONGEST_WIDE: dict[str, float] = {
    "ShearX": 0.99,
    "ShearY": 0.99,
    "TranslateX": 32 / 224,  # 32 pixels of an ImageNet image; 32 pixels would leave nothing of an image of 32 x 32
    "TranslateY": 32 / 224,
    "Rotate": 135.0,
    "Brightness": 0.99,
    "Color": 0.99,
    "Contrast": 0.99,
    "Sharpness": 0.99,
    "Posterize": 6.0,
    "Solarize": 1.0,
}
"""Largest magnitudes of TrivialAugment's wide space.

Müller & Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation"."""

# Operations with a direction: the sign of the magnitude is random.
_SIGNED = {name for name in STRONGEST if name not in ("Posterize", "Solarize")}
_SHARPNESS_LEVELS = 61  # TrivialAugment's 31 levels in both directions


def build_policy(settings: Augment) -> Any:
    """The policy of a recipe as one Albumentations composition, applied with probability ``settings.policy_prob``.

    All of its parts draw only from the random state given to `set_random_state` of the composition.
    """
    return _POLICIES[settings.policy](settings)


def _autoaugment(settings: Augment) -> Any:
    pairs = [[_autoaugment_step(*step) for step in pair] for pair in AUTOAUGMENT]
    return albumentations.OneOf([albumentations.Sequential(pair, p=1.0) for pair in pairs], p=settings.policy_prob)


def _autoaugment_step(name: str, probability: float, magnitude: int | None) -> Any:
    return _fixed(name, (magnitude or 0) / AUTOAUGMENT_STRONGEST, probability)


def _randaugment(settings: Augment) -> Any:
    steps = [_fixed(name, settings.policy_magnitude, 1.0) for name in OPERATIONS]
    # With replacement and in random order, as in the paper.
    return albumentations.RandomOrder(steps, n=settings.policy_ops, replace=True, p=settings.policy_prob)


def _trivialaugment(settings: Augment) -> Any:
    return albumentations.OneOf([_drawn(name) for name in OPERATIONS], p=settings.policy_prob)


_POLICIES: dict[str, Callable[[Augment], Any]] = {
    "autoaugment": _autoaugment,
    "randaugment": _randaugment,
    "trivialaugment": _trivialaugment,
}


def _fixed(name: str, share: float, probability: float) -> Any:
    """One operation at a share of its largest magnitude, with a random sign if it has a direction."""
    magnitude = share * STRONGEST.get(name, 0.0)
    if name in STRONGEST and magnitude == 0.0:
        return albumentations.NoOp(p=probability)
    if name not in _SIGNED:
        return _BUILDERS[name]((magnitude, magnitude), probability)
    directions = [_BUILDERS[name]((signed, signed), 1.0) for signed in (-magnitude, magnitude)]
    return albumentations.OneOf(directions, p=probability)


def _drawn(name: str) -> Any:
    """One operation with a random magnitude up to `STRONGEST_WIDE`, in either direction if it has one."""
    high = STRONGEST_WIDE.get(name, 0.0)
    return _BUILDERS[name]((-high if name in _SIGNED else 0.0, high), 1.0)


def _affine(p: float, **arguments: Any) -> Any:
    return albumentations.Affine(border_mode=cv2.BORDER_REFLECT_101, p=p, **arguments)


def _shear(axis: str, other: str, magnitudes: Range, p: float) -> Any:
    degrees = tuple(math.degrees(math.atan(magnitude)) for magnitude in magnitudes)
    return _affine(p, shear={axis: degrees, other: (0.0, 0.0)})


def _translate(axis: str, other: str, magnitudes: Range, p: float) -> Any:
    return _affine(p, translate_percent={axis: magnitudes, other: (0.0, 0.0)})


def _rotate(magnitudes: Range, p: float) -> Any:
    return _affine(p, rotate=magnitudes)


def _jitter(argument: str, magnitudes: Range, p: float) -> Any:
    unchanged: dict[str, Range] = {"brightness": (1.0, 1.0), "contrast": (1.0, 1.0), "saturation": (1.0, 1.0)}
    factors = (1.0 + magnitudes[0], 1.0 + magnitudes[1])
    return albumentations.ColorJitter(**(unchanged | {argument: factors}), hue=(0.0, 0.0), p=p)


def _sharpness(magnitudes: Range, p: float) -> Any:
    # Albumentations' own transform sharpens, but does not soften on the same scale.
    low, high = magnitudes
    levels: Sequence[float] = (low,) if low == high else np.linspace(low, high, _SHARPNESS_LEVELS).tolist()
    steps = [albumentations.Lambda(image=partial(_filtered, kernel=_kernel(level)), p=1.0) for level in levels]
    return albumentations.OneOf(steps, p=p)


def _kernel(magnitude: float) -> npt.NDArray[np.float32]:
    """Kernel that adds ``magnitude`` times the difference between the image and its smoothed version: (3, 3).

    The smoothing is Pillow's SMOOTH, (1 1 1, 1 5 1, 1 1 1) / 13.
    """
    edges = np.full((3, 3), -1.0, np.float32)
    edges[1, 1] = 8.0
    kernel = edges * np.float32(magnitude / 13.0)
    kernel[1, 1] += 1.0
    return kernel


def _filtered(image: npt.NDArray[np.uint8], kernel: npt.NDArray[np.float32], **_: object) -> Any:
    return cv2.filter2D(image, -1, kernel)


def _posterize(magnitudes: Range, p: float) -> Any:
    return albumentations.Posterize(num_bits=(8 - round(magnitudes[1]), 8 - round(magnitudes[0])), p=p)


def _solarize(magnitudes: Range, p: float) -> Any:
    return albumentations.Solarize(threshold_range=(1.0 - magnitudes[1], 1.0 - magnitudes[0]), p=p)


# By operation: builds its transform from the range of magnitudes and the probability.
_BUILDERS: dict[str, Callable[[Range, float], Any]] = {
    "Identity": lambda _, p: albumentations.NoOp(p=p),
    "ShearX": partial(_shear, "x", "y"),
    "ShearY": partial(_shear, "y", "x"),
    "TranslateX": partial(_translate, "x", "y"),
    "TranslateY": partial(_translate, "y", "x"),
    "Rotate": _rotate,
    "Brightness": partial(_jitter, "brightness"),
    "Color": partial(_jitter, "saturation"),
    "Contrast": partial(_jitter, "contrast"),
    "Sharpness": _sharpness,
    "Posterize": _posterize,
    "Solarize": _solarize,
    # "pil" stretches the tones linearly, as in the papers; the default method equalizes.
    "AutoContrast": lambda _, p: albumentations.AutoContrast(method="pil", p=p),
    "Equalize": lambda _, p: albumentations.Equalize(p=p),
    "Invert": lambda _, p: albumentations.InvertImg(p=p),
}
