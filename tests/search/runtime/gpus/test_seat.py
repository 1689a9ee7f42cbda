"""The GPU and the CPU cores that a worker takes of its host."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

import search.runtime.gpus.seat
from search.runtime.errors import EXIT_DEVICE, EXIT_MISTAKE
from search.runtime.failures import WorkerLeaves
from search.runtime.gpus.listing import DeviceError, Gpu
from search.runtime.gpus.seat import check_cuda, claimed_gpu, cores_here, gpu_share
from search.runtime.gpus.usage import GpuShare
from search.runtime.home import Home

VARIABLES = ("CUDA_VISIBLE_DEVICES", "RETABLE_PARENT", "RETABLE_DEVICE", "RETABLE_CORES", "RETABLE_GPU_SHARE")


def gpu(index: int, used: int = 0) -> Gpu:
    return Gpu(index=index, uuid=f"GPU-{index}", name="H200", memory_used=used, memory_total=100_000)


class Host:
    """A fake host: its GPUs and what torch says about them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpus: Sequence[Gpu] = ()
        self.no_cuda = self.no_architecture = ""
        for name in VARIABLES:
            # Set and removed, so that what a worker writes into the environment is undone after the test.
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        monkeypatch.setattr(search.runtime.gpus.seat, "list_gpus", lambda: self.gpus)
        monkeypatch.setattr(search.runtime.gpus.seat, "no_cuda", lambda: self.no_cuda)
        monkeypatch.setattr(search.runtime.gpus.seat, "no_architecture", lambda index: self.no_architecture)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def claims(home: Home, count: int, monkeypatch: pytest.MonkeyPatch, visible: str | None = None) -> list[str]:
    """The GPUs that workers started by hand claim one after another, as if each was a process of its own."""
    found = []
    with ExitStack() as stack:
        for _ in range(count):
            if visible is None:
                monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            else:
                monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
            stack.enter_context(claimed_gpu(home))
            found.append(os.environ["CUDA_VISIBLE_DEVICES"])
    return found


