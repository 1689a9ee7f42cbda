"""Trainings on a GPU that is not there: torch's dispatcher, allocators, autocast and pinned memory are the real ones.

Kernels compute nothing, so these tests see memory, precision and errors, but no scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trainer.training.folds.memory.gpu_memory import MARGIN

pytestmark = pytest.mark.slow

Play = Callable[..., Any]
FAMILIES = ("test_resnet", "test_vit", "test_efficientnet", "test_convnext", "test_byobnet")


def assert_nothing_is_left(ended: dict[str, Any]) -> None:
    """All memory of the GPU and all pinned memory has gone back to the system."""
    assert (ended["allocated"], ended["device_bytes"], ended["pinned_bytes"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("capability", "precision", "settings"),
    [(90, "bfloat16", None), (75, "float16", "")],
    ids=["bfloat16 in expandable segments", "float16 in fixed ones"],
)
def test_a_trial_of_every_family_finishes_as_planned(
    play: Play, capability: int, precision: str, settings: str | None
) -> None:
    for trial in play("families", *FAMILIES, capability=capability, settings=settings):
        assert (trial["ended"], trial["precision"], trial["micro_batch"]) == ("finished", precision, 16), trial
        assert (trial["tf32"], trial.get("parked", False)) == (False, False)
        assert trial["memory_peak"] <= 1.1 * trial["memory_planned"] + 1
        # What the allocator takes in blocks of 20 MiB counts beside networks as small as these.
        assert trial["device_peak"] <= MARGIN * trial["memory_planned"] + 20
        assert_nothing_is_left(trial)


@pytest.mark.parametrize(("capability", "precision"), [(90, "bfloat16"), (75, "float16")])
def test_adapters_learn_under_autocast_and_become_weights_of_32_bits(
    play: Play, capability: int, precision: str
) -> None:
    for trial in play("adapters", "test_vit", "test_convnext", capability=capability):
        assert (trial["ended"], trial["precision"], trial["micro_batch"]) == ("finished", precision, 16), trial
        assert trial["types"] == ["torch.float32"]
        assert trial["memory_peak"] <= 1.1 * trial["memory_planned"] + 1
        assert_nothing_is_left(trial)


def test_folds_that_do_not_fit_together_wait_in_pinned_memory(play: Play) -> None:
    trial = play("parked", "test_resnet")
    assert (trial["ended"], trial["parked"], trial["micro_batch"]) == ("finished", True, 16)
    assert 3 * trial["kept"] < trial["pinned_peak"] < 3 * 1.5 * trial["kept"]
    assert_nothing_is_left(trial)


def test_a_fold_comes_back_from_the_host_unchanged(play: Play) -> None:
    for found in play("offloaded", "test_resnet", "test_vit"):
        assert found["tensors"] > 50
        assert found["freed"] >= found["bytes"]
        assert found["is_pinned"] and found["is_on_the_gpu_again"] and found["is_unchanged"]


def test_a_smaller_gpu_trains_in_parts_or_says_that_it_cannot(play: Play) -> None:
    ended = play("ladder", "test_resnet", capability=75)
    for trial in ended:
        assert trial["ended"] in ("finished", "out of memory"), trial
        assert_nothing_is_left(trial)
    fits = [trial["micro_batch"] for trial in ended if trial["ended"] == "finished"]
    assert fits == sorted(fits, reverse=True)
    assert len(set(fits)) > 2 and fits[0] == 48, "whole, and halved more than once"
    assert ended[-1]["ended"] == "out of memory"
    assert "smaller images or another backbone help" in ended[-1]["reason"]


def test_memory_of_other_programs_is_waited_for(play: Play) -> None:
    found = play("others", "test_resnet")
    for name in ("before", "little room", "during", "resumed too early"):
        assert found[name]["ended"] == "occupied", name
        assert "other programs hold 0.5 of the GPU's 0.5 GiB" in found[name]["reason"]
        assert 0 < found[name]["need"] <= 512 * 2**20
    assert found["stopped"]["ended"] == "stopped"
    assert (found["resumed"]["ended"], found["resumed"]["epochs"]) == ("finished", [2])
    for trial in found.values():
        assert_nothing_is_left(trial)


def test_a_library_without_memory_for_its_workspace_is_out_of_memory(play: Play) -> None:
    found = play("libraries", "test_resnet")
    assert found["for good"]["ended"] == "out of memory"
    assert "unable to find an engine" in found["for good"]["reason"]
    assert (found["once"]["ended"], found["once"]["parked"], found["once"]["micro_batch"]) == ("finished", True, 16)


def test_networks_that_need_two_images_say_what_they_lack(play: Play) -> None:
    (trial,) = play("one_pixel", "mobilenetv4_conv_small_035", capability=75)
    assert trial["ended"] == "out of memory"
    assert "2 images at a time" in trial["reason"]


@pytest.mark.parametrize("capability", [90, 75], ids=["bfloat16", "float16"])
def test_the_host_reads_the_losses_of_an_epoch_and_waits_for_nothing_else(play: Play, capability: int) -> None:
    found = play("waits", "test_resnet", capability=capability)
    assert len(found.pop("adamp")) > 6, "it waits in each step, as its documentation says"
    if capability == 75:
        # Before a step of an optimizer without a fused kernel, the gradient scaler asks whether gradients overflowed.
        assert len(found.pop("nadam")) == 6 + 1
    assert {name: len(places) for name, places in found.items()} == dict.fromkeys(found, 1), found


@pytest.mark.parametrize("capability", [90, 75], ids=["bfloat16", "float16"])
def test_a_gpu_that_is_infinitely_fast_waits_for_launches_all_the_time(play: Play, capability: int) -> None:
    step = play("launches", "test_resnet", capability=capability)
    assert step["kernels"] == pytest.approx(1e-5), "what the driver says of any two events"
    assert step["launches"] > 10 * step["kernels"] and step["wall"] > 10 * step["kernels"]
    assert step["idle"] == pytest.approx(1.0 - step["kernels"] / step["wall"])
    assert not step["passed"]
    assert "test_resnet: the GPU waits for launches during" in step["found"]


def test_a_worker_says_how_many_workers_its_gpu_has_room_for(play: Play) -> None:
    found = play("shared")
    machine = found["machine"]
    assert (machine["gpu_busy"], machine["gpu_workers"], machine["gpu_cores"]) == (0.3, 1, 8)
    assert 0 < machine["memory_reserved"] < machine["memory_total"] == 8192
    (line,) = found["logged"]
    assert line.startswith("NULL GPU: 1 worker per GPU keeps it busy 30% of the time. `search start --study colours ")
    assert "--workers-per-gpu 3`" in line
    assert line in found["status"]


def test_torch_says_which_gpus_it_can_use(play: Play) -> None:
    assert play("report", capability=90) == {"cuda": "", "gpus": [""]}
    (reason,) = play("report", capability=50)["gpus"]
    assert "has no code for compute capability 5.0, only sm_" in reason
