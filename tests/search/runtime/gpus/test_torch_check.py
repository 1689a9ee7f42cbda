"""What torch says about the GPUs of a host; a fake torch takes the place of the installed one."""

from __future__ import annotations

from pathlib import Path

import pytest

import search.runtime.gpus.torch_check
import search.runtime.gpus.torch_devices
from search.runtime.gpus.listing import Gpu
from search.runtime.gpus.torch_check import unusable_gpus
from search.runtime.gpus.torch_report import runs_on

FAKE = """
import os

class OutOfMemoryError(RuntimeError): pass

__version__ = "2.15.0"
names = [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
with open(os.environ["ASKED"], "a") as file:
    print(os.environ["CUDA_VISIBLE_DEVICES"], file=file)
if any(name in {dies} for name in names):
    os._exit(134)
if any(name in {hidden} for name in names):
    names = names[: [name in {hidden} for name in names].index(True)]
if names and names[0].startswith("MIG-"):
    del names[1:]

class version:
    cuda, hip = {cuda!r}, None

class cuda:
    is_available = staticmethod(lambda: {available})
    device_count = staticmethod(lambda: len(names))
    get_arch_list = staticmethod(lambda: ["sm_75", "sm_80", "sm_90", "sm_120", "compute_120"])
    get_device_capability = staticmethod(lambda index: (7, 0) if "old" in names[index] else (9, 0))
    @staticmethod
    def init():
        raise {error}

class ones:
    def __init__(self, count, device):
        name = names[int(device.partition(":")[2])]
        if "full" in name: raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB")
        if "busy" in name: raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\\nmore")
    def sum(self): return self
    def item(self): return 8.0
"""


class FakeTorch:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        monkeypatch.setenv("ASKED", str(folder / "asked"))
        repository = Path(search.runtime.gpus.torch_check.__file__).parents[3]
        monkeypatch.setenv("PYTHONPATH", f"{folder}:{repository}")

    def install(
        self,
        *,
        cuda: str | None = "13.2",
        available: bool = True,
        error: str = "AssertionError('no')",
        dies: tuple[str, ...] = (),
        hidden: tuple[str, ...] = (),
    ) -> None:
        text = FAKE.format(cuda=cuda, available=available, error=error, dies=dies, hidden=hidden)
        (self._folder / "torch.py").write_text(text)

    @property
    def asked(self) -> list[str]:
        """`CUDA_VISIBLE_DEVICES` of each process that has started."""
        return (self._folder / "asked").read_text().splitlines()


@pytest.fixture
def torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTorch:
    return FakeTorch(tmp_path, monkeypatch)


def gpus(*names: str) -> list[Gpu]:
    return [Gpu(index=place, uuid=name, name="H200", memory_used=0) for place, name in enumerate(names)]


def test_usable_gpus_are_asked_about_once_and_have_no_reason(torch: FakeTorch) -> None:
    torch.install()
    assert unusable_gpus(gpus("GPU-a", "GPU-b")) == {}
    assert unusable_gpus([]) == {}
    assert torch.asked == ["GPU-a,GPU-b"]


@pytest.mark.parametrize(
    ("cuda", "error", "reason"),
    [
        (None, "AssertionError('Torch not compiled with CUDA enabled')", "is a build without CUDA"),
        ("13.2", "RuntimeError('The NVIDIA driver on your system is too old (found version 11040).')", "too old"),
        ("13.2", "RuntimeError('CUDA unknown error - this may be due to an incorrect environment')", "unknown error"),
    ],
)
def test_a_torch_without_cuda_uses_no_gpu(torch: FakeTorch, cuda: str | None, error: str, reason: str) -> None:
    torch.install(cuda=cuda, available=False, error=error)
    found = unusable_gpus(gpus("GPU-a", "GPU-b"))
    assert set(found) == {"GPU-a", "GPU-b"}
    assert all(reason in text and "torch 2.15.0" in text for text in found.values())


def test_an_architecture_that_torch_left_behind_is_named(torch: FakeTorch) -> None:
    torch.install()
    found = unusable_gpus(gpus("GPU-a", "GPU-old"))
    assert list(found) == ["GPU-old"]
    assert "no code for compute capability 7.0, only sm_75 sm_80" in found["GPU-old"]


def test_a_gpu_that_fails_is_named_and_one_without_memory_is_not(torch: FakeTorch) -> None:
    torch.install()
    assert unusable_gpus(gpus("GPU-busy", "GPU-full", "GPU-c")) == {
        "GPU-busy": "CUDA error: all CUDA-capable devices are busy or unavailable"
    }


def test_a_gpu_that_hides_others_or_ends_the_process_is_found(torch: FakeTorch) -> None:
    torch.install(hidden=("GPU-b",))
    assert unusable_gpus(gpus("GPU-a", "GPU-b", "GPU-c")) == {"GPU-b": "CUDA finds no GPU"}
    torch.install(dies=("GPU-b",))
    assert unusable_gpus(gpus("GPU-a", "GPU-b", "GPU-c")) == {"GPU-b": "torch fails at its start: exit code 134"}


def test_one_instance_speaks_for_those_of_its_gpu(torch: FakeTorch) -> None:
    torch.install()
    instances = [Gpu(index=0, uuid=f"MIG-{name}", name="A100", memory_used=0) for name in ("old", "b")]
    assert set(unusable_gpus([*instances, *gpus("GPU-a")])) == {"MIG-old", "MIG-b"}
    assert torch.asked == ["GPU-a", "MIG-old"]


def test_a_torch_that_never_starts_is_given_up(
    torch: FakeTorch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("import threading; threading.Event().wait()")
    monkeypatch.setattr(search.runtime.gpus.torch_devices, "TIMEOUT", 1.0)
    assert unusable_gpus(gpus("GPU-a")) == {"GPU-a": "torch has not started on it within 1 s"}


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ((8, 6), ("sm_80",), True),
        ((8, 0), ("sm_86",), False),
        ((7, 0), ("sm_75", "sm_80", "compute_80"), False),
        ((7, 5), ("sm_75",), True),
        ((12, 1), ("sm_90", "sm_120"), True),
        ((12, 0), ("sm_90", "compute_90"), True),
        ((9, 0), ("sm_90a",), True),
        ((9, 1), ("sm_90a",), False),
        ((10, 3), ("sm_100f",), True),
        ((11, 0), ("sm_100f",), False),
        ((9, 4), ("gfx942",), True),
        ((9, 0), (), True),
    ],
)
def test_architectures(capability: tuple[int, int], built: tuple[str, ...], runs: bool) -> None:
    assert runs_on(capability, built) is runs
