"""What a competition's board says of submissions, in words: which differences mean anything, whether the board agrees
with the estimates, which two to hand in. Pure functions; the arithmetic is `search.statistics.submission_scores`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.statistics.submission_scores import (
    Belief,
    combine,
    expected_maximum,
    hit_correlation,
    paired_error,
    proportion_error,
    propose,
)
from trainer.evaluation.metrics import METRICS

BEYOND_CHANCE = 2.0  # standard errors from which chance does not explain a difference
HINT = 1.0  # standard errors from which it is more than nothing
ASSUMED_CORRELATION = 0.7
"""Of two submissions whose predictions cannot be compared: models of one competition mostly fail on the same images."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Submission:
    """An export, as far as boards are concerned. Scores are of the study's metric, higher is better."""

    number: int
    estimate: float | None
    """Out-of-fold, on all training images."""
    estimate_error: float | None
    """Its standard error."""
    public: float | None
    private: float | None
    labels: NDArray[np.int64] | None
    """Class predicted for each test image, ``(m,)``; None where its predictions are not at hand."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """Submissions to one competition."""

    metric: str
    train_images: int
    test_images: int
    public_images: int | None
    """Test images that public scores are on; None: nobody said."""
    submissions: tuple[Submission, ...]
    """The oldest first."""

    @property
    def private_images(self) -> int:
        """Test images that private scores are on, as far as known: those that public scores are not on."""
        return self.test_images - (self.public_images or 0) or self.test_images


def board_lines(board: Board) -> list[str]:
    """Everything that the recorded scores tell, in lines; none where none is recorded."""
    if all(one.public is None and one.private is None for one in board.submissions):
        return []
    return [*_public_lines(board), *_differences(board, "private", board.private_images), *_hand_in(board)]


def points(metric: str, difference: float, *, signed: bool = False) -> str:
    """A difference of scores for people: in points where the metric is a share, else as it is."""
    sign = "+" if signed else ""
    return f"{100 * difference:{sign}.1f} points" if METRICS[metric].is_share else f"{difference:{sign}.4f}"


def disagreement(first: Submission, second: Submission) -> float | None:
    """Share of the test images that two submissions give different labels, 0 to 1; None where that is not known."""
    if first.labels is None or second.labels is None or not len(first.labels):
        return None
    return float((first.labels != second.labels).mean())


def score_error(board: Board, one: Submission, score: float, images: int) -> float:
    """Standard error of a score on ``images`` images: binomial for accuracy; of another metric the standard error of
    the estimate, which is on more or fewer images; inf where there is no such estimate.
    """
    if board.metric == "accuracy":
        return proportion_error(score, images)
    if one.estimate_error is None:
        return math.inf
    return one.estimate_error * math.sqrt(board.train_images / images)


def difference_error(
    board: Board, first: Submission, second: Submission, images: int, scores: tuple[float, float]
) -> float:
    """Standard error of the difference of two ``scores`` on the same ``images`` images: paired for accuracy where both
    predictions are at hand, else as if the images were others, which is too large where the two err alike.
    """
    apart = disagreement(first, second)
    if board.metric == "accuracy" and apart is not None:
        return paired_error(apart, images)
    return math.hypot(*(score_error(board, s, score, images) for s, score in zip((first, second), scores, strict=True)))


def correlation(first: Submission, second: Submission) -> float:
    """Of the errors of two submissions' scores on the same images, by their disagreement."""
    apart = disagreement(first, second)
    if apart is None:
        return ASSUMED_CORRELATION
    shares = [one.estimate if one.estimate is not None and 0 < one.estimate < 1 else 0.5 for one in (first, second)]
    return hit_correlation(shares[0], shares[1], apart)


def belief_of(board: Board, one: Submission) -> Belief:
    """What estimate and public score together say of a submission's expected score."""
    parts = [_estimate(board, one)]
    if one.public is not None and board.public_images:
        parts.append(Belief(mean=one.public, error=score_error(board, one, one.public, board.public_images)))
    return combine(parts)


def _estimate(board: Board, one: Submission) -> Belief:
    if one.estimate is None or one.estimate_error is None:
        return Belief(mean=0.0, error=math.inf)
    # Nothing wrong out of fold gives an estimate without error, which nothing is.
    least = proportion_error(one.estimate, board.train_images) if board.metric == "accuracy" else 0.0
    return Belief(mean=one.estimate, error=max(one.estimate_error, least))


def _public_lines(board: Board) -> Iterator[str]:
    told = [one for one in board.submissions if one.public is not None]
    if not told:
        return
    if not board.public_images:
        yield (
            "What the public scores mean depends on how many test images they are on, which the competition's page "
            "says: search submissions --public-images N"
        )
        return
    latest = told[-1]
    assert latest.public is not None
    error = score_error(board, latest, latest.public, board.public_images)
    if math.isfinite(error):
        yield f"A public score on {board.public_images} images is known to ±{points(board.metric, error)}."
    yield from _differences(board, "public", board.public_images)
    yield from _agreement(board, told)


