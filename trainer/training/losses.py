"""The training loss: cross-entropy on soft targets, with class weights and with options for noisy labels.

All options can be combined:

- label smoothing and bootstrapping change the targets;
- generalized cross-entropy changes the cost of a class;
- the focal factor changes how much each class counts;
- class weights change how much each image counts.

Where images have several labels, the loss is binary cross-entropy, summed over the labels: each label is a choice
between two classes, to which the same options apply. The sum, not the mean, leaves the gradient of a logit as large as
that of softmax, so that learning rates keep their meaning. Class weights change how much each label counts.

Bootstrapping corrects wrong labels by the network's own predictions. Out-of-fold predictions of the other folds would
be more accurate, but they leak: their networks were trained on the labels that this fold holds out, so they would carry
these labels into the training that is evaluated by them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from trainer.evaluation.several_labels import class_counts, has_several
from trainer.recipe.recipe import Loss

SMALLEST_Q = 1e-6  # below, (1 - p ** q) / q is cross-entropy in float32


def compute_class_weights(y: npt.NDArray[np.int64], num_classes: int, power: float) -> npt.NDArray[np.float32]:
    """Weights in proportion to (1 / class frequency) ** power, scaled so that the mean over the images is 1.

    Args:
        y: classes of the training images: int64, shape (n,), n >= 1; or (n, num_classes), 0 and 1 for each label. Then
            the mean over the labels that occur is 1.
        power: 0: all weights are 1; 1: every class has the same total weight.

    Returns:
        float32, shape (num_classes,); 0 for a class without images.
    """
    counts = class_counts(y, num_classes).astype(np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1.0) ** -power, 0.0)
    if has_several(y):
        scale = weights[counts > 0].mean() if counts.any() else 1.0
        return (weights / scale).astype(np.float32)
    weights *= len(y) / (weights * counts).sum()
    return weights.astype(np.float32)


def image_losses(
    logits: torch.Tensor,
    targets: torch.Tensor,
    settings: Loss,
    class_weights: torch.Tensor | None,
    *,
    several_labels: bool = False,
) -> torch.Tensor:
    """Loss of each image: float32, shape (b,). It depends on no other image, so a batch may be split.

    Args:
        logits: any float, shape (b, C); converted to float32.
        targets: float32, shape (b, C): share of each class in the image (one-hot, or blended). Rows sum to 1,
            unless images may have several labels: then the share of the image that has each label.
        class_weights: float32, shape (C,), from `compute_class_weights`; None: all ones. A blended image has the
            weights of its parts, averaged by their shares.

    Sources, with the predicted probability p:

    - focal factor (1 - p) ** gamma (Lin et al. 2017, "Focal Loss for Dense Object Detection"), here on every class in
      proportion to its target;
    - cost (1 - p ** q) / q of a class instead of -log p (Zhang & Sabuncu 2018, "Generalized cross entropy loss");
    - target (1 - b) t + b p, soft bootstrapping (Reed et al. 2015, "Training Deep Neural Networks on Noisy Labels with
      Bootstrapping", whose beta is 1 - b).
    """
    if several_labels:
        logits = logits.float()
        # As the log probabilities of two classes, so that the lines below hold for each label by itself.
        log_proba = torch.nn.functional.logsigmoid(torch.stack([-logits, logits], dim=-1))
        targets = torch.stack([1.0 - targets, targets], dim=-1)
    else:
        log_proba = torch.log_softmax(logits.float(), dim=1)
    smooth = settings.label_smoothing
    soft_targets = targets * (1.0 - smooth) + smooth / targets.shape[-1] if smooth > 0.0 else targets
    if settings.bootstrap > 0.0:
        # The gradient flows through the prediction in the target, which rewards confidence (minimum entropy). With the
        # prediction as a constant the gradient would be (1 - b) (p - t): plain cross-entropy at a lower learning rate.
        soft_targets = soft_targets * (1.0 - settings.bootstrap) + settings.bootstrap * log_proba.exp()
    if settings.gce_q > 0.0:
        q = max(settings.gce_q, SMALLEST_Q)
        costs = torch.expm1(q * log_proba) / -q  # direct computation of 1 - p ** q loses all digits for small q
    else:
        costs = -log_proba
    terms = soft_targets * costs
    if settings.focal_gamma > 0.0:
        # The clamp keeps the gradient finite: for gamma < 1 the slope of (1 - p) ** gamma is infinite at p = 1.
        terms = terms * (1.0 - log_proba.exp()).clamp(min=1e-6) ** settings.focal_gamma
    losses = terms.sum(dim=-1)
    if several_labels:
        return (losses if class_weights is None else losses * class_weights).sum(dim=1)
    return losses if class_weights is None else losses * (targets @ class_weights)
