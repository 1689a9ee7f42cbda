"""Plans of fleets, and the errors that appear before a worker starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.cli import early_checks
from search.engines.interface import WorkerCommand
from search.engines.plan import ENGINES, Workers, plan_fleet
from search.runtime.gpus.listing import DeviceError, Gpu
from search.runtime.gpus.placement import Placement


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
    assert [placement.cores for placement in placements] == [8], "processes that augment images are not threads"


@pytest.fixture
def old_gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """The only GPU of the host, which torch cannot use."""
    gpu = Gpu(index=0, uuid="GPU-a", name="V100", memory_used=0, memory_total=16_000)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("search.engines.plan.list_gpus", lambda: (gpu,))
    monkeypatch.setattr("search.engines.plan.unusable_gpus", lambda gpus: {gpu.uuid: "torch is old" for gpu in gpus})
    return gpu


def test_a_gpu_that_torch_cannot_use_is_refused_before_a_worker_starts(
    old_gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    for workers in (None, 2):
        with pytest.raises(DeviceError, match=r"^GPU 0 \(V100\): torch is old; --gpus none trains on the CPU$"):
            plan_fleet(Workers(home=Path("h"), workers=workers))
    assert plan_fleet(Workers(home=Path("h"), gpus=[])).where == "1 worker on the CPU"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert plan_fleet(Workers(home=Path("h"), workers=2)).where == "2 workers on the CPU"


def test_a_driver_that_fails_is_refused_unless_the_cpu_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> tuple[Gpu, ...]:
        raise DeviceError("the NVIDIA driver fails: Unknown Error")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("search.engines.plan.list_gpus", failing)
    with pytest.raises(DeviceError, match=r"Unknown Error\. --gpus none trains on the CPU"):
        plan_fleet(Workers(home=Path("h")))
    placements: list[Placement] = []
    monkeypatch.setattr("search.engines.plan.LocalFleet", lambda command, placement, logs: placements.append(placement))
    planned = plan_fleet(Workers(home=Path("h"), gpus=[]))
    assert planned.make is not None
    planned.make(WorkerCommand(study="s", data=Path("d"), storage_url="sqlite:///x.db", home=Path("h")), Path("logs"))
    assert placements[0].hide_gpus, "a driver that works again must not change the device"
