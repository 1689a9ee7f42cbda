"""What a training minimises: cross-entropy on soft targets, with label smoothing, focusing and class weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from trainer.recipe import Loss


def class_weights(y: npt.NDArray[np.int64], num_classes: int, power: float) -> npt.NDArray[np.float32]:
    """Weights in proportion to (1 / class frequency) ** power, scaled so that the average image weighs 1.

    Args:
        y: classes of the training images: int64, shape (n,), n >= 1.
        power: 0 = all ones, 1 = every class has the same total weight.

    Returns:
        float32, shape (num_classes,); 0 for a class without images.
    """
    counts = np.bincount(y, minlength=num_classes).astype(np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1.0) ** -power, 0.0)
    weights *= len(y) / (weights * counts).sum()
    return weights.astype(np.float32)


def image_losses(
    logits: torch.Tensor, targets: torch.Tensor, settings: Loss, weights: torch.Tensor | None
) -> torch.Tensor:
    """Loss of each image: float32, shape (b,). Its mean over a batch is the same however the batch is split.

    Args:
        logits: any float, shape (b, C); computed on in float32.
        targets: float32, shape (b, C): share of each class in the image (one-hot, or blended). Rows sum to 1.
        weights: float32, shape (C,), from `class_weights`; None = all ones. A blended image weighs what its parts do.

    Source of the focal factor (1 - p) ** gamma: Lin et al. 2017, here on every class in proportion to its target.
    """
    log_proba = torch.log_softmax(logits.float(), dim=1)
    smooth = settings.label_smoothing
    soft_targets = targets * (1.0 - smooth) + smooth / targets.shape[1] if smooth > 0.0 else targets
    terms = -soft_targets * log_proba
    if settings.focal_gamma > 0.0:
        # The clamp keeps the gradient finite: for gamma < 1 the slope of (1 - p) ** gamma is infinite at p = 1.
        terms = terms * (1.0 - log_proba.exp()).clamp(min=1e-6) ** settings.focal_gamma
    losses = terms.sum(dim=1)
    return losses if weights is None else losses * (targets @ weights)