def _differences(board: Board, which: str, images: int) -> Iterator[str]:
    """Each recorded score against the best one."""
    scores = {one.number: getattr(one, which) for one in board.submissions if getattr(one, which) is not None}
    told = sorted((one for one in board.submissions if one.number in scores), key=lambda one: -scores[one.number])
    for other in told[1:]:
        best = told[0]
        pair = (scores[best.number], scores[other.number])
        error = difference_error(board, best, other, images, pair)
        difference = pair[0] - pair[1]
        apart = disagreement(best, other)
        how = "" if apart is None else f", they differ on {apart:.0%} of the test images"
        head = f"Export {best.number} against {other.number}: {points(board.metric, difference, signed=True)} {which}"
        if not math.isfinite(error):
            yield f"{head}{how}: what that means cannot be told without an estimate"
        else:
            yield f"{head} (± {points(board.metric, error)}{how}): {_verdict(difference, error)}"


def _verdict(difference: float, error: float) -> str:
    if difference == 0:
        return "no difference"
    if difference >= BEYOND_CHANCE * error:
        return "more than chance explains"
    return "may well be chance" if difference >= HINT * error else "means nothing"


def _agreement(board: Board, told: Sequence[Submission]) -> Iterator[str]:
    """Whether public scores are where the estimates have them, each, and all together."""
    judged, z = [], []
    for one in told:
        assert one.public is not None and board.public_images
        estimate = _estimate(board, one)
        error = math.hypot(estimate.error, score_error(board, one, one.public, board.public_images))
        if math.isfinite(error):
            judged.append(one)
            z.append((one.public - estimate.mean) / error if error else 0.0)
    if not judged:
        return
    outside = [(one, score) for one, score in zip(judged, z, strict=True) if abs(score) >= BEYOND_CHANCE]
    for one, score in outside:
        where = "lower" if score < 0 else "higher"
        yield (
            f"Export {one.number}: the public score {one.public:.4f} is {where} than the estimate "
            f"{one.estimate:.4f} ± {one.estimate_error:.4f} allows (z = {score:+.1f})."
        )
    together = float(np.mean(z)) / _mean_error(judged)
    if together <= -BEYOND_CHANCE:
        yield (
            f"The public scores are lower than chance explains (z = {together:+.1f}{' together' * (len(z) > 1)}): test "
            "images seem harder or different than training images: see `search check`."
        )
    elif not outside:
        yield (
            f"The board agrees with the estimates (z = {min(z):+.1f}"
            f"{f' to {max(z):+.1f}' * (len(z) > 1)}; beyond ±{BEYOND_CHANCE:.0f} it would not)."
        )


def _mean_error(judged: Sequence[Submission]) -> float:
    """Standard deviation of the mean of their z-scores: on the same images these go up and down together."""
    return math.sqrt(max(float(_correlations(judged).mean()), 1e-9))


def _correlations(submissions: Sequence[Submission]) -> NDArray[np.float64]:
    """``(k, k)``, symmetric, with ones on the diagonal."""
    matrix = np.eye(len(submissions))
    for i, first in enumerate(submissions):
        for j, second in enumerate(submissions[:i]):
            matrix[i, j] = matrix[j, i] = correlation(first, second)
    return matrix


def _hand_in(board: Board) -> Iterator[str]:
    """The two to hand in. Once private scores are told the choice has been made."""
    if len(board.submissions) < 2 or any(one.private is not None for one in board.submissions):
        return
    beliefs = [belief_of(board, one) for one in board.submissions]
    scores = []
    for one, belief in zip(board.submissions, beliefs, strict=True):
        # What counts is the score on the private images, which is drawn once more.
        noise = score_error(board, one, belief.mean, board.private_images) if math.isfinite(belief.error) else 0.0
        scores.append(Belief(mean=belief.mean, error=math.hypot(belief.error, noise)))
    correlations = _correlations(board.submissions)
    chosen = propose(scores, correlations)
    if len(chosen) < 2:
        return
    first, second = chosen
    better = expected_maximum(scores[first], scores[second], float(correlations[first, second]))

    def named(i: int) -> str:
        return f"export {board.submissions[i].number} ({beliefs[i].mean:.4f} ± {beliefs[i].error:.4f})"

    by = "estimate and public score together" if board.public_images else "the estimates alone"
    same = correlations[first, second] == 1
    yield (
        f"To hand in, by {by}: {named(first)}, and {named(second)}, "
        + ("though both predict the same." if same else f"as the better of both is expected at {better:.4f}.")
    )
