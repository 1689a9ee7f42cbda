"""Plans of fleets, and the errors that appear before a worker starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.cli import early_checks
from search.engines.interface import WorkerCommand
from search.engines.plan import ENGINES, Workers, plan_fleet
from search.runtime.devices import DeviceError, Placement


def test_the_early_check_knows_exactly_the_engines() -> None:
    assert set(early_checks.ENGINES) == set(ENGINES)


def test_zero_workers_need_no_fleet() -> None:
    planned = plan_fleet(Workers(home=Path("h"), workers=0))
    assert (planned.make, planned.where) == (None, "no workers of its own")


def test_local_workers_are_counted_and_bad_requests_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.engines.plan.list_gpus", tuple)
    assert plan_fleet(Workers(home=Path("h"), workers=3)).where == "3 workers on the CPU"
    with pytest.raises(DeviceError, match="--workers-per-gpu 2 needs a GPU"):
        plan_fleet(Workers(home=Path("h"), per_gpu=2))


@pytest.mark.parametrize(("limit", "threads"), [("1", 1), ("3,1", 3), ("64", 8), ("", 8), ("0", 8), ("many", 8)])
def test_omp_num_threads_limits_the_threads(monkeypatch: pytest.MonkeyPatch, limit: str, threads: int) -> None:
    placements: list[Placement] = []
    monkeypatch.setattr("search.engines.plan.list_gpus", tuple)
    monkeypatch.setattr("search.engines.plan.usable_cores", lambda: 16)
    monkeypatch.setattr("search.engines.plan.LocalFleet", lambda command, placement, logs: placements.append(placement))
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    planned = plan_fleet(Workers(home=Path("h"), workers=2))
    assert planned.make is not None
    planned.make(WorkerCommand(study="s", data=Path("d"), storage_url="sqlite:///x.db", home=Path("h")), Path("logs"))
    assert [placement.threads for placement in placements] == [threads]