def test_workers_started_by_hand_spread_over_the_free_gpus(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(root=tmp_path)
    host.gpus = (gpu(0, used=5_000), gpu(1, used=60_000), gpu(2), gpu(3, used=9))
    assert claims(home, 5, monkeypatch) == ["GPU-2", "GPU-3", "GPU-0", "GPU-2", "GPU-3"]
    assert claims(home, 1, monkeypatch) == ["GPU-2"], "the claims ended with their workers"
    assert claims(home, 3, monkeypatch, visible="0,1") == ["GPU-0", "GPU-1", "GPU-0"]
    assert claims(home, 2, monkeypatch, visible="1") == ["GPU-1", "GPU-1"], "a named GPU may be occupied"


def test_a_gpu_that_only_workers_occupy_is_shared(host: Host, tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    host.gpus = (gpu(0),)
    with claimed_gpu(home):
        host.gpus = (gpu(0, used=70_000),)
        os.environ.pop("CUDA_VISIBLE_DEVICES")
        with claimed_gpu(home) as gpus:
            assert (gpus, os.environ["CUDA_VISIBLE_DEVICES"]) == (1, "GPU-0")
    os.environ.pop("CUDA_VISIBLE_DEVICES")
    with pytest.raises(DeviceError, match=r"other programs occupy every GPU \(GPU 0 \(H200\): 70000 of 100000 MiB\)"):
        claimed_gpu(home).__enter__()


def test_a_worker_of_an_engine_keeps_its_seat_and_claims_it(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(root=tmp_path)
    host.gpus = (gpu(0), gpu(1, used=60_000))
    monkeypatch.setenv("RETABLE_PARENT", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1,GPU-0")
    with claimed_gpu(home) as gpus:
        assert (gpus, os.environ["CUDA_VISIBLE_DEVICES"]) == (2, "GPU-1,GPU-0")
        monkeypatch.delenv("RETABLE_PARENT")
        with claimed_gpu(home):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-0", "GPU 1 has a worker"


@pytest.mark.parametrize("visible", ["", "-1"])
def test_hidden_gpus_are_not_claimed(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    host.gpus = (gpu(0),)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with claimed_gpu(Home(root=tmp_path)) as gpus:
        assert (gpus, os.environ["CUDA_VISIBLE_DEVICES"]) == (0, visible)
    assert not list(tmp_path.iterdir())


def test_a_host_without_gpus_changes_nothing(host: Host, tmp_path: Path) -> None:
    with claimed_gpu(Home(root=tmp_path)) as gpus:
        assert gpus == 0 and "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_driver_that_fails_ends_a_worker_unless_a_gpu_is_named(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing() -> Sequence[Gpu]:
        raise DeviceError("the NVIDIA driver fails: Unknown Error")

    monkeypatch.setattr(search.runtime.gpus.seat, "list_gpus", failing)
    with pytest.raises(DeviceError, match=r"Unknown Error\. CUDA_VISIBLE_DEVICES= in front"):
        claimed_gpu(Home(root=tmp_path)).__enter__()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-0")
    with claimed_gpu(Home(root=tmp_path)) as gpus:
        assert gpus == 0, "CUDA may still start; `check_cuda` decides"
    assert "Unknown Error" in caplog.text


@pytest.mark.slow
def test_the_claim_of_a_killed_worker_ends(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.gpus = (gpu(0), gpu(1, used=9))
    program = (
        "import os, search.runtime.gpus.seat as seat\n"
        "from search.runtime.gpus.listing import Gpu\n"
        "from search.runtime.home import Home\n"
        "from pathlib import Path\n"
        "seat.list_gpus = lambda: (Gpu(index=0, uuid='GPU-0', name='H200', memory_used=0),)\n"
        f"with seat.claimed_gpu(Home(root=Path({str(tmp_path)!r}))):\n"
        "    print('claimed', flush=True)\n"
        "    input()\n"
    )
    home = Home(root=tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "claimed\n"
        assert claims(home, 1, monkeypatch) == ["GPU-1"]
        other.kill()
    assert claims(home, 1, monkeypatch) == ["GPU-0"]


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("torch 2.15.0 is a build without CUDA", EXIT_MISTAKE),
        ("torch cannot start: The NVIDIA driver on your system is too old (found version 11040).", EXIT_MISTAKE),
        ("torch cannot start: CUDA unknown error - this may be due to an incorrect environment", EXIT_DEVICE),
    ],
)
def test_a_worker_with_a_gpu_that_torch_cannot_use_leaves(
    host: Host, monkeypatch: pytest.MonkeyPatch, reason: str, code: int
) -> None:
    host.no_cuda = reason
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-0")
    with pytest.raises(WorkerLeaves, match="CUDA_VISIBLE_DEVICES= in front of the command trains on the CPU") as caught:
        check_cuda()
    assert reason in str(caught.value) and caught.value.exit_code == code
    monkeypatch.setenv("RETABLE_PARENT", "1")
    monkeypatch.setenv("RETABLE_DEVICE", "cuda")
    with pytest.raises(WorkerLeaves) as caught:
        check_cuda()
    assert str(caught.value) == f"this worker's GPU (GPU-0) cannot be used: {reason}"


def test_a_worker_whose_gpu_is_too_old_for_torch_leaves(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.no_architecture = "torch 2.15.0 has no code for compute capability 7.0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(WorkerLeaves, match=r"GPU \(0\) cannot be used: torch 2.15.0 has no code") as caught:
        check_cuda()
    assert caught.value.exit_code == EXIT_MISTAKE


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"CUDA_VISIBLE_DEVICES": ""},
        {"CUDA_VISIBLE_DEVICES": "-1"},
        # The engine has seated it on the CPU of a host whose users export the variable everywhere.
        {"CUDA_VISIBLE_DEVICES": "0", "RETABLE_PARENT": "1"},
    ],
)
def test_a_worker_without_a_gpu_trains_on_the_cpu(
    host: Host, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    host.no_cuda = "torch 2.15.0 is a build without CUDA"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    check_cuda()


@pytest.mark.parametrize(
    ("usable", "host_gpus", "cores"),
    [
        (128, 8, 16),
        (128, 1, 128),
        (128, 0, 128),
        (8, 8, 8),  # a job of Slurm: one GPU of eight, and its own part of the cores
        (64, 8, 16),  # a container with all GPUs and half of the cores
        (2, 200, 1),
    ],
)
def test_the_cores_of_a_host_are_divided_by_its_gpus(
    host: Host, monkeypatch: pytest.MonkeyPatch, usable: int, host_gpus: int, cores: int
) -> None:
    monkeypatch.setattr(search.runtime.gpus.seat, "usable_cores", lambda: usable)
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    assert cores_here(host_gpus) == cores
    monkeypatch.setenv("RETABLE_CORES", "5")
    assert cores_here(host_gpus) == cores, "left from another program"
    monkeypatch.setenv("RETABLE_PARENT", "1")
    assert cores_here(host_gpus) == 5


def test_a_worker_knows_how_many_share_its_gpu(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(root=tmp_path)
    host.gpus = (gpu(0),)
    with ExitStack() as stack:
        for workers in (1, 2, 3):
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            stack.enter_context(claimed_gpu(home))
            assert gpu_share(home, 8) == GpuShare(workers=workers, cores=8)
    monkeypatch.setenv("RETABLE_PARENT", "1")
    assert gpu_share(home, 8) == GpuShare(workers=1, cores=8)
    monkeypatch.setenv("RETABLE_GPU_SHARE", "0.3333")
    assert gpu_share(home, 8) == GpuShare(workers=3, cores=24)
