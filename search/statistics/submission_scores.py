"""Which two submissions to hand in: what is known of each, and the better of two. Pure functions of numbers.

What a submission is worth is its expected score on images like the test images. Two things are known of it: the
estimate, from n training images, and the public score, from m test images. Both are means over images, so
their errors shrink with the root of the number of images, and they are independent, because the images are others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_NORMAL = NormalDist()
_TIE = 1e-12  # scores that differ by less are equal


@dataclass(frozen=True, kw_only=True)
class Belief:
    """A number that is known up to a normal error, ``error`` being its standard deviation; inf: nothing is known."""

    mean: float
    error: float


def proportion_error(share: float, images: int) -> float:
    """Standard error of a share of ``images`` images (at least 1): ``sqrt(p (1 - p) / images)``.

    ``p`` is ``share`` (0 to 1) drawn towards one half by two images of either kind (Agresti and Coull 1998): all images
    right, or none, would otherwise count as certain.
    """
    p = (share * images + 2) / (images + 4)
    return math.sqrt(p * (1 - p) / images)


def paired_error(disagreement: float, images: int) -> float:
    """Largest standard error of the difference of two accuracies on the same ``images`` images (at least 1).

    Of one image the difference is D = 1 if only the first submission is right, -1 if only the second is, else 0. With
    p10 and p01 the shares of these, E[D] = p10 - p01, E[D^2] = p10 + p01, and the mean over m images has the variance
    (p10 + p01 - (p10 - p01)^2) / m. Where exactly one is right the labels differ, so p10 + p01 is at most the share d
    of images that are labelled differently, and the variance at most d / m. Unlike p10 and p01, d can be counted
    without true labels. (With p10 + p01 in the place of d this is the error under McNemar's null hypothesis, 1947.)

    Args:
        disagreement: d, 0 to 1.
    """
    return math.sqrt(disagreement / images)


def hit_correlation(first: float, second: float, disagreement: float) -> float:
    """Correlation, -1 to 1, of "the first is right" and "the second is right" over images.

    From Var(A - B) = Var(A) + Var(B) - 2 Cov(A, B) with Var(A - B) as in `paired_error`, d taken for p10 + p01 (exact
    with two classes; with more it is too low, as two labels that differ may both be wrong).

    Args:
        first, second: their accuracies, 0 to 1; drawn away from 0 and 1, where nothing varies.
        disagreement: d, 0 to 1; 0 is the same submission twice, so 1.
    """
    if disagreement <= 0:
        return 1.0
    a, b = (min(max(share, 0.01), 0.99) for share in (first, second))
    of_first, of_second = a * (1 - a), b * (1 - b)
    of_difference = disagreement - (a - b) ** 2
    correlation = (of_first + of_second - of_difference) / (2 * math.sqrt(of_first * of_second))
    return min(max(correlation, -1.0), math.nextafter(1.0, 0.0))


def combine(beliefs: Iterable[Belief]) -> Belief:
    """Independent beliefs about one number, as one: the posterior of normal errors under a flat prior.

    The density is the product of those of the parts, which is normal again: its precision (inverse variance) is the sum
    of theirs, its mean theirs weighted by precision. A part of infinite error changes nothing; a part without any error
    decides alone. Nothing known at all is the mean 0 with infinite error.
    """
    known = [belief for belief in beliefs if math.isfinite(belief.error)]
    if not known:
        return Belief(mean=0.0, error=math.inf)
    smallest = min(belief.error for belief in known)
    if smallest == 0:
        certain = [belief.mean for belief in known if belief.error == 0]
        return Belief(mean=math.fsum(certain) / len(certain), error=0.0)
    # Relative to the most precise part: the precision of a tiny error alone would overflow.
    weights = [(smallest / belief.error) ** 2 for belief in known]
    total = math.fsum(weights)
    mean = math.fsum(weight * belief.mean for weight, belief in zip(weights, known, strict=True)) / total
    return Belief(mean=mean, error=smallest / math.sqrt(total))


def expected_maximum(first: Belief, second: Belief, correlation: float) -> float:
    """Expected larger one of two jointly normal numbers (Clark 1961): with the standard deviation ``s`` of their
    difference and ``a = (mean1 - mean2) / s``, it is ``mean1 Phi(a) + mean2 Phi(-a) + s phi(a)``.

    Args:
        first, second: of finite error.
        correlation: of the two, -1 to 1.
    """
    variance = first.error**2 + second.error**2 - 2 * correlation * first.error * second.error
    spread = math.sqrt(max(variance, 0.0))
    if spread == 0:
        return max(first.mean, second.mean)
    a = (first.mean - second.mean) / spread
    return first.mean * _NORMAL.cdf(a) + second.mean * _NORMAL.cdf(-a) + spread * _NORMAL.pdf(a)


def propose(scores: Sequence[Belief], correlations: NDArray[np.float64]) -> tuple[int, ...]:
    """The two to hand in where the better one counts, as indices; one where there is one, none where there is none.

    The first has the largest mean (of equal ones the surer, then the later); the second is that with which the larger
    one of both is expected to be largest. A copy of the first (correlation 1) adds nothing and is taken last.

    Args:
        scores: what is believed of the score that counts, in order of age. Those of infinite error are left out.
        correlations: of the k scores, ``(k, k)``, symmetric.
    """
    known = [i for i, score in enumerate(scores) if math.isfinite(score.error)]
    if not known:
        return ()
    first = max(known, key=lambda i: (_rounded(scores[i].mean), -_rounded(scores[i].error), i))
    others = [i for i in known if i != first]
    if not others:
        return (first,)

    def merit(i: int) -> tuple[bool, float, float, int]:
        correlation = float(correlations[first, i])
        better = expected_maximum(scores[first], scores[i], correlation)
        return correlation < 1, _rounded(better), -correlation, i

    return first, max(others, key=merit)


def _rounded(score: float) -> float:
    return round(score / _TIE) * _TIE
