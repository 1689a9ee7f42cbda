"""Advice about the number of workers per GPU."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.runtime.gpus.usage import BUSY, CORES, CORES_BUSY, RESERVED, TOTAL, WORKERS
from search.study_state.gpu_sharing import (
    OWN_MEMORY,
    USABLE,
    GpuUse,
    advise_workers_per_gpu,
    is_first_measured,
    sharing_lines,
    uses_of,
)
from storage.values import TrialRecord

IDLE = GpuUse(workers=1, busy=0.3, memory=3_000, memory_total=80_000, cores=16, cores_busy=2.5)
"""A small network on a large GPU."""
MACHINE: dict[str, Any] = {
    "device": "NVIDIA H100",
    BUSY: 0.3,
    WORKERS: 1,
    RESERVED: 3_000,
    TOTAL: 80_000,
    CORES: 16,
    CORES_BUSY: 2.5,
}

MEASURED = (BUSY, WORKERS, RESERVED, TOTAL, CORES, CORES_BUSY)

uses = st.builds(
    GpuUse,
    workers=st.integers(1, 8),
    busy=st.floats(0.0, 1.0),
    memory=st.floats(0.0, 100_000.0),
    memory_total=st.floats(1_000.0, 200_000.0),
    cores=st.integers(1, 128),
    cores_busy=st.floats(0.0, 64.0),
)


def record(**changes: Any) -> TrialRecord:
    """A stored trial with the machine `MACHINE`, changed; None: without that entry."""
    values: dict[str, Any] = dict.fromkeys(field.name for field in fields(TrialRecord))
    machine = {name: value for name, value in {**MACHINE, **changes}.items() if value is not None}
    return TrialRecord(**{**values, "machine": machine})


@pytest.mark.parametrize(
    ("changes", "advised"),
    [
        ({}, 3),
        ({"busy": 0.45}, 2),
        ({"busy": 0.79}, 2),
        ({"busy": 0.81}, 1),  # a second one would gain less than a quarter
        ({"busy": 0.02}, 5),
        ({"memory": 30_000}, 2),
        ({"memory": 36_000}, 1),
        ({"cores": 7}, 2),
        ({"cores": 3, "cores_busy": 0.5}, 1),  # a training and an augmenting process each
        ({"workers": 2, "busy": 0.6}, 3),
        ({"workers": 3, "busy": 0.95}, 3),
    ],
)
def test_advice_for_a_gpu(changes: dict[str, Any], advised: int) -> None:
    assert advise_workers_per_gpu(replace(IDLE, **changes)) == advised


@given(uses)
def test_advice_is_never_below_the_present_number_nor_beyond_memory_and_cores(use: GpuUse) -> None:
    advised = advise_workers_per_gpu(use)
    assert advised >= use.workers
    if advised > use.workers:
        assert advised * (use.memory + OWN_MEMORY) <= USABLE * use.memory_total
        assert advised * max(2.0, use.cores_busy) <= use.cores


@given(uses, st.sampled_from(["busy", "memory", "cores_busy"]), st.floats(0.0, 1.0))
def test_a_lighter_training_never_gets_less_advice(use: GpuUse, name: str, factor: float) -> None:
    lighter = replace(use, **{name: factor * getattr(use, name)})
    assert advise_workers_per_gpu(lighter) >= advise_workers_per_gpu(use)


@given(uses, st.sampled_from(["memory_total", "cores"]), st.floats(1.0, 4.0))
def test_a_larger_machine_never_gets_less_advice(use: GpuUse, name: str, factor: float) -> None:
    larger = replace(use, **{name: factor * getattr(use, name)})
    assert advise_workers_per_gpu(larger) >= advise_workers_per_gpu(use)


def test_the_largest_needs_of_the_trials_count_for_the_latest_number_of_workers() -> None:
    records = [
        record(**{WORKERS: 2, RESERVED: 70_000}),
        record(**{BUSY: 0.2, RESERVED: 9_000}),
        record(**{BUSY: 0.4, CORES_BUSY: 4.0}),
        record(device="NVIDIA T4", **{BUSY: 0.9}),
    ]
    found = uses_of(records)
    assert list(found) == ["NVIDIA H100", "NVIDIA T4"]
    use = found["NVIDIA H100"]
    assert (use.workers, use.busy, use.memory, use.cores_busy) == (1, pytest.approx(0.3), 9_000, 4.0)


def test_the_line_names_an_option_that_the_command_knows() -> None:
    (line,) = sharing_lines("aug_tuning", [record()])
    assert "NVIDIA H100: 1 worker per GPU keeps it busy 30% of the time" in line
    assert "`search start --study aug_tuning --workers-per-gpu 3` (on Ray: --gpus-per-worker 0.33)" in line
    assert "up to 3.0 times" in line


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({BUSY: 0.9}, "busy 90% of the time; another one would hardly pay"),
        ({RESERVED: 61_440, TOTAL: 81_920}, "would not fit: each reserves 60.0 of its 80.0 GiB"),
        ({CORES_BUSY: 9.0}, "would lack CPU cores: each keeps 9.0 of 16 busy"),
        ({WORKERS: 2, BUSY: 1.0}, "2 workers per GPU keep it busy 100% of the time; another one would hardly pay"),
    ],
)
def test_the_line_says_why_another_worker_would_not_help(changes: dict[str, Any], reason: str) -> None:
    (line,) = sharing_lines("aug_tuning", [record(**changes)])
    assert reason in line
    assert "--workers-per-gpu" not in line


@pytest.mark.parametrize(
    "changes",
    [
        {BUSY: None},
        {BUSY: "0.3"},
        {BUSY: 1.5},
        {BUSY: True},
        {WORKERS: 0},
        {WORKERS: 1.5},
        {RESERVED: None},
        {TOTAL: -1},
        {CORES_BUSY: float("nan")},
        {CORES: float("inf")},
        {CORES: []},
        *({name: 10**400} for name in (WORKERS, RESERVED, TOTAL, CORES, CORES_BUSY)),
        {TOTAL: 1e300, WORKERS: 10**300},
    ],
)
def test_trials_without_a_complete_measurement_give_no_advice(changes: dict[str, Any]) -> None:
    assert sharing_lines("aug_tuning", [record(**changes)]) == []
    assert not is_first_measured([record(**changes)], record(**changes).machine)


@given(st.fixed_dictionaries({name: st.one_of(st.integers(0), st.floats()) for name in MEASURED}))
def test_any_numbers_of_a_stored_document_give_a_line_or_none(machine: dict[str, Any]) -> None:
    assert len(sharing_lines("aug_tuning", [record(**machine)])) <= 1


def test_only_the_first_measured_trial_of_a_gpu_is_the_first() -> None:
    unmeasured, other = record(**{BUSY: None}), record(device="NVIDIA T4")
    assert is_first_measured([unmeasured, other, record()], MACHINE)
    assert not is_first_measured([record(), record()], MACHINE)
