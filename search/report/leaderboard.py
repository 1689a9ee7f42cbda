"""What a competition's board says of submissions, in words: which differences mean anything, whether the board agrees
with the estimates, which two to hand in. Pure functions; the arithmetic is `search.statistics.submission_scores`.
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
)
from trainer.evaluation.metrics import METRICS


def board_lines(board: Board) -> list[str]:
    """Everything that the recorded scores tell, in lines; none where none is recorded."""
    if all(one.public is None and one.private is None for one in board.submissions):
        return []
    return [*_public_lines(board), *_differences(board, "private", board.private_images), *_hand_in(board)]


def points(metric: str, difference: float, *, signed: bool = False) -> str:
    """A difference of scores for people: in points where the metric is a share, else as it is."""
    sign = "+" if signed else ""
    return f"{100 * difference:{sign}.1f} points" if METRICS[metric].is_share else f"{difference:{sign}.4f}"


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
        estimate = estimate_of(board, one)
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
    together = float(np.mean(z)) / mean_error(judged)
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
    correlations = correlation_matrix(board.submissions)
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
