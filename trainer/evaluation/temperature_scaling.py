"""Temperature scaling: calibrates a model's probabilities by one number.

Each probability is raised to the power 1 / T and each row is normalised again (Guo et al. 2017, "On Calibration of
Modern Neural Networks"). The most probable class stays the same, so no metric of labels changes.

Where images have several labels, each probability p is calibrated as the pair (1 - p, p). What is on either side of 0.5
stays there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics import SMALLEST_PROBABILITY, Probabilities
from trainer.evaluation.several_labels import as_pairs
from trainer.evaluation.targets import Targets

RANGE = (0.05, 20.0)
"""Temperatures that are searched. Beyond them all predictions are practically one-hot, or practically uniform."""


def fit_temperature(targets: Targets, proba: Probabilities) -> float:
    """The temperature in `RANGE` with the smallest log loss.

    It is above 1 if the model was overconfident, and below 1 if it was underconfident.

    Args:
        targets: true classes and weights of n images that the model was not trained on.
        proba: ``(n, C)``, its probabilities for them.

    Raises:
        ValueError: no images, or another number of images in ``proba``.
    """
    from scipy.optimize import minimize_scalar

    if len(targets) == 0 or proba.ndim != 2 or len(proba) != len(targets):
        raise ValueError(f"cannot calibrate probabilities of shape {proba.shape} by {len(targets)} labels")
    if targets.several_labels:
        targets, proba = targets.pairs(proba)
    logs = _logs(proba)
    rows = np.arange(len(targets))

    def loss(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        peak = scaled.max(axis=1)
        return targets.mean(np.log(np.exp(scaled - peak[:, None]).sum(axis=1)) + peak - scaled[rows, targets.y])

    low, high = np.log(RANGE[0]), np.log(RANGE[1])
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4}).x))


def scale_temperature(proba: Probabilities, temperature: float, *, several_labels: bool = False) -> NDArray[np.float32]:
    """The same probabilities at another temperature: float32 (n, C), rows sum to 1 unless ``several_labels``."""
    if several_labels:
        return scale_temperature(as_pairs(proba), temperature)[:, 1].reshape(proba.shape)
    scaled = _logs(proba) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def _logs(proba: Probabilities) -> NDArray[np.float64]:
    rows = np.asarray(proba, dtype=np.float64)
    rows = rows / rows.sum(axis=1, keepdims=True)
    return np.asarray(np.log(np.clip(rows, SMALLEST_PROBABILITY, 1.0)))
