"""Expected private scores of submissions, and the choice of the two to hand in. Pure functions of numbers.

A submission's expected score on images like the test images is unknown. It is measured twice: by the estimate, from n
training images, and by the public score, from m test images. Both are means over images, so their standard errors
decrease with the square root of the number of images. They are independent, because the images differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics import METRICS

_NORMAL = NormalDist()
_TIE = 1e-12  # scores that differ by less are equal


@dataclass(frozen=True, kw_only=True)
class Belief:
    """A normal distribution of an unknown number; ``error`` is its standard deviation, inf if nothing is known."""

    mean: float
    error: float


def proportion_error(share: float, images: int) -> float:
    """Standard error of a share of ``images`` images (at least 1): ``sqrt(p (1 - p) / images)``.

    ``p`` is ``share`` (0 to 1) after adding two correct and two wrong images (Agresti and Coull 1998). Without them, a
    share of 0 or 1 would have the standard error 0.
    """
    p = (share * images + 2) / (images + 4)
    return math.sqrt(p * (1 - p) / images)


def paired_error(disagreement: float, images: int) -> float:
    """Largest standard error of the difference of two accuracies on the same ``images`` images (at least 1).

    For one image, the difference D is 1 if only the first submission is right, -1 if only the second is, else 0. Let
    p10 and p01 be the shares of these images. Then E[D] = p10 - p01 and E[D^2] = p10 + p01, so the mean over m images
    has the variance (p10 + p01 - (p10 - p01)^2) / m. If exactly one is right, the labels differ. So p10 + p01 is at
    most the share d of images with different labels, and the variance is at most d / m. Unlike p10 and p01, d needs no
    true labels. (With p10 + p01 instead of d, this is the error under McNemar's null hypothesis, 1947.)

    Args:
        disagreement: d, 0 to 1.
    """
    return math.sqrt(disagreement / images)


def hit_correlation(first: float, second: float, disagreement: float) -> float:
    """Correlation over images, -1 to 1, of the events that the first and the second submission are right.

    It follows from Var(A - B) = Var(A) + Var(B) - 2 Cov(A, B), with Var(A - B) as in `paired_error` and d in the place
    of p10 + p01. This is exact with two classes. With more classes the correlation is too low, because two different
    labels may both be wrong.

    Args:
        first, second: accuracies, 0 to 1; clipped to 0.01 .. 0.99, because the variance is 0 at the ends.
        disagreement: d, 0 to 1; 0 means equal submissions, whose correlation is 1.
    """
    if disagreement <= 0:
        return 1.0
    a, b = (min(max(share, 0.01), 0.99) for share in (first, second))
    of_first, of_second = a * (1 - a), b * (1 - b)
    of_difference = disagreement - (a - b) ** 2
    correlation = (of_first + of_second - of_difference) / (2 * math.sqrt(of_first * of_second))
    return min(max(correlation, -1.0), math.nextafter(1.0, 0.0))


def combine(beliefs: Iterable[Belief]) -> Belief:
    """Combine independent beliefs about one number: the posterior of normal errors under a flat prior.

    The product of normal densities is normal. Its precision (inverse variance) is the sum of the precisions, and its
    mean is the precision-weighted mean. A belief with infinite error changes nothing; one with error 0 decides alone.
    Without any finite error, the result is the mean 0 with infinite error.
    """
    known = [belief for belief in beliefs if math.isfinite(belief.error)]
    if not known:
        return Belief(mean=0.0, error=math.inf)
    smallest = min(belief.error for belief in known)
    if smallest == 0:
        certain = [belief.mean for belief in known if belief.error == 0]
        return Belief(mean=math.fsum(certain) / len(certain), error=0.0)
    # Relative to the most precise belief, because the precision of a tiny error would overflow.
    weights = [(smallest / belief.error) ** 2 for belief in known]
    total = math.fsum(weights)
    mean = math.fsum(weight * belief.mean for weight, belief in zip(weights, known, strict=True)) / total
    return Belief(mean=mean, error=smallest / math.sqrt(total))


def expected_maximum(first: Belief, second: Belief, correlation: float) -> float:
    """Expected maximum of two jointly normal numbers (Clark 1961): ``mean1 Phi(a) + mean2 Phi(-a) + s phi(a)``.

    ``s`` is the standard deviation of their difference, and ``a = (mean1 - mean2) / s``.

    Args:
        first, second: distributions with finite errors.
        correlation: correlation of the two numbers, -1 to 1.
    """
    variance = first.error**2 + second.error**2 - 2 * correlation * first.error * second.error
    spread = math.sqrt(max(variance, 0.0))
    if spread == 0:
        return max(first.mean, second.mean)
    a = (first.mean - second.mean) / spread
    return first.mean * _NORMAL.cdf(a) + second.mean * _NORMAL.cdf(-a) + spread * _NORMAL.pdf(a)


def propose(scores: Sequence[Belief], correlations: NDArray[np.float64]) -> tuple[int, ...]:
    """Indices of the two submissions to hand in if the better one counts; fewer if fewer scores are known.

    The first has the largest mean; ties go to the smaller error, then to the newer submission. The second maximises the
    expected maximum of both. A copy of the first (correlation 1) adds nothing and is taken last.

    Args:
        scores: belief about each submission's score, the oldest first. Infinite errors are left out.
        correlations: correlations of the k scores, ``(k, k)``, symmetric.
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


BEYOND_CHANCE = 2.0  # smallest difference, in standard errors, that chance does not explain
HINT = 1.0  # smallest difference, in standard errors, that is a hint
ASSUMED_CORRELATION = 0.7
"""Correlation of two submissions if their labels are unknown: models mostly fail on the same images."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Submission:
    """An export with its scores, in the study's metric; higher is better."""

    number: int
    estimate: float | None
    """Out-of-fold score on all training images."""
    estimate_error: float | None
    """Standard error of ``estimate``."""
    public: float | None
    private: float | None
    labels: NDArray[np.int64] | None
    """Class predicted for each test image, ``(m,)``; None if its predictions are not available."""
    is_overwritten: bool = False
    """Whether a later export has replaced its files."""

    @property
    def can_be_chosen(self) -> bool:
        """Whether it can be handed in: its files are there, or the competition has them and gave a public score."""
        return not self.is_overwritten or self.public is not None


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """Submissions to one competition."""

    metric: str
    train_images: int
    test_images: int
    public_images: int | None
    """Number of test images behind public scores; None if it was not given."""
    submissions: tuple[Submission, ...]
    """The oldest first."""

    @property
    def private_images(self) -> int:
        """Number of test images behind private scores: those without the public ones, or all if unknown."""
        return self.test_images - (self.public_images or 0) or self.test_images


def disagreement(first: Submission, second: Submission) -> float | None:
    """Share of the test images that two submissions give different labels, 0 to 1; None if unknown."""
    if first.labels is None or second.labels is None or not len(first.labels):
        return None
    different = first.labels != second.labels
    return float((different.any(axis=1) if different.ndim == 2 else different).mean())


def without_copies(board: Board) -> list[Submission]:
    """One submission for all that give every test image the same labels.

    It is the one with a public score, which the competition has, or else the latest.

    Where the metric scores probabilities, equal labels make no copy.
    """
    if METRICS[board.metric].needs == "probabilities":
        return list(board.submissions)
    kept: list[Submission] = []
    for submission in board.submissions:
        copies = [other for other in kept if disagreement(other, submission) == 0.0]
        handed_in = next((one for one in (submission, *copies) if one.public is not None), submission)
        merged = replace(
            submission,
            number=handed_in.number,
            public=handed_in.public,
            is_overwritten=all(one.is_overwritten for one in (submission, *copies)),
        )
        kept = [*(other for other in kept if other not in copies), merged]
    return kept


def score_error(board: Board, submission: Submission, score: float, images: int) -> float:
    """Standard error of a score on ``images`` images.

    It is binomial for accuracy. For another metric it is the standard error of the estimate, scaled to the number of
    images; inf without an estimate.
    """
    if board.metric == "accuracy":
        return proportion_error(score, images)
    if submission.estimate_error is None:
        return math.inf
    return submission.estimate_error * math.sqrt(board.train_images / images)


def difference_error(
    board: Board, first: Submission, second: Submission, images: int, scores: tuple[float, float]
) -> float:
    """Standard error of the difference of two ``scores`` on the same ``images`` images.

    It is paired for accuracy if the labels of both are known. Otherwise the scores count as independent, which is too
    large for submissions with similar errors.
    """
    differing = disagreement(first, second)
    if board.metric == "accuracy" and differing is not None:
        return paired_error(differing, images)
    return math.hypot(*(score_error(board, s, score, images) for s, score in zip((first, second), scores, strict=True)))


def correlation(first: Submission, second: Submission) -> float:
    """Correlation of the errors of two submissions' scores on the same images, from their disagreement."""
    differing = disagreement(first, second)
    if differing is None:
        return ASSUMED_CORRELATION
    shares = [
        submission.estimate if submission.estimate is not None and 0 < submission.estimate < 1 else 0.5
        for submission in (first, second)
    ]
    return hit_correlation(shares[0], shares[1], differing)


def belief_of(board: Board, submission: Submission) -> Belief:
    """Belief about a submission's expected score, from its estimate and its public score."""
    parts = [estimate_of(board, submission)]
    if submission.public is not None and board.public_images:
        parts.append(
            Belief(mean=submission.public, error=score_error(board, submission, submission.public, board.public_images))
        )
    return combine(parts)


def estimate_of(board: Board, submission: Submission) -> Belief:
    """Belief about a submission's expected score, from its estimate alone."""
    if submission.estimate is None or submission.estimate_error is None:
        return Belief(mean=0.0, error=math.inf)
    # If all out-of-fold predictions are right, the estimated standard error is 0, which is too small.
    least = proportion_error(submission.estimate, board.train_images) if board.metric == "accuracy" else 0.0
    return Belief(mean=submission.estimate, error=max(submission.estimate_error, least))


def mean_error(submissions: Sequence[Submission]) -> float:
    """Standard deviation of the mean of the submissions' z-scores, which are correlated on the same images."""
    return math.sqrt(max(float(correlation_matrix(submissions).mean()), 1e-9))


def correlation_matrix(submissions: Sequence[Submission]) -> NDArray[np.float64]:
    """Correlations of the submissions' scores, ``(k, k)``, symmetric, with ones on the diagonal."""
    matrix = np.eye(len(submissions))
    for i, first in enumerate(submissions):
        for j, second in enumerate(submissions[:i]):
            matrix[i, j] = matrix[j, i] = correlation(first, second)
    return matrix
