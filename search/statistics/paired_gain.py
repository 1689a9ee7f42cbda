"""How much better one prediction is than another on the same images, and whether that is more than noise. Pure
functions of stored predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.evaluation.metrics import METRICS, Probabilities, score
from trainer.evaluation.targets import Targets

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


def paired_gain(metric: str, targets: Targets, new: Probabilities, old: Probabilities) -> Gain:
    """How much better ``new`` predicts than ``old``, both ``(n, C)``.

    The standard error is that of a mean of differences where the metric is a mean over images, and by a jackknife that
    leaves out one of `JACKKNIFE_GROUPS` random groups of images at a time for all others.
    """
    gain = score(metric, targets, new) - score(metric, targets, old)
    n = len(targets)
    if metric in PER_IMAGE:
        images = [(Targets(targets.y[i : i + 1]), slice(i, i + 1)) for i in range(n)]
        differences = np.array([score(metric, one, new[r]) - score(metric, one, old[r]) for one, r in images])
        return Gain(mean=gain, error=targets.mean_error(differences))
    groups = np.random.default_rng(0).permutation(n) % min(JACKKNIFE_GROUPS, n)
    kept = [groups != group for group in range(groups.max() + 1)]
    parts = [(targets.select(k), k) for k in kept]
    without = np.array([score(metric, part, new[k]) - score(metric, part, old[k]) for part, k in parts])
    return Gain(mean=gain, error=float(np.sqrt((len(kept) - 1) * without.var())))


def shown_gain(gain: Gain, metric: str) -> str:
    """With sign and standard error: in points, hundredths, where the metric is a share."""
    if METRICS[metric].is_share:
        return f"{100 * gain.mean:+.1f} ± {100 * gain.error:.1f} points"
    return f"{gain.mean:+.4f} ± {gain.error:.4f}"


def shown_difference(difference: float, metric: str) -> str:
    """A difference whose error is not told, as `shown_gain`."""
    return f"{100 * difference:+.1f} points" if METRICS[metric].is_share else f"{difference:+.4f}"
