"""How much better one prediction is than another on the same images, and whether that is more than noise. Pure
functions of stored predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.evaluation.metrics import METRICS, Labels, Probabilities, Weights, mean_error, score, weights_of

REAL = 1.0
"""Standard errors that a gain has to exceed."""
PER_IMAGE = ("accuracy", "log_loss")
"""Metrics that are means over images, so that a difference has a standard error in closed form."""
JACKKNIFE_GROUPS = 50
"""Parts that are left out in turn to find the standard error of a difference of any other metric."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much better one prediction is than another on the same images, in units of the metric."""

    mean: float
    error: float
    """Standard error over the draw of the images, paired."""

    @property
    def real(self) -> bool:
        """Whether it is more than noise; see `REAL`. A gain that cannot be computed (NaN) is none."""
        return self.mean > REAL * self.error


def paired_gain(metric: str, y: Labels, new: Probabilities, old: Probabilities, weights: Weights | None = None) -> Gain:
    """How much better ``new`` predicts than ``old``, both ``(n, C)``.

    The standard error is that of a mean of differences where the metric is a mean over images, and by a jackknife that
    leaves out one of `JACKKNIFE_GROUPS` random groups of images at a time for all others.

    Args:
        weights: how much each image counts, ``(n,)``; None: all the same.
    """
    gain = score(metric, y, new, weights) - score(metric, y, old, weights)
    n = len(y)
    if metric in PER_IMAGE:
        rows = [slice(i, i + 1) for i in range(n)]
        differences = np.array([score(metric, y[r], new[r]) - score(metric, y[r], old[r]) for r in rows])
        return Gain(mean=gain, error=mean_error(differences, weights))
    groups = np.random.default_rng(0).permutation(n) % min(JACKKNIFE_GROUPS, n)
    kept = [groups != group for group in range(groups.max() + 1)]
    parts = [(y[k], new[k], old[k], weights_of(weights, k)) for k in kept]
    without = np.array([score(metric, t, a, w) - score(metric, t, b, w) for t, a, b, w in parts])
    return Gain(mean=gain, error=float(np.sqrt((len(kept) - 1) * without.var())))


def shown_gain(gain: Gain, metric: str) -> str:
    """With sign and standard error: in points, hundredths, where the metric is a share."""
    if METRICS[metric].is_share:
        return f"{100 * gain.mean:+.1f} ± {100 * gain.error:.1f} points"
    return f"{gain.mean:+.4f} ± {gain.error:.4f}"


def shown_difference(difference: float, metric: str) -> str:
    """A difference whose error is not told, as `shown_gain`."""
    return f"{100 * difference:+.1f} points" if METRICS[metric].is_share else f"{difference:+.4f}"
