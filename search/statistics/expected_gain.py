"""Expected gain of more trials, and of one more training of the exported recipe, in units of the metric.

A study with a deadline divides its time by them: time goes first where it gains more per second. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist, fmean, variance

from search.statistics.score_forecast import share_of_gain

LEAST_TRIALS = 3
"""Trials from which their spread is estimated; with fewer, the gain of another one counts as unlimited."""


def gain_of_trial(scores: Sequence[float], errors: Sequence[float], further: int = 1) -> float:
    """Expected gain in the best score from one more trial, or several.

    The scores count as independent draws from a normal distribution. Its variance is that of the scores without their
    sampling error. The expected maximum of n draws grows by the difference of two normal order statistics (Blom 1958).
    A sampler that learns draws better trials than these, and ever more similar ones; both effects are left out.

    Args:
        scores: of all finished trials, in units of the metric.
        errors: their standard errors.
        further: number of further trials that finish, 0 or more.

    Returns:
        0 or more; infinity for fewer than `LEAST_TRIALS` scores.
    """
    n = len(scores)
    if n < LEAST_TRIALS:
        return math.inf
    return _spread(scores, errors) * (_expected_maximum(n + further) - _expected_maximum(n))


def resampled_gain(scores: Sequence[float], errors: Sequence[float], further: int) -> float:
    """The same gain by the bootstrap of the scores, which assumes no distribution.

    The expected best of m draws with replacement has a closed form (Dodge et al. 2019, "Show Your Work: Improved
    Reporting of Experimental Results"). The scores are moved toward their mean first, until their variance is the one
    without sampling error. No draw exceeds the best score, so this gain is a lower limit, and `gain_of_trial` an upper
    one where poor trials have a long tail.

    Args:
        scores, errors, further: as in `gain_of_trial`.

    Returns:
        0 or more; infinity for fewer than `LEAST_TRIALS` scores.
    """
    n = len(scores)
    if n < LEAST_TRIALS:
        return math.inf
    deviation = math.sqrt(variance(scores))
    kept = _spread(scores, errors) / deviation if deviation else 0.0

    def expected_best(draws: int) -> float:
        return sum(score * ((i / n) ** draws - ((i - 1) / n) ** draws) for i, score in enumerate(sorted(scores), 1))

    return max(0.0, kept * (expected_best(n + further) - expected_best(n)))


def _spread(scores: Sequence[float], errors: Sequence[float]) -> float:
    """Standard deviation of the scores without their sampling error."""
    # Trials share their images, so at most about half of their sampling error differs between them.
    return math.sqrt(max(0.0, variance(scores) - 0.5 * fmean(error**2 for error in errors)))


def gain_of_training(gain_within: float, networks: int, trainings: int) -> float:
    """Expected gain from averaging the networks of one more training (`score_forecast.share_of_gain`).

    Args:
        gain_within: gain from averaging the networks of one training over a single network.
        networks: number of networks of one training, 2 or more.
        trainings: number of trainings so far, 1 or more.
    """
    of_infinitely_many = max(0.0, gain_within) / share_of_gain(networks)
    return of_infinitely_many * (share_of_gain(networks * (trainings + 1)) - share_of_gain(networks * trainings))


@lru_cache(maxsize=1024)
def _expected_maximum(n: int) -> float:
    """Approximate expected maximum of ``n`` standard normal draws (Blom 1958, "Statistical Estimates")."""
    return NormalDist().inv_cdf((n - 0.375) / (n + 0.25))
