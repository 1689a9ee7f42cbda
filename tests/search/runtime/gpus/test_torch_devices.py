"""GPUs of a host without NVML: AMD's, Jetson's, and those of containers without it; a fake torch lists them."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pynvml
import pytest

import search.runtime.gpus.torch_check
from search.engines.interface import WorkerCommand
from search.engines.plan import Workers, plan_fleet
from search.runtime.gpus import torch_devices
from search.runtime.gpus.listing import DeviceError, Gpu, list_gpus
from search.runtime.gpus.placement import Placement
from search.runtime.gpus.seat import claimed_gpu
from search.runtime.gpus.torch_devices import driver_is_loaded, use_cuda_names
from search.runtime.home import Home

FAKE = """
import os
with open(os.environ["ASKED"], "a") as file:
    print(os.environ.get("CUDA_VISIBLE_DEVICES", "unset"), file=file)
all_names = {names!r}
if all_names is None:
    raise SystemExit("libamdhip64.so is missing")
visible = os.environ.get("CUDA_VISIBLE_DEVICES")
names = all_names if visible is None else [all_names[int(index)] for index in visible.split(",")]
__version__ = "2.15.0+rocm7.0"

class version:
    cuda, hip = None, "7.0"

class cuda:
    is_available = staticmethod(lambda: bool(names))
    device_count = staticmethod(lambda: len(names))
    get_device_name = staticmethod(lambda index: names[index])
    get_arch_list = staticmethod(lambda: ["gfx90a", "gfx942"])
    get_device_capability = staticmethod(lambda index: (9, 4))
    init = staticmethod(lambda: None)

class ones:
    def __init__(self, count, device): pass
    def sum(self): return self
    def item(self): return 8.0
"""


class HostWithoutNvml:
    """A host without NVML, with the file of a driver, and a fake torch in the processes that it starts."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self.driver = folder / "kfd"
        self.driver.touch()
        repository = Path(search.runtime.gpus.torch_check.__file__).parents[3]
        monkeypatch.setenv("PYTHONPATH", f"{folder}:{repository}")
        monkeypatch.setenv("ASKED", str(folder / "asked"))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(torch_devices, "AMD", (str(self.driver),))
        monkeypatch.setattr(torch_devices, "NVIDIA", ())
        monkeypatch.setattr(torch_devices, "_torch_version", lambda: "2.15.0+rocm7.0")
        monkeypatch.setattr(pynvml, "nvmlInit", self._no_nvml)
        self.has("AMD Instinct MI300X", "AMD Instinct MI250")

    def _no_nvml(self) -> None:
        raise pynvml.NVMLError_LibraryNotFound

    def has(self, *names: str) -> None:
        (self._folder / "torch.py").write_text(FAKE.format(names=list(names)))

    def fails(self) -> None:
        (self._folder / "torch.py").write_text(FAKE.format(names=None))

    @property
    def asked(self) -> list[str]:
        """`CUDA_VISIBLE_DEVICES` of each process that has imported torch."""
        file = self._folder / "asked"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostWithoutNvml:
    return HostWithoutNvml(tmp_path, monkeypatch)


def test_torch_lists_the_gpus_and_the_log_says_what_cannot_be_seen(
    host: HostWithoutNvml, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert list_gpus() == (
        Gpu(index=0, uuid="0", name="AMD Instinct MI300X", memory_used=0),
        Gpu(index=1, uuid="1", name="AMD Instinct MI250", memory_used=0),
    )
    assert host.asked == ["unset"], "all GPUs are listed, whatever is visible"
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "0: AMD Instinct MI300X, 1: AMD Instinct MI250" in line
    assert "memory that other programs hold cannot be seen" in line and "--gpus" in line


def test_without_the_library_of_nvml_torch_lists_the_gpus(
    host: HostWithoutNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert len(list_gpus()) == 2


def test_without_a_driver_torch_is_not_asked(host: HostWithoutNvml) -> None:
    host.driver.unlink()
    assert list_gpus() == ()
    assert host.asked == []


def test_a_driver_without_a_gpu_for_torch_leaves_the_cpu(
    host: HostWithoutNvml, caplog: pytest.LogCaptureFixture
) -> None:
    host.has()
    assert list_gpus() == ()
    assert not caplog.records


def test_a_torch_that_does_not_start_is_an_error_with_its_reason(host: HostWithoutNvml) -> None:
    host.fails()
    with pytest.raises(DeviceError, match=r"libamdhip64.so is missing\. --gpus none trains on the CPU"):
        plan_fleet(Workers(home=Path("h")))
    assert plan_fleet(Workers(home=Path("h"), gpus=[])).where == "1 worker on the CPU"


@pytest.mark.parametrize(
    ("visible", "wanted", "expected"),
    [(None, None, ("0", "1")), (None, [1], ("1",)), ("1", None, ("1",)), ("1,0", None, ("1", "0"))],
)
def test_workers_get_the_gpus_that_torch_lists(
    host: HostWithoutNvml,
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    wanted: list[int | str] | None,
    expected: tuple[str, ...],
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    placements: list[Placement] = []
    monkeypatch.setattr("search.engines.plan.LocalFleet", lambda command, placement, logs: placements.append(placement))
    planned = plan_fleet(Workers(home=Path("h"), gpus=wanted))
    assert planned.make is not None
    planned.make(WorkerCommand(study="s", data=Path("d"), storage_url="sqlite:///x.db", home=Path("h")), Path("logs"))
    assert placements[0].gpus == expected
    assert host.asked == ["unset", ",".join(expected)]


def test_a_worker_started_by_hand_claims_a_gpu_that_torch_lists(
    host: HostWithoutNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RETABLE_PARENT", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with claimed_gpu(Home(root=tmp_path / "home")) as gpus:
        assert (gpus, os.environ["CUDA_VISIBLE_DEVICES"]) == (2, "0")
        del os.environ["CUDA_VISIBLE_DEVICES"]
        with claimed_gpu(Home(root=tmp_path / "home")):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize(
    ("version", "file", "expected"),
    [
        ("2.9.0+rocm6.4", "amd", True),
        ("2.9.0+rocm6.4", "nvidia", False),
        ("2.9.0", "amd", True),
        ("2.9.0", "nvidia", True),
        ("2.9.0+cu132", "nvidia", True),
        ("2.9.0+cu132", "amd", False),
        ("2.3.0a0+ebedce6.nv24.5", "nvidia", True),
        ("2.9.0+cpu", "nvidia", False),
        ("2.9.0+cpu", "amd", False),
        ("2.9.0+cu132", "", False),
    ],
)
def test_torch_is_asked_where_a_driver_of_its_kind_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, file: str, expected: bool
) -> None:
    monkeypatch.setattr(torch_devices, "NVIDIA", (str(tmp_path / "nvidia"),))
    monkeypatch.setattr(torch_devices, "AMD", (str(tmp_path / "amd"),))
    if file:
        (tmp_path / file).touch()
    assert driver_is_loaded(version) is expected


def test_hips_variable_becomes_cudas_where_there_is_an_amd_driver(host: HostWithoutNvml) -> None:
    """ROCm would ignore what a worker's seat says."""
    environment = {"HIP_VISIBLE_DEVICES": "2,3", "CUDA_VISIBLE_DEVICES": "0"}
    use_cuda_names(environment)
    assert environment == {"CUDA_VISIBLE_DEVICES": "2,3"}
    host.driver.unlink()
    untouched = {"HIP_VISIBLE_DEVICES": "2,3"}
    use_cuda_names(untouched)
    assert untouched == {"HIP_VISIBLE_DEVICES": "2,3"}
