"""How busy a training keeps its GPU, by a fake NVML."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pynvml
import pytest
import torch

from search.runtime.gpus import usage
from search.runtime.gpus.usage import GpuShare, UsageMeter, cpu_seconds

CUDA = torch.device("cuda")
SHARE = GpuShare(workers=2, cores=12)


class FakeNvml:
    """NVML with one GPU, whose utilisation takes ``values`` one after another and then stays.

    A value may be an error, which is raised. The call after the first ``before`` ones waits for ``go_on``.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values: list[int | pynvml.NVMLError] = [50]
        self.open = self.asked = 0
        self.before = 40
        self.reached, self.go_on, self.seen = threading.Event(), threading.Event(), threading.Event()
        self.missing: pynvml.NVMLError | None = None
        monkeypatch.setattr(pynvml, "nvmlInit", self._init)
        monkeypatch.setattr(pynvml, "nvmlShutdown", self._shutdown)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", self._handle)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", self._rates)
        properties = SimpleNamespace(uuid="5b2b", total_memory=80 * 2**30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 3 * 2**30)
        monkeypatch.setattr(usage, "INTERVAL", 1e-3)

    def _init(self) -> None:
        if self.missing is not None:
            raise self.missing
        self.open += 1

    def _shutdown(self) -> None:
        self.open -= 1

    def _handle(self, uuid: str) -> str:
        assert self.open == 1
        if uuid != "GPU-5b2b":
            raise pynvml.NVMLError_NotFound
        return uuid

    def _rates(self, handle: str) -> SimpleNamespace:
        assert (handle, self.open) == ("GPU-5b2b", 1)
        if self.asked == self.before:
            self.reached.set()
            assert self.go_on.wait(30)
        value = self.values[min(self.asked, len(self.values) - 1)]
        self.asked += 1
        if self.asked == self.before + 5:
            self.seen.set()
        if isinstance(value, pynvml.NVMLError):
            raise value
        return SimpleNamespace(gpu=value, memory=1)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    return FakeNvml(monkeypatch)


def measure(nvml: FakeNvml) -> dict[str, float | int]:
    """What is found of a training of two epochs, the second of which lasts for ``before`` samples."""
    with UsageMeter(CUDA) as meter:
        meter.mark()
        assert nvml.reached.wait(30)
        meter.mark()
        nvml.go_on.set()
        assert nvml.seen.wait(30)
    return dict(meter.found(lambda: SHARE))


def test_a_training_is_measured_between_its_first_and_last_epoch(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds: Iterator[float] = iter([100.0, 130.0])
    monkeypatch.setattr(usage, "cpu_seconds", lambda: next(seconds))
    monkeypatch.setattr(usage.time, "monotonic", iter([0.0, 10.0]).__next__)
    nvml.values = [*[30, 50] * 20, 90]  # what follows the last epoch does not count
    assert measure(nvml) == {
        "gpu_busy": 0.4,
        "gpu_workers": 2,
        "gpu_cores": 12,
        "cores_busy": 3.0,
        "memory_reserved": 3072,
        "memory_total": 81920,
    }
    assert nvml.open == 0, "NVML is shut down"


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_training_of_one_epoch_is_not_measured(nvml: FakeNvml, epochs: int) -> None:
    with UsageMeter(CUDA) as meter:
        for _ in range(epochs):
            meter.mark()
    assert meter.found(lambda: SHARE) == {}


def test_a_few_samples_say_nothing(nvml: FakeNvml) -> None:
    nvml.before = usage.LEAST_SAMPLES - 1
    assert measure(nvml) == {}
    nvml.asked, nvml.before = 0, usage.LEAST_SAMPLES
    for event in (nvml.reached, nvml.go_on, nvml.seen):
        event.clear()
    assert measure(nvml)["gpu_busy"] == 0.5


def test_a_gpu_without_utilisation_is_not_measured(nvml: FakeNvml) -> None:
    nvml.values = [pynvml.NVMLError_NotSupported()]
    with UsageMeter(CUDA) as meter:
        meter.mark()
        assert meter._thread is not None
        meter._thread.join(30)
        assert not meter._thread.is_alive(), "nothing asks again"
        meter.mark()
    assert (meter.found(lambda: SHARE), nvml.asked, nvml.open) == ({}, 1, 0)


@pytest.mark.parametrize(
    "error", [pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded, pynvml.NVMLError_Unknown]
)
def test_without_nvml_a_training_goes_on_without_a_measurement(nvml: FakeNvml, error: type[pynvml.NVMLError]) -> None:
    nvml.missing = error()
    with UsageMeter(CUDA) as meter:
        meter.mark()
        meter.mark()
    assert meter.found(lambda: SHARE) == {}


def test_a_gpu_that_nvml_does_not_know_is_not_measured(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    for properties in (SimpleNamespace(uuid="other"), SimpleNamespace()):
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, properties=properties: properties)
        with UsageMeter(CUDA) as meter:
            meter.mark()
        assert nvml.open == 0


def test_without_the_library_nothing_is_measured(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with UsageMeter(CUDA) as meter:
        meter.mark()
    assert meter.found(lambda: SHARE) == {}


def test_a_cpu_is_not_measured(nvml: FakeNvml) -> None:
    with UsageMeter(torch.device("cpu")) as meter:
        meter.mark()
        meter.mark()
    assert (meter.found(lambda: SHARE), nvml.asked) == ({}, 0)


def test_an_exception_of_the_training_ends_the_sampling(nvml: FakeNvml) -> None:
    with pytest.raises(KeyError), UsageMeter(CUDA) as meter:
        meter.mark()
        raise KeyError
    assert nvml.open == 0
    assert meter._thread is not None and not meter._thread.is_alive()


@pytest.mark.slow
def test_cpu_time_includes_child_processes() -> None:
    program = """
import multiprocessing, time
from search.runtime.gpus.usage import cpu_seconds
def burn(done, end):
    while time.process_time() < 1.0: pass
    done.set(); end.wait()
if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    done, end = context.Event(), context.Event()
    before = cpu_seconds()
    child = context.Process(target=burn, args=(done, end)); child.start()
    done.wait()
    after = cpu_seconds()
    end.set(); child.join()
    assert after - before > 0.9, (before, after)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_cpu_time_grows() -> None:
    first = cpu_seconds()
    second = cpu_seconds()
    assert first is not None and second is not None and 0.0 < first <= second
