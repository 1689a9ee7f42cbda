"""Sentences about the leaderboard scores of submissions: which differences exceed noise, whether the scores agree with
the estimates, which two submissions to hand in.

Pure functions; `search.statistics.submission_scores` does the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from search.statistics.submission_scores import (
    BEYOND_CHANCE,
    HINT,
    Belief,
    Board,
    Submission,
    belief_of,
    correlation_matrix,
    difference_error,
    disagreement,
    estimate_of,
    expected_maximum,
    mean_error,
    propose,
    score_error,
    without_copies,
)
from trainer.evaluation.metrics import METRICS


def board_lines(board: Board, study: str) -> list[str]:
    """All conclusions from the recorded scores, a line each; empty if no score is recorded.

    Args:
        study: the name of one with these images, for commands.
    """
    if all(submission.public is None and submission.private is None for submission in board.submissions):
        return []
    return [*_public_lines(board, study), *_differences(board, "private", board.private_images), *_hand_in(board)]


def points(metric: str, difference: float, *, signed: bool = False) -> str:
    """A difference of scores as text: in points (hundredths) if the metric is a share, else as a number."""
    sign = "+" if signed else ""
    return f"{100 * difference:{sign}.1f} points" if METRICS[metric].is_share else f"{difference:{sign}.4f}"


def _public_lines(board: Board, study: str) -> Iterator[str]:
    scored = [submission for submission in board.submissions if submission.public is not None]
    if not scored:
        return
    if not board.public_images:
        yield (
            "The precision of the public scores depends on the number of public test images, which the competition's "
            f"page gives. Record it: `search submissions --study {study} --public-images N`"
        )
        return
    latest = scored[-1]
    assert latest.public is not None
    error = score_error(board, latest, latest.public, board.public_images)
    if math.isfinite(error):
        yield f"A public score on {board.public_images} images has a standard error of {points(board.metric, error)}."
    yield from _differences(board, "public", board.public_images)
    yield from _agreement(board, scored)


def _differences(board: Board, which: str, images: int) -> Iterator[str]:
    """The best recorded score against each other one.

    Args:
        which: ``public`` or ``private``.
        images: number of test images that these scores are on.
    """
    scores = {entry.number: getattr(entry, which) for entry in board.submissions if getattr(entry, which) is not None}
    scored = [entry for entry in board.submissions if entry.number in scores]
    scored.sort(key=lambda entry: -scores[entry.number])
    for other in scored[1:]:
        best = scored[0]
        pair = (scores[best.number], scores[other.number])
        error = difference_error(board, best, other, images, pair)
        difference = pair[0] - pair[1]
        differing = disagreement(best, other)
        disagreeing = "" if differing is None else f", they differ on {differing:.0%} of the test images"
        head = f"Export {best.number} against {other.number}: {points(board.metric, difference, signed=True)} {which}"
        if not math.isfinite(error):
            yield f"{head}{disagreeing}: without an estimate, the standard error of this difference is unknown"
        else:
            yield f"{head} (± {points(board.metric, error)}{disagreeing}): {_verdict(difference, error)}"


def _verdict(difference: float, error: float) -> str:
    if difference == 0:
        return "no difference"
    if difference >= BEYOND_CHANCE * error:
        return "more than chance explains"
    return "may be chance" if difference >= HINT * error else "within the noise"


def _agreement(board: Board, scored: Sequence[Submission]) -> Iterator[str]:
    """Whether the public scores agree with the estimates, each by itself and all together."""
    compared, z_scores = [], []
    for submission in scored:
        assert submission.public is not None and board.public_images
        estimate = estimate_of(board, submission)
        error = math.hypot(estimate.error, score_error(board, submission, submission.public, board.public_images))
        if math.isfinite(error):
            compared.append(submission)
            z_scores.append((submission.public - estimate.mean) / error if error else 0.0)
    if not compared:
        return
    outside = [(entry, z) for entry, z in zip(compared, z_scores, strict=True) if abs(z) >= BEYOND_CHANCE]
    for submission, z in outside:
        direction = "lower" if z < 0 else "higher"
        yield (
            f"Export {submission.number}: the public score {submission.public:.4f} is {direction} than the estimate "
            f"{submission.estimate:.4f} ± {submission.estimate_error:.4f} allows (z = {z:+z.1f})."
        )
    z_of_all = float(np.mean(z_scores)) / mean_error(compared)
    several = len(z_scores) > 1
    if z_of_all <= -BEYOND_CHANCE:
        yield (
            f"The public scores are lower than chance explains (z = {z_of_all:+z.1f}{' together' * several}). The test "
            "images may be harder than the training images, or differ from them: `search check` compares them."
        )
    elif not outside:
        yield (
            f"The public leaderboard agrees with the estimates (z = {min(z_scores):+z.1f}"
            f"{f' to {max(z_scores):+z.1f}' * several}; beyond ±{BEYOND_CHANCE:.0f} it would not)."
        )


def _hand_in(board: Board) -> Iterator[str]:
    """The two submissions to hand in; none once private scores are known, because then the competition is over."""
    if any(submission.private is not None for submission in board.submissions):
        return
    submissions = [submission for submission in without_copies(board) if submission.can_be_chosen]
    if len(submissions) < 2:
        if sum(submission.can_be_chosen for submission in board.submissions) > 1:
            yield "All exports that can be handed in predict the same labels."
        return
    beliefs = [belief_of(board, submission) for submission in submissions]
    scores = []
    for submission, belief in zip(submissions, beliefs, strict=True):
        # The private score counts. The draw of the private images adds noise of its own.
        known = math.isfinite(belief.error)
        noise = score_error(board, submission, belief.mean, board.private_images) if known else 0.0
        scores.append(Belief(mean=belief.mean, error=math.hypot(belief.error, noise)))
    correlations = correlation_matrix(submissions)
    chosen = propose(scores, correlations)
    if len(chosen) < 2:
        return
    first, second = chosen
    expected = expected_maximum(scores[first], scores[second], float(correlations[first, second]))

    def named(i: int) -> str:
        return f"export {submissions[i].number} ({beliefs[i].mean:.4f} ± {beliefs[i].error:.4f})"

    basis = "estimate and public score together" if board.public_images else "the estimates alone"
    differing = disagreement(submissions[first], submissions[second])
    if differing is None:
        gain = "Not all their labels are stored, so what the second one adds is unknown."
    else:
        # At most: of the images with different labels, both submissions may be wrong on some.
        gain = (
            f"They differ on {round(differing * board.test_images)} of {board.test_images} test images, so the better "
            f"of the two is expected to score at most {expected:.4f}."
        )
    yield f"To hand in, by {basis}: {named(first)} and {named(second)}. {gain}"
