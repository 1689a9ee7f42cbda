"""Mixup and CutMix: blending pairs of images of a batch, and their labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from trainer.batches.transfer import send
from trainer.recipe.recipe import Augment


@dataclass(frozen=True, kw_only=True)
class Mix:
    """The random choices of one blended batch."""

    partner: tuple[int, ...]
    """For each row of the batch, the row that it is blended with: a permutation."""
    share: float
    """Share of each image and of its label that is kept: 0 .. 1."""
    box: tuple[int, int, int, int] | None
    """For CutMix, (top, bottom, left, right) in pixels of the part taken from the partner. None: mixup."""


def mixing_epochs(settings: Augment, epochs: int) -> int:
    """Number of epochs, counted from the first, that may blend: all but the last share ``mix_off`` of ``epochs``."""
    return 0 if settings.mix == "none" else math.floor(epochs * (1.0 - settings.mix_off) + 1e-9)


def draw_mix(settings: Augment, *, batch_size: int, size: int, generator: np.random.Generator) -> Mix | None:
    """Draw how to blend one batch of ``batch_size`` images of ``size`` x ``size`` pixels; None: no blending.

    Sources: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization"; Yun et al. 2019, "CutMix: Regularization
    Strategy to Train Strong Classifiers with Localizable Features". The label share of CutMix is the share of pixels
    that remain after the box is clipped to the image.
    """
    if settings.mix == "none" or generator.random() >= settings.mix_prob:
        return None
    share = float(generator.beta(settings.mix_alpha, settings.mix_alpha))
    partner = tuple(int(row) for row in generator.permutation(batch_size))
    if settings.mix == "mixup":
        return Mix(partner=partner, share=share, box=None)
    side = size * math.sqrt(1.0 - share)
    (top, bottom), (left, right) = (_clipped(generator.uniform(0, size), side, size) for _ in range(2))
    kept = 1.0 - (bottom - top) * (right - left) / (size * size)
    return Mix(partner=partner, share=kept, box=(top, bottom, left, right))


def _clipped(centre: float, side: float, size: int) -> tuple[int, int]:
    return max(0, round(centre - side / 2)), min(size, round(centre + side / 2))


def apply_mix(images: torch.Tensor, targets: torch.Tensor, mix: Mix) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend a batch.

    Args:
        images: float, shape (b, 3, size, size).
        targets: float, shape (b, C), rows sum to 1.

    Returns:
        New tensors of the same shapes, dtypes and memory layout.
    """
    partner = send(torch.tensor(mix.partner), images.device)
    mixed_targets = targets * mix.share + targets[partner] * (1.0 - mix.share)
    if mix.box is None:
        return torch.lerp(images[partner], images, mix.share), mixed_targets
    top, bottom, left, right = mix.box
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed, mixed_targets
