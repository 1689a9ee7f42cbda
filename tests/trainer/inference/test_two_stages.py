"""A blend with a second stage: it shares the probability of each group among its classes, and changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainer.inference.blend import Blend, shared_within

CLASSES = 6
GROUPS = st.permutations(range(CLASSES)).flatmap(
    lambda order: st.sampled_from([(tuple(order[:2]),), (tuple(order[:2]), tuple(order[2:5])), (tuple(order[:4]),)])
)
LOGITS = arrays(np.float64, (4, CLASSES), elements=st.floats(-30.0, 30.0))


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


@given(first=LOGITS, second=LOGITS, groups=GROUPS)
def test_sums_and_other_classes_stay(
    first: np.ndarray, second: np.ndarray, groups: tuple[tuple[int, ...], ...]
) -> None:
    first, second = softmax(first), softmax(second)
    shared = shared_within(first, second, groups)
    others = [label for label in range(CLASSES) if all(label not in group for group in groups)]
    np.testing.assert_array_equal(shared[:, others], first[:, others])
    for group in groups:
        classes = list(group)
        np.testing.assert_allclose(shared[:, classes].sum(axis=1), first[:, classes].sum(axis=1), rtol=1e-12)
        likely = second[:, classes] > 1e-6
        ratio = shared[:, classes] / np.maximum(second[:, classes], 1e-30)
        # Within a group, probabilities are in proportion to those of the second stage.
        for row, ok in zip(ratio, likely, strict=True):
            np.testing.assert_allclose(row[ok], row[ok][:1].repeat(ok.sum()), rtol=1e-6)


def test_a_second_stage_that_never_saw_the_classes_leaves_no_hole() -> None:
    """All shares are 0 where another class has all the probability: the group is shared evenly."""
    first, second = np.array([[0.3, 0.3, 0.4]]), np.array([[0.0, 0.0, 1.0]])
    np.testing.assert_allclose(shared_within(first, second, ((0, 1),)), [[0.3, 0.3, 0.4]])


def test_the_blend_shares_the_mean_of_the_first_stage() -> None:
    members = np.array([[[0.4, 0.2, 0.4]], [[0.2, 0.4, 0.4]], [[0.9, 0.1, 0.0]]], np.float32)
    blend = Blend(weights=(0.5, 0.5, 0.0), second_stage=((0, 1),))
    np.testing.assert_allclose(blend.probabilities(members), [[0.54, 0.06, 0.4]], rtol=1e-6)
    assert blend.labels(blend.probabilities(members)).tolist() == [0]
    halved = Blend(weights=(0.5, 0.5, 0.0), second_stage=((0, 1),), temperature=2.0)
    roots = np.sqrt([0.54, 0.06, 0.4])
    np.testing.assert_allclose(halved.probabilities(members)[0], roots / roots.sum(), rtol=1e-6)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_without_a_second_stage_a_member_of_weight_0_has_no_effect(order: tuple[int, ...]) -> None:
    members = np.array([[[0.4, 0.2, 0.4]], [[0.9, 0.1, 0.0]]], np.float32)[:, :, list(order)]
    np.testing.assert_array_equal(Blend(weights=(1.0, 0.0)).probabilities(members), members[0].astype(np.float64))
