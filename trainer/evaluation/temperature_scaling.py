"""Temperature scaling: how sure a model says it is, brought in line with how often it is right.

Guo et al. 2017, "On Calibration of Modern Neural Networks": every probability to the power 1 / T, normalised again. The
most probable class stays the same, so nothing that is scored by labels changes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics import SMALLEST_PROBABILITY, Labels, Probabilities, Weights, mean_over

RANGE = (0.05, 20.0)
"""Temperatures that are tried: beyond them a model is as good as certain, or as good as undecided."""


def fit_temperature(y: Labels, proba: Probabilities, weights: Weights | None = None) -> float:
    """The temperature in `RANGE` with the smallest log loss: above 1 the model was too sure of itself, below 1 too shy.

    Args:
        y: int64 (n,).
        proba: (n, C), each row the probabilities of an image that the model was not trained on.
        weights: how much each image counts, (n,); None: all the same.

    Raises:
        ValueError: no images, or shapes that do not belong together.
    """
    from scipy.optimize import minimize_scalar

    if len(y) == 0 or proba.ndim != 2 or len(proba) != len(y):
        raise ValueError(f"cannot calibrate probabilities of shape {proba.shape} by {len(y)} labels")
    logs = _logs(proba)
    rows = np.arange(len(y))

    def loss(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        peak = scaled.max(axis=1)
        return mean_over(np.log(np.exp(scaled - peak[:, None]).sum(axis=1)) + peak - scaled[rows, y], weights)

    low, high = np.log(RANGE[0]), np.log(RANGE[1])
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4}).x))


def scale_temperature(proba: Probabilities, temperature: float) -> NDArray[np.float32]:
    """The same probabilities at another temperature: float32 (n, C), rows sum to 1."""
    scaled = _logs(proba) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def _logs(proba: Probabilities) -> NDArray[np.float64]:
    rows = np.asarray(proba, dtype=np.float64)
    rows = rows / rows.sum(axis=1, keepdims=True)
    return np.asarray(np.log(np.clip(rows, SMALLEST_PROBABILITY, 1.0)))
