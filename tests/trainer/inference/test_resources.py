"""What needs more memory than there is gets refused before it is decoded. Idle threads sleep."""

from __future__ import annotations

import io
import os
import platform
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.inference import arrays, images, resources
from trainer.inference.arrays import ArrayError, load_array
from trainer.inference.errors import ImageError
from trainer.inference.images import read_image

MIB = 2**20


def test_the_memory_of_this_machine_is_known() -> None:
    room = resources.available_memory()
    assert room is None or 0 < room < 2**50


def test_a_container_has_less_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("1000\n")
    (tmp_path / "current").write_text("400\n")
    (tmp_path / "memory.stat").write_text("anon 300\nactive_file 40\ninactive_file 60\ninactive_anon 7\n")
    monkeypatch.setattr(resources, "_CGROUPS", ((str(tmp_path), "max", "current"),))
    assert resources.available_memory() == 700, "files in the cache make room"
    (tmp_path / "max").write_text("max\n")
    machine = resources.available_memory()
    assert machine is None or machine > 600


def test_a_large_image_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.new("L", (3000, 3000)).save(buffer, "PNG")
    monkeypatch.setattr(resources, "available_memory", lambda: 100 * MIB)
    monkeypatch.setattr(images, "_composited", lambda image: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="137 MiB of memory, and 100 MiB are free"):
        read_image(buffer.getvalue())


def test_large_images_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda: 150 * MIB)
    entered, leave, second = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with resources.reserved(100 * MIB):
            entered.set()
            leave.wait(60)

    def other() -> None:
        with resources.reserved(100 * MIB):
            second.set()

    threads = [threading.Thread(target=first), threading.Thread(target=other)]
    threads[0].start()
    assert entered.wait(60)
    threads[1].start()
    assert not second.wait(0.05)
    leave.set()
    assert second.wait(60)
    for thread in threads:
        thread.join()


def test_running_out_of_memory_is_said_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*args: object, **options: object) -> None:
        raise MemoryError

    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    np.savez(tmp_path / "a.npz", np.zeros((2, 8, 8), np.uint8))
    monkeypatch.setattr(images, "_composited", fail)
    with pytest.raises(ImageError, match="memory does not suffice"):
        read_image(buffer.getvalue())
    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(ArrayError, match="takes 0 MiB of memory"):
        load_array(tmp_path / "a.npz")


def test_the_declared_size_of_an_array_is_judged_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 1000, 1000, 3)}
    )
    with zipfile.ZipFile(tmp_path / "liar.npz", "w") as archive:
        archive.writestr("arr_0.npy", header.getvalue() + bytes(100))
    with pytest.raises(ArrayError, match="claims the shape"):
        load_array(tmp_path / "liar.npz")
    np.savez_compressed(tmp_path / "large.npz", np.zeros((64, 512, 512), np.uint8))
    monkeypatch.setattr(arrays, "available_memory", lambda: 10 * MIB)
    monkeypatch.setattr(np, "load", lambda *args, **options: pytest.fail("loaded"))
    with pytest.raises(ArrayError, match=r"takes 16 MiB of memory.*10 MiB are free"):
        load_array(tmp_path / "large.npz")


def test_threads_sleep_unless_the_user_has_chosen_otherwise() -> None:
    environment = {"OMP_NUM_THREADS": "3"}
    resources.wait_passively(environment)
    assert environment == {
        "OMP_NUM_THREADS": "3",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "KMP_BLOCKTIME": "0",
    }
    chosen = {"GOMP_SPINCOUNT": "1000"}
    resources.wait_passively(chosen)
    assert chosen == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
    active = {"OMP_WAIT_POLICY": "ACTIVE"}
    resources.wait_passively(active)
    assert active == {"OMP_WAIT_POLICY": "ACTIVE"}, "a spin count of 0 would overrule it"


HEAP_USE = """
import ctypes, resource, sys
from trainer.inference.resources import give_back_memory, keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory() is (sys.argv[2] == "possible")
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
def page_faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = library.malloc(2**25)
    ctypes.memset(block, 1, 2**25)
    library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident() -> int:
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
page_faults()
again = page_faults()
held = resident()
give_back_memory()
print(again, held - resident())
"""


def heap_use(how: str, possible: bool = True, **variables: str) -> tuple[int, int]:
    """Page faults of a block of 32 MiB that takes the memory of another one, and bytes that are given back."""
    names = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    found = subprocess.run(
        [sys.executable, "-c", HEAP_USE, how, "possible" if possible else "not"],
        env={**names, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    faults, given_back = map(int, found.stdout.split())
    return faults, given_back


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc has such settings")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    faults, given_back = heap_use("keep")
    assert faults < 100 and given_back > 2**24
    for others in (
        heap_use("leave"),
        heap_use("keep", possible=False, MALLOC_TRIM_THRESHOLD_="131072"),
        heap_use("keep", possible=False, GLIBC_TUNABLES="glibc.malloc.trim_threshold=131072"),
    ):
        assert others[0] > 1000


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_heap_library", lambda: None)
    assert not resources.keep_freed_memory({})
    resources.give_back_memory()


def test_the_allocator_of_gpus_grows_its_segments() -> None:
    chosen: dict[str, str] = {}
    resources.prepare_torch(chosen)
    assert chosen["OMP_WAIT_POLICY"] == "PASSIVE"
    assert chosen["PYTORCH_ALLOC_CONF"] == chosen["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_a_user_decides_about_the_allocator(name: str) -> None:
    chosen = {name: "backend:cudaMallocAsync"}
    resources.prepare_torch(chosen)
    assert {key: value for key, value in chosen.items() if key.startswith("PYTORCH")} == {
        name: "backend:cudaMallocAsync"
    }


@pytest.mark.parametrize(
    ("side", "device", "expected"),
    [(32, "cpu", 64), (128, "cpu", 24), (224, "cpu", 8), (512, "cpu", 4), (512, "cuda", 64)],
)
def test_on_a_cpu_large_images_are_predicted_a_few_at_a_time(side: int, device: str, expected: int) -> None:
    assert resources.forward_batch(side, device, 64) == expected
    assert resources.forward_batch(side, device, 2) == 2
