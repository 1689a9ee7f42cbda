"""A step of the optimizer that runs out of memory: undone and repeated if it is the first one, else the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.training.support import competition
from tests.trainer.training.support import run as run_on
from tests.trainer.training.test_precisions import PRECISIONS, use
from trainer.common.memory_errors import is_out_of_memory
from trainer.recipe.recipe import Recipe
from trainer.training.folds import fold_group, fold_model
from trainer.training.folds.memory.gpu_memory import MemoryPlan
from trainer.training.folds.weight_update import FIRST_STEPS, FirstStep
from trainer.training.results import CVResult

ALLOCATOR = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
CHANGES: dict[str, Any] = {"epochs": 2, "ema": 0.9, "drop": 0.2, "image_size": 20, "batch_size": 8}
STEPS = 3  # of an epoch of one fold


def run(changes: dict[str, Any], **options: Any) -> CVResult:
    """Cross-validate on 36 images of 20 pixels, because float16 is slow on a CPU."""
    return run_on(changes, competition(n=36, size=20), **options)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class HalfSteps:
    """Lets some of the first fold's optimizer steps, counted from 1, change one group of weights and then fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *failing: int, error: RuntimeError = ALLOCATOR) -> None:
        self.failing, self.error = failing, error
        self.calls = self.optimizers = 0
        self._build = fold_model.build_optimizer
        monkeypatch.setattr(fold_model, "build_optimizer", self.build)

    def build(self, model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
        optimizer = self._build(model, recipe)
        self.optimizers += 1
        if self.optimizers > 1:
            return optimizer
        whole = optimizer.step

        def step(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls not in self.failing:
                return whole(*args, **options)
            groups = optimizer.param_groups
            assert len(groups) > 1
            optimizer.param_groups = groups[:1]
            whole(*args, **options)
            optimizer.param_groups = groups
            raise self.error

        optimizer.step = step  # type: ignore[method-assign]
        return optimizer


def assert_same_weights(one: Any, other: Any) -> None:
    assert one.oof.tobytes() == other.oof.tobytes()
    for a, b in zip(one.models, other.models, strict=True):
        assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [
        *(("adamw", precision) for precision in PRECISIONS),
        ("sgd", torch.float16),
        ("lamb", torch.bfloat16),
        ("nadam", torch.float32),
    ],
)
def test_a_first_step_without_memory_is_repeated_with_the_other_folds_away(
    monkeypatch: pytest.MonkeyPatch, optimizer: str, precision: torch.dtype
) -> None:
    """As if it had not happened: weights, the optimizer's state, running statistics, dropout and the scale."""
    use(monkeypatch, precision)
    changes = {**CHANGES, "optimizer.name": optimizer, "optimizer.clip_grad": 1.0}
    undisturbed = run(changes, keep_models=True)
    steps = HalfSteps(monkeypatch, 1)
    result = run(changes, keep_models=True)
    assert (steps.calls, result.status) == (2 * STEPS + 1, "finished")
    assert result.machine["parked"] is True and result.machine["micro_batch"] == 8
    assert_same_weights(undisturbed, result)


def test_a_fused_step_of_float16_forgets_the_scale_of_the_failed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without clipping, the scaler leaves its scale at the optimizer for the time of the step."""
    use(monkeypatch, torch.float16)
    undisturbed = run(CHANGES, keep_models=True)
    HalfSteps(monkeypatch, 1)
    assert_same_weights(undisturbed, run(CHANGES, keep_models=True))


@pytest.mark.parametrize("failing", [(1, 2), (2,), (STEPS + 1,)])
def test_another_step_without_memory_ends_the_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failing: tuple[int, ...]
) -> None:
    """No step follows, and the checkpoint of the last whole epoch continues as if nothing had happened."""
    undisturbed = run(CHANGES, keep_models=True)
    path = tmp_path / "trial.pt"
    steps = HalfSteps(monkeypatch, *failing)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        run(CHANGES, checkpoint=path)
    assert is_out_of_memory(caught.value)
    assert steps.calls == failing[-1]
    assert_same_weights(undisturbed, run(CHANGES, checkpoint=path, keep_models=True))


def test_where_no_fold_can_move_a_first_step_without_memory_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_group, "plan_memory", lambda *args: MemoryPlan(micro_batch=16, offload=True))
    steps = HalfSteps(monkeypatch, 1)
    with pytest.raises(torch.OutOfMemoryError):
        run(CHANGES)
    assert steps.calls == 1


def test_another_error_of_a_first_step_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = HalfSteps(monkeypatch, 1, error=RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        run(CHANGES)
    assert steps.calls == 1


def test_settings_that_an_optimizer_changes_are_undone() -> None:
    """Some count their steps in the groups of weights."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    first = FirstStep(optimizer)
    before = dict(optimizer.param_groups[0])

    def fail() -> None:
        optimizer.param_groups[0].update(step=1, lr=0.1)
        optimizer.state[weight]["buffer"] = torch.ones(3)
        with torch.no_grad():
            weight.mul_(2.0)
        raise ALLOCATOR

    assert not first.attempt(fail)
    assert torch.equal(weight, torch.ones(3))
    assert optimizer.param_groups[0] == before and not optimizer.state
    assert first.attempt(lambda: None)


def test_an_optimizer_without_state_is_copied_for_a_few_steps_only() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    first = FirstStep(torch.optim.SGD([weight], lr=0.5))
    for _ in range(FIRST_STEPS):
        assert first.attempt(lambda: None)

    def fail() -> None:
        raise ALLOCATOR

    with pytest.raises(torch.OutOfMemoryError):
        first.attempt(fail)
