"""Assignment of GPUs and CPU cores to workers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from search.runtime.gpus.listing import DeviceError, Gpu
from search.runtime.gpus.placement import hides_all, place_workers
from trainer.common.environment import usable_cores

FREE = Gpu(index=0, uuid="GPU-aaa", name="H200", memory_used=3, memory_total=143_771)
TAKEN = Gpu(index=1, uuid="GPU-bbb", name="H200", memory_used=60_000, memory_total=143_771)
ALSO_FREE = Gpu(index=2, uuid="GPU-ccc", name="H200", memory_used=0, memory_total=143_771)
ALL = (FREE, TAKEN, ALSO_FREE)


def test_each_free_gpu_gets_one_worker_and_occupied_ones_are_named() -> None:
    placement = place_workers(None, None, ALL, visible=None, cores=8)
    assert placement.gpus == ("GPU-aaa", "GPU-ccc")
    assert placement.threads == 4
    assert "GPU 1" in placement.notes[0] and "60000 of 143771 MiB" in placement.notes[0]


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
    assert place_workers(None, (), [TAKEN], visible=None, cores=8).hide_gpus
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
    with pytest.raises(DeviceError, match=r"GPU 1 \(H200\) is skipped: 60000 of 143771 MiB are in use"):
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


@pytest.mark.parametrize("visible", ["7", "GPU-zzz", "7,0"])
def test_a_name_of_no_gpu_does_not_mean_the_cpu(visible: str) -> None:
    with pytest.raises(DeviceError, match=f"CUDA_VISIBLE_DEVICES={visible} names no GPU .* 0 .H200.*--gpus none"):
        place_workers(None, None, ALL, visible=visible, cores=8)
    assert place_workers(None, (), ALL, visible=visible, cores=8).gpus == (None,)
    assert place_workers(0, None, ALL, visible=visible, cores=8).gpus == ()


@pytest.mark.parametrize(("visible", "none"), [("", True), ("-1", True), ("NoDevFiles", True), ("0", False)])
def test_values_that_hide_all_gpus(visible: str, none: bool) -> None:
    assert hides_all(visible) is none
    assert not hides_all(None)


def test_occupied_gpus_are_refused_instead_of_training_on_the_cpu() -> None:
    other = Gpu(index=5, uuid="GPU-eee", name="T4", memory_used=9_000, memory_total=15_360)
    for workers in (None, 3):
        with pytest.raises(DeviceError) as caught:
            place_workers(workers, None, [TAKEN, other], visible=None, cores=8)
        assert str(caught.value) == (
            "GPU 1 (H200) is skipped: 60000 of 143771 MiB are in use; --gpus 1 uses it anyway; "
            "GPU 5 (T4) is skipped: 9000 of 15360 MiB are in use; --gpus 5 uses it anyway; "
            "--gpus none trains on the CPU"
        )
    cpu = place_workers(3, (), [TAKEN, other], visible=None, cores=9)
    assert (cpu.gpus, cpu.hide_gpus, cpu.threads, cpu.notes) == ((None,) * 3, True, 3, ())
    assert place_workers(0, None, [TAKEN], visible=None, cores=8).gpus == ()


@pytest.mark.parametrize(
    ("used", "total", "occupied"),
    [(1_500, 8_192, False), (1_700, 8_192, True), (10_000, 81_559, False), (20_000, 81_559, True), (5_000, 0, False)],
)
def test_a_gpu_is_occupied_by_a_share_of_its_memory(used: int, total: int, occupied: bool) -> None:
    assert Gpu(index=0, uuid="GPU-a", name="A", memory_used=used, memory_total=total).occupied is occupied


INSTANCES = tuple(
    Gpu(index=0, uuid=f"MIG-{name}", name=f"A100, MIG instance {name}", memory_used=used, memory_total=9_856)
    for name, used in (("a", 12), ("b", 9_000), ("c", 12))
)


def test_each_free_instance_of_a_divided_gpu_gets_a_worker() -> None:
    placement = place_workers(None, None, (*INSTANCES, ALSO_FREE), visible=None, cores=8)
    assert placement.gpus == ("MIG-a", "MIG-c", "GPU-ccc")
    assert "--gpus MIG-b uses it anyway" in placement.notes[0]
    assert place_workers(None, ["0"], INSTANCES, visible=None, cores=8).gpus == ("MIG-a", "MIG-b", "MIG-c")
    named = place_workers(None, ["MIG-b", "GPU-c"], (*INSTANCES, ALSO_FREE), visible=None, cores=8)
    assert named.gpus == ("MIG-b", "GPU-ccc")
    assert place_workers(None, None, INSTANCES, visible="0", cores=8).gpus == ("MIG-a",), "as in CUDA"
    assert place_workers(None, [1], INSTANCES, visible="MIG-c,MIG-b", cores=8).gpus == ("MIG-b",)


def test_a_gpu_that_torch_cannot_use_is_left_out_or_refused() -> None:
    asked: list[tuple[str, ...]] = []

    def faults(gpus: Sequence[Gpu]) -> dict[str, str]:
        asked.append(tuple(gpu.uuid for gpu in gpus))
        return {gpu.uuid: "no code for 7.0" for gpu in gpus if gpu.name == "V100"}

    old = Gpu(index=3, uuid="GPU-old", name="V100", memory_used=0, memory_total=16_000)
    placement = place_workers(None, None, (*ALL, old), visible=None, cores=8, faults=faults)
    assert placement.gpus == ("GPU-aaa", "GPU-ccc")
    assert placement.notes[-1] == "left out: GPU 3 (V100): no code for 7.0"
    assert asked == [("GPU-aaa", "GPU-ccc", "GPU-old")], "an occupied GPU is left alone"
    for wanted in (None, [3]):
        with pytest.raises(DeviceError, match=r"GPU 3 \(V100\): no code for 7.0.*--gpus none trains on the CPU"):
            place_workers(None, wanted, [old], visible=None, cores=8, faults=faults)
    with pytest.raises(DeviceError, match="GPU 3"):
        place_workers(None, [0, 3], (*ALL, old), visible=None, cores=8, faults=faults)
    asked.clear()
    assert place_workers(2, (), [old], visible=None, cores=8, faults=faults).gpus == (None, None)
    assert place_workers(0, None, [old], visible=None, cores=8, faults=faults).gpus == ()
    assert not asked, "torch is asked only about GPUs that workers would use"
