"""GPUs of a host, and their assignment to local workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from search.runtime.devices import DeviceError, Gpu, list_gpus, place_workers
from trainer.common.environment import usable_cores

FREE = Gpu(index=0, uuid="GPU-aaa", name="H200", memory_used=3)
TAKEN = Gpu(index=1, uuid="GPU-bbb", name="H200", memory_used=60_000)
ALSO_FREE = Gpu(index=2, uuid="GPU-ccc", name="H200", memory_used=0)
ALL = (FREE, TAKEN, ALSO_FREE)


class FakeDriver:
    """A fake NVIDIA driver behind `pynvml`. GPUs are (UUID, name, bytes in use or the error when queried)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *gpus: tuple[str, str, int | type[Exception]]) -> None:
        self.gpus = gpus
        self.open = 0
        self.lost: set[int] = set()
        self.old = False
        replacements = {
            "nvmlInit": lambda: self._count(1),
            "nvmlShutdown": lambda: self._count(-1),
            "nvmlDeviceGetCount": lambda: len(self.gpus),
            "nvmlDeviceGetHandleByIndex": self._handle,
            "nvmlDeviceGetUUID": lambda index: self.gpus[index][0],
            "nvmlDeviceGetName": lambda index: self.gpus[index][1],
            "nvmlDeviceGetMemoryInfo": self._memory,
        }
        for name, replacement in replacements.items():
            monkeypatch.setattr(pynvml, name, replacement)

    def _count(self, change: int) -> None:
        self.open += change

    def _handle(self, index: int) -> int:
        assert self.open == 1
        if index in self.lost:
            raise pynvml.NVMLError_GpuIsLost
        return index

    def _memory(self, index: int, version: int | None = None) -> SimpleNamespace:
        if self.old and version is not None:
            raise pynvml.NVMLError_FunctionNotFound
        used = self.gpus[index][2]
        if not isinstance(used, int):
            raise used
        return SimpleNamespace(used=used if version or self.old else used + RESERVED)


RESERVED = 2**30  # bytes that the driver keeps for itself


def test_gpus_as_the_driver_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver(monkeypatch, ("GPU-aaa", "NVIDIA H200", 3 * 2**20), ("GPU-bbb", "NVIDIA H200", 60_000 * 2**20))
    for driver.old in (False, True):
        assert list_gpus() == (
            Gpu(index=0, uuid="GPU-aaa", name="NVIDIA H200", memory_used=3),
            Gpu(index=1, uuid="GPU-bbb", name="NVIDIA H200", memory_used=60_000),
        )
    assert driver.open == 0, "NVML is shut down"


