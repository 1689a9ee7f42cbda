"""Scores and confusions of classes, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from trainer.evaluation.class_scores import Confusion, class_scores, confusions
from trainer.evaluation.confusion.confusion_matrix import confusion_matrix

LABELS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@given(pairs=LABELS)
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    y, predicted = np.array(pairs).T
    found = class_scores(confusion_matrix(y, predicted, 5))
    expected = precision_recall_fscore_support(y, predicted, labels=range(5), zero_division=np.nan)
    for i, score in enumerate(found):
        assert score.images == expected[3][i]
        for own, theirs in ((score.precision, expected[0][i]), (score.recall, expected[1][i])):
            assert (own is None) == bool(np.isnan(theirs))
            assert own is None or own == pytest.approx(theirs)
        assert score.f1 is None or score.f1 == pytest.approx(0.0 if np.isnan(expected[2][i]) else expected[2][i])


def test_confusions_are_sorted_by_number_and_share() -> None:
    counts = np.array([[8, 2, 0], [5, 4, 1], [2, 0, 2]])
    assert confusions(counts) == [
        Confusion(true=1, predicted=0, count=5, images=10),
        Confusion(true=2, predicted=0, count=2, images=4),
        Confusion(true=0, predicted=1, count=2, images=10),
        Confusion(true=1, predicted=2, count=1, images=10),
    ]


@given(pairs=LABELS)
def test_confusions_are_all_errors(pairs: list[tuple[int, int]]) -> None:
    y, predicted = np.array(pairs).T
    assert sum(c.count for c in confusions(confusion_matrix(y, predicted, 5))) == int((y != predicted).sum())
