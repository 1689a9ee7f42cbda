"""What is known of submissions and which two to hand in: properties, and what simulation says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search.statistics.submission_scores import (
    Belief,
    combine,
    expected_maximum,
    hit_correlation,
    paired_error,
    proportion_error,
    propose,
)

NOTHING = Belief(mean=0.3, error=math.inf)
beliefs = st.builds(Belief, mean=st.floats(0, 1), error=st.floats(1e-4, 1))
shares = st.floats(0.05, 0.95)
correlations = st.floats(-1, 1)


class TestErrors:
    def test_a_board_of_64_images(self) -> None:
        assert proportion_error(0.656, 64) == pytest.approx(0.0597, abs=5e-4)
        assert proportion_error(1.0, 64) > 0.02, "all right is not certain"
        assert proportion_error(0.0, 1) > 0

    def test_the_paired_error_covers_what_simulation_shows(self) -> None:
        """Two submissions of three classes, drawn on many boards of 50 images."""
        rng = np.random.default_rng(0)
        truth = rng.integers(0, 3, 40_000)
        first = np.where(rng.random(len(truth)) < 0.7, truth, rng.integers(0, 3, len(truth)))
        second = np.where(rng.random(len(truth)) < 0.15, rng.integers(0, 3, len(truth)), first)
        difference = (first == truth).astype(float) - (second == truth)
        boards = difference[rng.integers(0, len(truth), (4000, 50))].mean(axis=1)
        bound = paired_error(float((first != second).mean()), 50)
        assert boards.std() <= bound, "an upper bound"
        assert boards.std() > 0.8 * bound, "and a close one"
        unpaired = math.hypot(proportion_error(0.8, 50), proportion_error(0.75, 50))
        assert bound < 0.75 * unpaired

    @given(shares, shares, st.floats(0, 1))
    def test_correlation_is_one_only_for_copies(self, first: float, second: float, disagreement: float) -> None:
        found = hit_correlation(first, second, disagreement)
        assert -1 <= found <= 1
        assert found == pytest.approx(hit_correlation(second, first, disagreement))
        assert (found == 1) == (disagreement == 0)

    @given(shares, st.floats(0.001, 0.4), st.floats(1.01, 2))
    def test_more_disagreement_is_less_correlation(self, share: float, disagreement: float, more: float) -> None:
        assert hit_correlation(share, share, disagreement) >= hit_correlation(share, share, disagreement * more)

    def test_the_correlation_of_two_classes_is_that_of_the_hits(self) -> None:
        rng = np.random.default_rng(1)
        first = rng.random(100_000) < 0.8
        second = np.where(rng.random(len(first)) < 0.3, rng.random(len(first)) < 0.7, first)
        found = hit_correlation(first.mean(), second.mean(), float((first != second).mean()))
        assert found == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-6)


class TestCombining:
    @given(beliefs, beliefs)
    def test_symmetric_between_and_surer(self, first: Belief, second: Belief) -> None:
        both, turned = combine([first, second]), combine([second, first])
        assert both.mean == pytest.approx(turned.mean) and both.error == pytest.approx(turned.error)
        assert min(first.mean, second.mean) - 1e-9 <= both.mean <= max(first.mean, second.mean) + 1e-9
        assert both.error <= min(first.error, second.error), "more information never widens"

    @given(beliefs)
    def test_nothing_adds_nothing(self, belief: Belief) -> None:
        assert combine([belief, NOTHING]) == combine([belief])
        assert combine([belief]).mean == pytest.approx(belief.mean)
        assert combine([NOTHING]).error == combine([]).error == math.inf

    @given(beliefs, beliefs)
    def test_a_public_score_on_ever_fewer_images_stops_to_matter(self, estimate: Belief, public: Belief) -> None:
        far = combine([estimate, Belief(mean=public.mean, error=1e9)])
        assert far.mean == pytest.approx(estimate.mean) and far.error == pytest.approx(estimate.error)

    def test_by_precision(self) -> None:
        both = combine([Belief(mean=0.7, error=0.01), Belief(mean=0.6, error=0.02)])
        assert both.mean == pytest.approx((4 * 0.7 + 0.6) / 5)
        assert both.error == pytest.approx(0.01 / math.sqrt(1.25))
        certain = combine([Belief(mean=1.0, error=0.0), Belief(mean=0.6, error=0.02)])
        assert (certain.mean, certain.error) == (1.0, 0.0)


class TestBetterOfTwo:
    @given(beliefs, beliefs, correlations)
    def test_symmetric_and_at_least_the_better(self, first: Belief, second: Belief, correlation: float) -> None:
        found = expected_maximum(first, second, correlation)
        assert found == pytest.approx(expected_maximum(second, first, correlation), abs=1e-9)
        assert found >= max(first.mean, second.mean) - 1e-9

    @given(beliefs, beliefs, correlations, correlations)
    def test_different_errors_help(self, first: Belief, second: Belief, one: float, other: float) -> None:
        low, high = sorted((one, other))
        assert expected_maximum(first, second, low) >= expected_maximum(first, second, high) - 1e-9

    def test_against_simulation(self) -> None:
        first, second, correlation = Belief(mean=0.70, error=0.03), Belief(mean=0.68, error=0.05), 0.4
        cross = correlation * 0.03 * 0.05
        draws = np.random.default_rng(0).multivariate_normal([0.70, 0.68], [[9e-4, cross], [cross, 25e-4]], 400_000)
        assert expected_maximum(first, second, correlation) == pytest.approx(draws.max(axis=1).mean(), abs=3e-4)


class TestProposal:
    def test_few(self) -> None:
        assert propose([], np.zeros((0, 0))) == ()
        assert propose([NOTHING], np.eye(1)) == ()
        assert propose([NOTHING, Belief(mean=0.5, error=0.1)], np.eye(2)) == (1,)

    @given(st.lists(beliefs, min_size=2, max_size=6), st.floats(0, 0.99))
    def test_two_different_ones_and_the_best_first(self, scores: list[Belief], correlation: float) -> None:
        matrix = np.where(np.eye(len(scores)) > 0, 1.0, correlation)
        first, second = propose(scores, matrix)
        assert first != second
        assert scores[first].mean >= max(score.mean for score in scores) - 1e-9
        reached = [expected_maximum(scores[first], s, correlation) for i, s in enumerate(scores) if i != first]
        assert expected_maximum(scores[first], scores[second], correlation) >= max(reached) - 1e-9

    @given(st.integers(2, 5), beliefs, st.floats(-1, 0.99), st.permutations(range(6)))
    def test_copies_are_not_both_handed_in(
        self, copies: int, belief: Belief, correlation: float, order: list[int]
    ) -> None:
        """All have one mean and error; one of them is another submission, somewhere."""
        assume(copies < 6)
        positions = [i for i in order if i <= copies]
        other = positions[0]
        scores = [belief] * (copies + 1)
        matrix = np.ones((copies + 1, copies + 1))
        matrix[other, :] = matrix[:, other] = correlation
        matrix[other, other] = 1
        assert other in propose(scores, matrix)

    def test_a_worse_but_different_one_is_better_than_a_copy(self) -> None:
        scores = [Belief(mean=0.7, error=0.05), Belief(mean=0.699, error=0.05), Belief(mean=0.68, error=0.05)]
        matrix = np.array([[1, 1, 0.6], [1, 1, 0.6], [0.6, 0.6, 1]])
        assert propose(scores, matrix) == (0, 2)
        assert propose(scores[:2], matrix[:2, :2]) == (0, 1), "unless there is nothing else"