@pytest.mark.parametrize("error", [pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission])
def test_unknown_memory_use_counts_as_zero(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    FakeDriver(monkeypatch, ("GPU-aaa", "A100", error))
    assert [gpu.memory_used for gpu in list_gpus()] == [0]


def test_a_lost_gpu_is_left_out_and_the_others_keep_their_index(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"GPU-{index}" for index in range(8)]
    driver = FakeDriver(
        monkeypatch, *((name, "H200", 0) for name in names[:5]), ("GPU-5", "H200", pynvml.NVMLError_GpuIsLost)
    )
    driver.gpus += tuple((name, "H200", 0) for name in names[6:])
    driver.lost = {2}
    assert [(gpu.index, gpu.uuid) for gpu in list_gpus()] == [(i, names[i]) for i in (0, 1, 3, 4, 6, 7)]
    assert ["GPU 2" in caplog.messages[0], "GPU 5" in caplog.messages[1]] == [True, True]
    assert driver.open == 0


@pytest.mark.parametrize(
    "error",
    [pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded, pynvml.NVMLError_LibRmVersionMismatch],
)
def test_without_a_driver_there_are_no_gpus(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise error

    monkeypatch.setattr(pynvml, "nvmlInit", no_driver)
    assert list_gpus() == ()


def test_without_the_library_there_are_no_gpus(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert list_gpus() == ()
    assert "nvidia-ml-py" in caplog.text


def test_nvml_is_imported_only_when_gpus_are_listed() -> None:
    program = "import sys, search.engines.plan, search.cli.app; sys.exit('pynvml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_each_free_gpu_gets_one_worker_and_occupied_ones_are_named() -> None:
    placement = place_workers(None, None, ALL, visible=None, cores=8)
    assert placement.gpus == ("GPU-aaa", "GPU-ccc")
    assert placement.threads == 4
    assert "GPU 1" in placement.notes[0] and "60000 MiB" in placement.notes[0]


def test_without_a_gpu_one_worker_has_all_cores() -> None:
    placement = place_workers(None, None, (), visible=None, cores=8)
    assert (placement.gpus, placement.threads) == ((None,), 8)
    placement = place_workers(3, None, (), visible=None, cores=8)
    assert (placement.gpus, placement.threads) == ((None, None, None), 2)


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("2", ("GPU-ccc",)),
        ("2,0", ("GPU-ccc", "GPU-aaa")),
        ("GPU-aaa", ("GPU-aaa",)),
        ("GPU-c, 0", ("GPU-ccc", "GPU-aaa")),
        ("0,0", ("GPU-aaa",)),
        # As in CUDA: everything after the first unknown name is hidden.
        ("0,-1,2", ("GPU-aaa",)),
        ("0,7,2", ("GPU-aaa",)),
        ("", (None,)),
        ("-1", (None,)),
        ("7", (None,)),
        ("GPU-zzz", (None,)),
        ("MIG-12ab,MIG-34cd", ("MIG-12ab", "MIG-34cd")),
        ("MIG-GPU-aaa/1/0", ("MIG-GPU-aaa/1/0",)),
    ],
)
def test_cuda_visible_devices_is_obeyed(visible: str, seen: tuple[str | None, ...]) -> None:
    assert place_workers(None, None, ALL, visible=visible, cores=8).gpus == seen


def test_a_visible_name_without_a_driver_is_no_gpu() -> None:
    assert place_workers(None, None, (), visible="MIG-12ab", cores=8).gpus == (None,)


def test_a_hidden_gpu_cannot_be_requested_and_mig_slices_are_numbered_by_position() -> None:
    with pytest.raises(DeviceError, match=r"GPU 2; usable here: 0 \(H200\)"):
        place_workers(None, [2], ALL, visible="0", cores=8)
    assert place_workers(None, [1], ALL, visible="MIG-a,MIG-b", cores=8).gpus == ("MIG-b",)


def test_gpus_are_hidden_from_workers_on_the_cpu() -> None:
    assert place_workers(None, None, [TAKEN], visible=None, cores=8).hide_gpus
    assert not place_workers(None, None, (), visible=None, cores=8).hide_gpus, "torch may find GPUs that NVML does not"
    assert not place_workers(None, None, ALL, visible=None, cores=8).hide_gpus


def test_several_workers_share_each_usable_gpu_and_the_cores() -> None:
    placement = place_workers(None, None, ALL, visible=None, cores=16, per_gpu=2)
    assert placement.gpus == ("GPU-aaa", "GPU-ccc", "GPU-aaa", "GPU-ccc")
    assert (placement.per_gpu, placement.threads) == (2, 4)
    assert "GPU 1" in placement.notes[0], "an occupied GPU is skipped"
    placement = place_workers(None, [1], ALL, visible=None, cores=2, per_gpu=3)
    assert placement.gpus == ("GPU-bbb",) * 3
    assert (placement.per_gpu, placement.threads) == (3, 1)


def test_the_number_of_workers_determines_how_many_share_a_gpu() -> None:
    def per_gpu(workers: int, per_gpu: int = 1) -> int:
        return place_workers(workers, None, ALL, visible=None, cores=8, per_gpu=per_gpu).per_gpu

    assert [per_gpu(workers) for workers in (1, 2, 3, 4, 5)] == [1, 1, 2, 2, 3]
    assert per_gpu(2, per_gpu=4) == 1, "two workers on two GPUs share nothing"
    assert place_workers(5, None, (), visible=None, cores=8).per_gpu == 1


def test_sharing_a_gpu_needs_one() -> None:
    for workers in (None, 2):
        with pytest.raises(DeviceError, match=r"--workers-per-gpu 2 needs a GPU: .* --workers says how many"):
            place_workers(workers, None, (), visible=None, cores=8, per_gpu=2)
    with pytest.raises(DeviceError, match=r"GPU 1 \(H200\) is skipped: 60000 MiB are in use"):
        place_workers(None, None, [TAKEN], visible=None, cores=8, per_gpu=2)


def test_no_workers_at_all() -> None:
    placement = place_workers(0, None, ALL, visible=None, cores=8, per_gpu=2)
    assert (placement.gpus, placement.per_gpu, placement.threads) == ((), 1, 8)
    assert place_workers(0, None, (), visible=None, cores=8, per_gpu=2).gpus == ()


def test_a_worker_has_at_least_one_thread() -> None:
    assert place_workers(9, None, (), visible=None, cores=4).threads == 1


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("99900000 100000", None), ("", None)],
)
def test_the_cpu_quota_of_a_container_limits_the_cores(limit: str, cores: int | None, tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    unlimited = usable_cores(quota)
    assert unlimited == len(os.sched_getaffinity(0))
    quota.write_text(limit)
    assert usable_cores(quota) == (cores or unlimited)


def test_requested_gpus_are_used_even_if_occupied_but_must_exist() -> None:
    assert place_workers(None, [1], ALL, visible=None, cores=8).gpus == ("GPU-bbb",)
    assert place_workers(4, [0, 2], ALL, visible=None, cores=8).gpus == ("GPU-aaa", "GPU-ccc", "GPU-aaa", "GPU-ccc")
    with pytest.raises(DeviceError, match=r"GPU 7; usable here: 0 \(H200\), 1 \(H200\), 2 \(H200\)"):
        place_workers(None, [7], ALL, visible=None, cores=8)
    with pytest.raises(DeviceError, match="usable here: none"):
        place_workers(None, [0], (), visible=None, cores=8)
