"""What a training minimises: cross-entropy on soft targets, and what makes it forgive or focus.

Label smoothing and bootstrapping change the targets, generalized cross-entropy what a class costs, focusing how much it
counts, and class weights how much the image does; they can all be had at once.

Wrong labels are told by what the network itself predicts, not by the out-of-fold predictions of the other folds'
networks, which are there after every epoch and see more clearly: those networks were trained on the labels that this
fold holds out, and whatever is taken from them carries these labels into the training that is to be judged by them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from trainer.recipe.recipe import Loss

SMALLEST_Q = 1e-6  # below, (1 - p ** q) / q is cross-entropy in float32


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

    Sources: the focal factor (1 - p) ** gamma of Lin et al. 2017, here on every class in proportion to its target; the
    cost (1 - p ** q) / q of a class instead of -log p (Zhang & Sabuncu 2018, "Generalized cross entropy loss"); the
    target (1 - b) t + b p, with the prediction p in it, of soft bootstrapping (Reed et al. 2015, whose beta is 1 - b).
    """
    log_proba = torch.log_softmax(logits.float(), dim=1)
    smooth = settings.label_smoothing
    soft_targets = targets * (1.0 - smooth) + smooth / targets.shape[1] if smooth > 0.0 else targets
    if settings.bootstrap > 0.0:
        # The gradient goes through the prediction in the target: that is what rewards being sure (minimum entropy).
        # With a constant in its place it would be (1 - b) (p - t), cross-entropy's own at a smaller learning rate.
        soft_targets = soft_targets * (1.0 - settings.bootstrap) + settings.bootstrap * log_proba.exp()
    if settings.gce_q > 0.0:
        q = max(settings.gce_q, SMALLEST_Q)
        costs = torch.expm1(q * log_proba) / -q  # 1 - p ** q as it stands would be all rounding error for small q
    else:
        costs = -log_proba
    terms = soft_targets * costs
    if settings.focal_gamma > 0.0:
        # The clamp keeps the gradient finite: for gamma < 1 the slope of (1 - p) ** gamma is infinite at p = 1.
        terms = terms * (1.0 - log_proba.exp()).clamp(min=1e-6) ** settings.focal_gamma
    losses = terms.sum(dim=1)
    return losses if weights is None else losses * (targets @ weights)
