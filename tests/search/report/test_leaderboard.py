"""The sentences about leaderboard scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from search.report.exports.leaderboard import board_lines, points
from search.statistics.submission_scores import Board, Submission, belief_of, disagreement

TRAIN, TEST = 654, 400


def labels(changed: float, seed: int = 0) -> NDArray[np.int64]:
    """Labels of four classes, ``(TEST,)``; the share ``changed`` of them differs from ``labels(0)``."""
    rng = np.random.default_rng(0)
    made = rng.integers(0, 4, TEST)
    other = np.random.default_rng(seed).permutation(TEST)[: round(changed * TEST)]
    made[other] = (made[other] + 1) % 4
    return made


def submission(number: int, estimate: float | None = 0.7, **changes: object) -> Submission:
    error = None if estimate is None else 0.018
    blank = Submission(
        number=number, estimate=estimate, estimate_error=error, public=None, private=None, labels=labels(0)
    )
    return replace(blank, **changes)  # type: ignore[arg-type]


def board(*submissions: Submission, public_images: int | None = 64, metric: str = "accuracy") -> Board:
    return Board(
        metric=metric, train_images=TRAIN, test_images=TEST, public_images=public_images, submissions=submissions
    )


def text(*submissions: Submission, public_images: int | None = 64, metric: str = "accuracy") -> str:
    return "\n".join(board_lines(board(*submissions, public_images=public_images, metric=metric), "colours"))


def test_without_scores_there_are_no_sentences() -> None:
    assert board_lines(board(submission(1), submission(2)), "colours") == []


def test_the_standard_error_of_a_public_score() -> None:
    said = text(submission(1, public=0.656))
    assert "64 images" in said and "6.0 points" in said
    assert "agrees" in said and "hand in" not in said


def test_without_the_number_of_public_images_only_the_option_is_named() -> None:
    said = text(submission(1, public=0.656), submission(2, public=0.3, labels=labels(0.3)), public_images=None)
    assert "`search submissions --study colours --public-images N`" in said
    assert "points" not in said and "against" not in said
    assert "by the estimates alone" in said


def test_differences_are_paired_if_both_have_labels() -> None:
    pair = (submission(3, public=0.656), submission(4, public=0.719, labels=labels(0.02)))
    assert disagreement(*pair) == pytest.approx(0.02)
    said = text(*pair)
    assert "Export 4 against 3: +6.3 points public (± 1.8 points, they differ on 2% of the test images)" in said
    assert "more than chance explains" in said
    unpaired = text(*(replace(one, labels=None) for one in pair))
    assert "(± 8.3 points): within the noise" in unpaired
    assert "no difference" in text(submission(1, public=0.5), submission(2, public=0.5))


def test_no_gain_of_the_second_submission_is_claimed_without_its_labels() -> None:
    pair = (submission(1, public=0.6), submission(2, public=0.7, labels=labels(0.3)))
    assert "They differ on 120 of 400 test images, so the better of the two is expected to score at most" in text(*pair)
    for unknown in (0, 1):
        said = text(*(replace(one, labels=None) if i == unknown else one for i, one in enumerate(pair)))
        assert "hand in" in said and "expected to score" not in said and "unknown" in said


def test_other_metrics_scale_the_error_of_the_estimate() -> None:
    pair = (submission(1, public=0.6), submission(2, public=0.7, labels=labels(0.02)))
    said = text(*pair, metric="macro_f1")
    assert "64 images has a standard error of 5.8 points" in said, "0.018 x sqrt(654 / 64)"
    assert "(± 8.1 points, they differ on 2%" in said
    assert "error of 0.0575." in text(submission(1, -0.9, public=-0.95), metric="log_loss"), "no share, no points"
    assert "standard error of this difference is unknown" in text(
        *(replace(one, estimate_error=None) for one in pair), metric="macro_f1"
    )
    assert points("qwk", -0.1, signed=True) == "-0.1000"


def test_scores_that_contradict_the_estimate() -> None:
    low = text(submission(1, public=0.45))
    assert "Export 1: the public score 0.4500 is lower than the estimate 0.7000 ± 0.0180 allows" in low
    assert "`search check`" in low
    high = text(submission(1, public=0.9))
    assert "is higher than" in high and "search check" not in high and "agrees" not in high


def test_scores_may_be_too_low_together_though_none_is_alone() -> None:
    """Four different submissions, each 1.4 standard errors low; four copies count as one."""
    apart = [submission(i, public=0.61, labels=np.roll(labels(0), 37 * i)) for i in range(4)]
    said = text(*apart)
    assert "lower than chance explains" in said and "together" in said and "allows" not in said
    copies = text(*(submission(i, public=0.61) for i in range(4)))
    assert "chance explains" not in copies and "agrees" in copies


def test_estimate_and_public_score_are_weighted_by_their_precision() -> None:
    one = submission(1, public=0.5)
    small, large = (belief_of(board(one, public_images=m), one) for m in (16, 400))
    alone = belief_of(board(one, public_images=None), one)
    assert alone.mean == pytest.approx(0.7)
    assert 0.7 > small.mean > 0.68 > large.mean > 0.5
    assert large.error < small.error < alone.error
    blind = submission(2, None, public=0.5)
    assert belief_of(board(blind), blind).mean == pytest.approx(0.5), "a model of all images has only the public score"
    perfect = submission(3, 1.0, estimate_error=0.0, public=0.5)
    assert belief_of(board(perfect, public_images=400), perfect).error > 0


def test_the_two_submissions_to_hand_in() -> None:
    best = submission(1, 0.72, public=0.66)
    copy = submission(2, 0.72, public=0.66)
    other = submission(3, 0.71, labels=labels(0.3, seed=1))
    poor = submission(4, 0.40, labels=labels(0.5, seed=2))
    said = text(best, copy, other, poor)
    assert "To hand in, by estimate and public score together: export 3 (0.7100 ± 0.0180)" in said or "export 2" in said
    (line,) = [line for line in said.splitlines() if line.startswith("To hand in")]
    assert "export 3 (" in line and "export 4 (" not in line
    assert ("export 1 (" in line) != ("export 2 (" in line), "no submission together with its copy"
    assert "All exports that can be handed in predict the same labels" in text(best, copy)


def test_a_public_score_is_that_of_every_copy() -> None:
    scored, copy = submission(1, 0.72, public=0.5), submission(2, 0.72)
    other, third = submission(3, 0.68, labels=labels(0.3, seed=1)), submission(4, 0.67, labels=labels(0.3, seed=2))
    (line,) = [line for line in text(scored, copy, other, third).splitlines() if line.startswith("To hand in")]
    assert "export 1 (0.7200" not in line and "export 2 (" not in line, "the copy has no better score"
    assert ("export 3 (" in line) or ("export 4 (" in line)
    unscored = text(replace(scored, public=None), replace(copy, public=0.5), other, third)
    lines = [each for each in unscored.splitlines() if each.startswith("To hand in")]
    assert lines == [line.replace("export 1 (", "export 2 (")]


def test_of_copies_the_one_that_the_competition_has_is_named() -> None:
    scored, copy = submission(1, 0.72, public=0.72), submission(2, 0.72)
    other = submission(3, 0.68, labels=labels(0.3, seed=1))
    assert "together: export 1 (" in text(scored, copy, other)
    unscored = replace(scored, public=None)
    assert "together: export 2 (" in text(unscored, replace(copy, public=0.72), other)
    third = replace(other, public=0.68)
    assert "together: export 2 (" in text(unscored, copy, third), "the latest, if none of them has a score"


def test_an_overwritten_export_is_handed_in_only_if_the_competition_has_it() -> None:
    best, other = submission(1, 0.72), submission(2, 0.71, labels=labels(0.3, seed=1))
    third = submission(3, 0.65, public=0.65, labels=labels(0.3, seed=2))
    assert "hand in, by estimate and public score together: export 1 (" in text(best, other, third)
    said = text(replace(best, is_overwritten=True), other, third)
    assert "together: export 2 (" in said and "and export 3 (" in said and "export 1 (" not in said
    assert "together: export 1 (" in text(replace(best, is_overwritten=True, public=0.72), other, third)
    assert "hand in" not in text(replace(best, is_overwritten=True), third)


def test_known_private_scores_are_compared_and_end_the_proposal() -> None:
    said = text(submission(1, public=0.7, private=0.65), submission(2, private=0.66, labels=labels(0.3)))
    assert "Export 2 against 1: +1.0 points private (± 3.0 points, they differ on 30% of the test images)" in said
    assert "hand in" not in said
