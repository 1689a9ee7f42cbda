"""Folds that wait in host memory come back as they were: the same training, bit for bit.

The device is the CPU here, and offloader makes copies all the same; what is checked is that nothing uses the old ones.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.training.support import after, run
from tests.trainer.training.test_gpu_memory import first_fold, same
from tests.trainer.training.test_resume import EVERYTHING, assert_same
from trainer.recipe.optimizer_table import OPTIMIZERS
from trainer.training import fold_group
from trainer.training.fold_model import FoldModel
from trainer.training.gpu_memory import MemoryPlan
from trainer.training.offloading import Offloader
from trainer.training.results import CVResult, EpochReport, Verdict

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def in_place() -> CVResult:
    torch.set_num_threads(1)
    return run(EVERYTHING, keep_models=True)


@pytest.fixture
def offloaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Folds are parked between their turns; 0 for each that is put aside, 1 for each that is fetched."""
    monkeypatch.setattr(fold_group, "plan_memory", lambda *args: MemoryPlan(micro_batch=16, offload=True))
    moves: list[int] = []
    at_work: set[int] = set()
    offload, load = FoldModel.offload, FoldModel.load

    def spy_offload(self: FoldModel) -> None:
        offload(self)
        at_work.discard(id(self))
        moves.append(0)

    def spy_load(self: FoldModel) -> None:
        assert not at_work, "the one before is put aside first"
        load(self)
        # Whoever reads the host's copy now, instead of what was brought back, does not go unnoticed.
        for tensor, host_copy in self._offloader._host_copies.values():
            assert tensor.data_ptr() != host_copy.data_ptr()
            host_copy.fill_(True) if host_copy.dtype is torch.bool else host_copy.fill_(77)
        at_work.add(id(self))
        moves.append(1)

    monkeypatch.setattr(FoldModel, "offload", spy_offload)
    monkeypatch.setattr(FoldModel, "load", spy_load)
    return moves


def test_a_training_whose_folds_wait_on_the_host_is_the_same(offloaded: list[int], in_place: CVResult) -> None:
    """Three folds are put aside at first; each of three epochs and the end fetches each once."""
    result = run(EVERYTHING, keep_models=True)
    assert offloaded == [0] * 3 + [1, 0] * (3 * 3 + 3)
    assert result.machine["parked"] is True
    assert_same(in_place, result)
    for waited, stayed in zip(result.models, in_place.models, strict=True):
        assert same(waited, stayed)


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "test_vit", "optimizer.name": "lamb", "swa": 0.5, "ema": 0.0},
        {"optimizer.name": "sgd", "freeze": 0.5, "tta": "hflip", "ema": 0.0},
        {"optimizer.name": "radam", "optimizer.clip_grad": 1.0, "loss.class_weight": 1.0},
    ],
    ids=["lamb", "sgd", "radam"],
)
def test_so_are_other_recipes(changes: dict[str, Any], request: pytest.FixtureRequest) -> None:
    recipe = {**EVERYTHING, "epochs": 2, **changes}
    stayed = run(recipe)
    moves: list[int] = request.getfixturevalue("offloaded")
    assert_same(stayed, run(recipe))
    assert moves


def test_a_checkpoint_of_waiting_folds_is_that_of_any_others(
    offloaded: list[int], in_place: CVResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped while all wait, continued in host_copy; killed after a checkpoint in the background, continued parked."""
    path = tmp_path / "trial.pt"
    stopped = run(EVERYTHING, on_epoch=after(1, Verdict.STOP), checkpoint=path)
    assert stopped.status == "stopped" and offloaded[-1] == 0
    with monkeypatch.context() as patch:
        patch.setattr(fold_group, "plan_memory", lambda *args: MemoryPlan(micro_batch=16))
        moves = len(offloaded)
        assert_same(in_place, run(EVERYTHING, checkpoint=path))
        assert len(offloaded) == moves

    path.unlink()
    now = 0.0

    def killed(report: EpochReport) -> Verdict:
        nonlocal now
        now += 120.0  # seconds: every epoch is checkpointed
        if report.epoch == 2:
            raise KeyboardInterrupt
        return Verdict.CONTINUE

    with pytest.raises(KeyboardInterrupt):
        run(EVERYTHING, on_epoch=killed, checkpoint=path, clock=lambda: now)
    seen: list[int] = []
    continued = run(EVERYTHING, on_epoch=lambda report: seen.append(report.epoch) or Verdict.CONTINUE, checkpoint=path)
    assert seen == [2, 3]
    assert_same(in_place, continued)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_all_that_a_fold_keeps_moves_and_is_there_again(optimizer: str) -> None:
    model = first_fold({"optimizer.name": optimizer, "ema": 0.9})
    model.rehearse(16)
    before = copy.deepcopy(model.state())
    old = places(model)
    model.offload()
    assert not old & places(model)
    assert same(model.state(), before), "it can be read while it waits"
    with pytest.raises(AssertionError):
        model.offload()
    model.load()
    back = copy.deepcopy(model.state())
    model.load()
    assert same(back, before) and same(model.state(), before)
    # The optimizer and the average still refer to the network's own weights.
    model.rehearse(16)
    assert not same(model.state()["model"], before["model"])
    assert not same(model.state()["average"], before["average"])
    assert not same(model.state()["optimizer"], before["optimizer"])


def places(model: FoldModel) -> set[int]:
    """Where the tensors are; what LAMB counts in a parameter group, a few bytes, stays."""
    state = model.state()
    kept = [state["model"], state["average"], state["optimizer"]["state"]]
    return {tensor.data_ptr() for tensor in tensors(kept) if tensor.numel()}


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for item in inner for tensor in tensors(item)]


def test_the_host_memory_is_used_again_unless_a_tensor_became_another() -> None:
    offloader = Offloader(CPU)
    weight = torch.nn.Parameter(torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last))
    shared, other = weight, torch.arange(5)
    values, strides = weight.detach().clone(), weight.stride()
    used = []
    for _ in range(2):
        offloader.offload([weight, shared, other])
        used.append(weight.data_ptr())
        offloader.load()
        assert torch.equal(weight, values) and weight.stride() == strides and weight.requires_grad
    assert used[0] == used[1]
    assert len(offloader._host_copies) == 2, "what is shared is moved once"
    weight.data = torch.randn(1, 2, 3, 3)
    offloader.offload([weight])
    assert weight.shape == (1, 2, 3, 3) and len(offloader._host_copies) == 1
    weight.data += 1.0
    offloader.load()
    assert weight.shape == (1, 2, 3, 3)


def test_what_lies_elsewhere_stays_there() -> None:
    """As the step counters of some optimizers, which are on the CPU whatever the network is on."""
    elsewhere = torch.zeros(3, device="meta")
    offloader = Offloader(CPU)
    offloader.offload([elsewhere])
    assert elsewhere.device.type == "meta" and not offloader._host_copies
