"""Temperature scaling: what it changes, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import fit_temperature, scale_temperature


@pytest.fixture
def honest() -> tuple[np.ndarray, np.ndarray]:
    """2,000 images whose labels were drawn from the probabilities themselves."""
    generator = np.random.default_rng(0)
    proba = generator.dirichlet(np.full(5, 0.7), 2000)
    y = np.array([generator.choice(5, p=row) for row in proba], dtype=np.int64)
    return y, proba


@pytest.mark.parametrize("distorted", [0.3, 1.0, 3.0])
def test_the_temperature_undoes_a_distortion(honest: tuple[np.ndarray, np.ndarray], distorted: float) -> None:
    y, proba = honest
    assert fit_temperature(Targets(y), scale_temperature(proba, distorted)) == pytest.approx(1.0 / distorted, rel=0.1)


@given(st.floats(0.1, 10.0), st.integers(0, 10_000))
def test_rows_stay_probabilities_in_the_same_order(temperature: float, seed: int) -> None:
    proba = np.random.default_rng(seed).dirichlet(np.ones(4), 20)
    scaled = scale_temperature(proba, temperature)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(scaled.argmax(axis=1), proba.argmax(axis=1))


def test_nothing_to_fit_is_said() -> None:
    with pytest.raises(ValueError, match=r"shape \(0, 3\) by 0 labels"):
        fit_temperature(Targets(np.zeros(0, dtype=np.int64)), np.zeros((0, 3)))
