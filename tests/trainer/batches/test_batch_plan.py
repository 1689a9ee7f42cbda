"""The plan of an epoch: each image once, or balanced classes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.batches.batch_plan import BatchPlan, Indices, batches_per_epoch, plan_epoch

label_lists = st.lists(st.integers(0, 4), min_size=2, max_size=120)


def plan(y: Indices, candidates: Indices | None = None, **changes: float) -> tuple[BatchPlan, ...]:
    settings_ = {"batch_size": 8, "balance": 0.0, "seed": 0, "fold": 0, "epoch": 1, **changes}
    return plan_epoch(np.arange(len(y)) if candidates is None else candidates, y, **settings_)


def rows_of(plans: tuple[BatchPlan, ...]) -> list[int]:
    return [int(row) for batch in plans for row in batch.indices]


@given(labels=label_lists, batch_size=st.integers(2, 40), seed=st.integers(0, 1000), epoch=st.integers(1, 9))
def test_without_balance_each_image_comes_once(labels: list[int], batch_size: int, seed: int, epoch: int) -> None:
    y = np.array(labels, dtype=np.int64)
    candidates = np.arange(0, len(y), 2) if len(y) > 3 else np.arange(len(y))
    plans = plan(y, candidates, batch_size=batch_size, seed=seed, epoch=epoch)
    rows = rows_of(plans)
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(candidates.tolist())
    left_out = len(candidates) - len(rows)
    assert left_out == (1 if len(candidates) % batch_size == 1 else 0)
    assert all(2 <= len(batch.indices) <= batch_size for batch in plans)
    assert len(plans) == batches_per_epoch(len(candidates), batch_size)
    assert all(len(batch.keys) == len(batch.indices) for batch in plans)


@given(labels=label_lists, balance=st.floats(0.0, 1.0), seed=st.integers(0, 1000))
def test_balance_meets_each_class_to_within_one_image(labels: list[int], balance: float, seed: int) -> None:
    y = np.array(labels, dtype=np.int64)
    rows = rows_of(plan(y, balance=balance, seed=seed, batch_size=len(y)))
    counts = np.bincount(y, minlength=5).astype(float)
    wanted = np.where(counts > 0, np.maximum(counts, 1) ** (1 - balance), 0)
    wanted *= len(y) / wanted.sum()
    drawn = np.bincount(y[rows], minlength=5)
    assert np.all(np.abs(drawn - wanted) < 1 + 1e-6)
    for label in np.unique(y):
        times = np.bincount(rows, minlength=len(y))[y == label]
        assert times.max() - times.min() <= 1


def test_every_image_of_a_large_class_gets_its_turn() -> None:
    y = np.array([0] * 90 + [1] * 10)
    seen = {row for epoch in range(1, 12) for row in rows_of(plan(y, balance=1.0, epoch=epoch))}
    assert seen == set(range(100))


@given(labels=label_lists, seed=st.integers(0, 1000), balance=st.sampled_from([0.0, 0.5]))
def test_row_weights_decide_how_often_an_image_comes(labels: list[int], seed: int, balance: float) -> None:
    y = np.array(labels, dtype=np.int64)
    weights = np.where(np.arange(len(y)) % 3 == 0, 0.5, 1.0).astype(np.float32)
    times = np.zeros(len(y))
    for epoch in range(1, 41):
        plans = plan_epoch(
            np.arange(len(y)),
            y,
            batch_size=len(y),
            balance=balance,
            seed=seed,
            fold=0,
            epoch=epoch,
            row_weights=weights,
        )
        times += np.bincount(rows_of(plans), minlength=len(y))
        assert len(rows_of(plans)) == len(y)
    for label in np.unique(y):
        light, full = times[(y == label) & (weights < 1.0)], times[(y == label) & (weights == 1.0)]
        if len(light) * len(full) > 100:
            assert abs(light.mean() / full.mean() - 0.5) < 0.1


def test_equal_row_weights_change_nothing() -> None:
    y = np.arange(50) % 3
    ones = np.ones(50, np.float32)
    with_weights = plan_epoch(np.arange(50), y, batch_size=8, balance=0.5, seed=0, fold=0, epoch=1, row_weights=ones)
    assert rows_of(with_weights) == rows_of(plan(y, balance=0.5))


def test_coordinates_decide_the_order() -> None:
    y = np.arange(50) % 3
    same = rows_of(plan(y)) == rows_of(plan(y))
    others = [rows_of(plan(y, **change)) != rows_of(plan(y)) for change in ({"seed": 1}, {"fold": 1}, {"epoch": 2})]
    assert same
    assert all(others)
    keys = {
        key for epoch in (1, 2) for fold in (0, 1) for batch in plan(y, epoch=epoch, fold=fold) for key in batch.keys
    }
    assert len(keys) == 200


def test_the_global_generator_is_left_alone() -> None:
    np.random.seed(3)
    before = np.random.get_state()[1].tobytes()
    plan(np.arange(50) % 3, balance=0.7)
    assert np.random.get_state()[1].tobytes() == before
