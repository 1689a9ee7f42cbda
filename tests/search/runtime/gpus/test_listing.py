"""The GPUs of a host, as the driver lists them."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pynvml
import pytest

from search.runtime.gpus import torch_devices
from search.runtime.gpus.listing import DeviceError, Gpu, list_gpus


@pytest.fixture(autouse=True)
def no_other_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without NVML there is no sign of a GPU; see `tests.search.runtime.gpus.test_torch_devices` for hosts with one."""
    monkeypatch.setattr(torch_devices, "NVIDIA", ())
    monkeypatch.setattr(torch_devices, "AMD", ())


class FakeDriver:
    """A fake NVIDIA driver behind `pynvml`. GPUs are (UUID, name, bytes in use or the error when queried)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *gpus: tuple[str, str, int | type[Exception]]) -> None:
        self.gpus = gpus
        self.open = 0
        self.lost: set[int] = set()
        self.old = False
        self.instances: dict[int, dict[int, str]] = {}
        """Of each divided GPU: the UUIDs of its instances by place."""
        replacements = {
            "nvmlInit": lambda: self._count(1),
            "nvmlShutdown": lambda: self._count(-1),
            "nvmlDeviceGetCount": lambda: len(self.gpus),
            "nvmlDeviceGetHandleByIndex": self._handle,
            "nvmlDeviceGetUUID": lambda handle: handle if isinstance(handle, str) else self.gpus[handle][0],
            "nvmlDeviceGetName": lambda index: self.gpus[index][1],
            "nvmlDeviceGetMemoryInfo": self._memory,
            "nvmlDeviceGetMigMode": self._mig_mode,
            "nvmlDeviceGetMaxMigDeviceCount": lambda index: 7,
            "nvmlDeviceGetMigDeviceHandleByIndex": self._instance,
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

    def _mig_mode(self, index: int) -> tuple[int, int]:
        if not self.instances:
            raise pynvml.NVMLError_NotSupported
        return (int(index in self.instances), 0)

    def _instance(self, index: int, place: int) -> str:
        if place not in self.instances[index]:
            raise pynvml.NVMLError_NotFound
        return self.instances[index][place]

    def _memory(self, index: int | str, version: int | None = None) -> SimpleNamespace:
        if isinstance(index, str):
            return SimpleNamespace(used=0, total=2**30)
        if self.old and version is not None:
            raise pynvml.NVMLError_FunctionNotFound
        used = self.gpus[index][2]
        if not isinstance(used, int):
            raise used
        return SimpleNamespace(used=used if version or self.old else used + RESERVED, total=TOTAL * 2**20)


RESERVED = 2**30  # bytes that the driver keeps for itself
TOTAL = 143_771  # MiB of a GPU


def test_gpus_as_the_driver_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver(monkeypatch, ("GPU-aaa", "NVIDIA H200", 3 * 2**20), ("GPU-bbb", "NVIDIA H200", 60_000 * 2**20))
    for driver.old in (False, True):
        assert list_gpus() == (
            Gpu(index=0, uuid="GPU-aaa", name="NVIDIA H200", memory_used=3, memory_total=TOTAL),
            Gpu(index=1, uuid="GPU-bbb", name="NVIDIA H200", memory_used=60_000, memory_total=TOTAL),
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


@pytest.mark.parametrize("error", [pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded])
def test_without_a_driver_there_are_no_gpus(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise error

    monkeypatch.setattr(pynvml, "nvmlInit", no_driver)
    assert list_gpus() == ()


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetCount"])
@pytest.mark.parametrize("error", [pynvml.NVMLError_LibRmVersionMismatch, pynvml.NVMLError_Unknown])
def test_a_driver_that_fails_is_an_error(
    error: type[Exception], function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = FakeDriver(monkeypatch, ("GPU-aaa", "A100", 0))

    def failing() -> None:
        raise error

    monkeypatch.setattr(pynvml, function, failing)
    with pytest.raises(DeviceError, match=r"the NVIDIA driver .*nvidia-smi"):
        list_gpus()
    assert driver.open == 0


def test_gpus_of_which_none_responds_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeDriver(monkeypatch, ("GPU-aaa", "A100", 0)).lost = {0}
    with pytest.raises(DeviceError, match="lists 1 GPU, and none can be used"):
        list_gpus()


def test_a_divided_gpu_is_replaced_by_its_instances(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    driver = FakeDriver(monkeypatch, ("GPU-a", "A100", 0), ("GPU-b", "A100", 0), ("GPU-c", "A100", 0))
    driver.instances = {0: {0: "MIG-x", 3: "MIG-y"}, 2: {}}
    assert list_gpus() == (
        Gpu(index=0, uuid="MIG-x", name="A100, MIG instance 0", memory_used=0, memory_total=1024),
        Gpu(index=0, uuid="MIG-y", name="A100, MIG instance 3", memory_used=0, memory_total=1024),
        Gpu(index=1, uuid="GPU-b", name="A100", memory_used=0, memory_total=TOTAL),
    )
    assert "GPU 2 is in MIG mode without an instance" in caplog.text


def test_without_the_library_there_are_no_gpus(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert list_gpus() == ()
    assert "nvidia-ml-py" in caplog.text


@pytest.mark.slow
def test_nvml_is_imported_only_when_gpus_are_listed() -> None:
    program = (
        "import sys, search.engines.plan, search.cli.app; sys.exit('pynvml' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
