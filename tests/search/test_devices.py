"""Dividing a host among workers."""

from __future__ import annotations

import pytest

from search.devices import DeviceError, Gpu, parse_gpu, place_workers

FREE = Gpu(index=0, uuid="GPU-aaa", name="H200", memory_used=3)
TAKEN = Gpu(index=1, uuid="GPU-bbb", name="H200", memory_used=60_000)
ALSO_FREE = Gpu(index=2, uuid="GPU-ccc", name="H200", memory_used=0)
ALL = (FREE, TAKEN, ALSO_FREE)


def test_a_line_of_nvidia_smi() -> None:
    assert parse_gpu("1, GPU-bbb, NVIDIA H200, 60000") == Gpu(
        index=1, uuid="GPU-bbb", name="NVIDIA H200", memory_used=60_000
    )
    assert parse_gpu("0, MIG-1, A100, [N/A]").memory_used == 0


def test_one_worker_for_each_free_gpu_and_the_others_are_named() -> None:
    placement = place_workers(None, None, ALL, visible=None, cores=8)
    assert placement.gpus == ("GPU-aaa", "GPU-ccc")
    assert placement.threads == 4
    assert "GPU 1" in placement.notes[0] and "60000 MiB" in placement.notes[0]


def test_without_a_gpu_one_worker_has_all_cores() -> None:
    placement = place_workers(None, None, (), visible=None, cores=8)
    assert (placement.gpus, placement.threads) == ((None,), 8)
    placement = place_workers(3, None, (), visible=None, cores=8)
    assert (placement.gpus, placement.threads) == ((None, None, None), 2)


def test_cuda_visible_devices_is_obeyed() -> None:
    assert place_workers(None, None, ALL, visible="2", cores=8).gpus == ("GPU-ccc",)
    assert place_workers(None, None, ALL, visible="GPU-aaa", cores=8).gpus == ("GPU-aaa",)
    assert place_workers(None, None, ALL, visible="", cores=8).gpus == (None,)


def test_gpus_asked_for_are_taken_even_if_occupied_but_must_exist() -> None:
    assert place_workers(None, [1], ALL, visible=None, cores=8).gpus == ("GPU-bbb",)
    assert place_workers(4, [0, 2], ALL, visible=None, cores=8).gpus == ("GPU-aaa", "GPU-ccc", "GPU-aaa", "GPU-ccc")
    with pytest.raises(DeviceError, match=r"GPU 7; usable here: 0 \(H200\), 1 \(H200\), 2 \(H200\)"):
        place_workers(None, [7], ALL, visible=None, cores=8)
    with pytest.raises(DeviceError, match="usable here: none"):
        place_workers(None, [0], (), visible=None, cores=8)
