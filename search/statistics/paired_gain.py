"""Paired difference of two predictions' scores on the same images, with its standard error. Pure functions of stored
predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.evaluation.metrics import METRICS, Probabilities, score
from trainer.evaluation.targets import Targets

REAL = 1.0
"""A gain is real if it exceeds this many standard errors."""
CLEAR = 2.0
"""A loss is clear if it exceeds this many standard errors."""
PER_IMAGE = ("accuracy", "log_loss", "mean_f1", "lrap")
"""Metrics that are means over images: the standard error of a difference has a closed form."""
JACKKNIFE_GROUPS = 50
"""Groups of the jackknife that gives the standard error for any other metric; each leaves one group out."""

MOST_IMAGES = 2000
"""Number of images from which `quick_gain` computes a standard error."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Difference of two scores on the same images, in units of the metric; positive if the new one is better."""

    mean: float
    error: float
    """Standard error of the paired difference over the draw of the images."""

    @property
    def real(self) -> bool:
        """Whether the gain exceeds `REAL` standard errors. A gain that is undefined (NaN) is not real."""
        return self.mean > REAL * self.error

    @property
    def no_clear_loss(self) -> bool:
        """Whether the new score is at most `CLEAR` standard errors below the old one. Not so if it is undefined."""
        return self.mean >= -CLEAR * self.error


def paired_gain(metric: str, targets: Targets, new: Probabilities, old: Probabilities) -> Gain:
    """Gain of ``new`` over ``old``, both ``(n, C)``.

    For a metric that is a mean over images, the standard error is that of the mean difference. For other metrics it
    comes from a jackknife over `JACKKNIFE_GROUPS` random groups of images.
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


def probability_gain(targets: Targets, new: Probabilities, old: Probabilities) -> Gain:
    """Gain in the mean probability of the true class.

    Args:
        new, old: probability of each image's true class, ``(n,)``; images where one of them is NaN are left out.
    """
    known = np.isfinite(new) & np.isfinite(old)
    if not known.any():
        return Gain(mean=float("nan"), error=float("nan"))
    differences = np.asarray(new[known], np.float64) - np.asarray(old[known], np.float64)
    part = targets.select(known)
    return Gain(mean=part.mean(differences), error=part.mean_error(differences))


def quick_gain(metric: str, targets: Targets, new: Probabilities, old: Probabilities) -> Gain:
    """As `paired_gain`, but with the standard error of at most `MOST_IMAGES` random images, scaled to all of them.

    The jackknife of a ROC curve takes minutes on tens of thousands of images.
    """
    n = len(targets)
    if n <= MOST_IMAGES:
        return paired_gain(metric, targets, new, old)
    rows = np.sort(np.random.default_rng(0).permutation(n)[:MOST_IMAGES])
    part = paired_gain(metric, targets.select(rows), new[rows], old[rows])
    mean = score(metric, targets, new) - score(metric, targets, old)
    return Gain(mean=mean, error=part.error * float(np.sqrt(MOST_IMAGES / n)))


def exceeds_one_image(gain: Gain, metric: str, images: int) -> bool:
    """Whether a gain is still real if one image more were predicted wrongly.

    Where predictions differ on a single image, the gain in accuracy is its standard error, however many images there
    are, and rounding would decide. So a metric of labels loses an image first, as in the continuity correction of
    McNemar's test (Edwards 1948, "Note on the correction for continuity in testing the significance of the difference
    between correlated proportions").
    """
    one = 1.0 / images if METRICS[metric].needs == "labels" else 0.0
    return Gain(mean=gain.mean - one, error=gain.error).real


def shown_gain(gain: Gain, metric: str) -> str:
    """The gain with sign and standard error, in points (hundredths) if the metric is a share."""
    if METRICS[metric].is_share:
        return f"{100 * gain.mean:+z.1f} ± {100 * gain.error:.1f} points"
    return f"{gain.mean:+.4f} ± {gain.error:.4f}"


def shown_difference(difference: float, metric: str) -> str:
    """A difference without its standard error, in the format of `shown_gain`."""
    return f"{100 * difference:+z.1f} points" if METRICS[metric].is_share else f"{difference:+.4f}"
