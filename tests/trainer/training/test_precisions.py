"""Training in the precisions of different devices, made on the CPU: float32, bfloat16, and float16 with its scale."""

from __future__ import annotations

import copy
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.training.support import after, competition, first_fold, run
from trainer.training import lockstep, machine
from trainer.training.folds import fold_model
from trainer.training.folds.memory.gpu_memory import tensor_bytes
from trainer.training.results import Verdict

PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def use(monkeypatch: pytest.MonkeyPatch, precision: torch.dtype) -> None:
    for module in (fold_model, lockstep, machine):
        monkeypatch.setattr(module, "training_precision", lambda device: precision)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "then"), list(product(PRECISIONS, PRECISIONS)))
def test_any_precision_continues_from_any(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: torch.dtype, then: torch.dtype
) -> None:
    changes = {"epochs": 2, "ema": 0.9, "optimizer.clip_grad": 1.0, "image_size": 20, "batch_size": 8}
    path, data = tmp_path / "trial.pt", competition(n=36, size=20)
    use(monkeypatch, before)
    stopped = run(changes, data, on_epoch=after(1, Verdict.STOP), checkpoint=path)
    assert stopped.status == "stopped"
    use(monkeypatch, then)
    continued = run(changes, data, checkpoint=path)
    assert (continued.status, continued.epochs_done) == ("finished", 2)
    assert continued.reports[0].train_loss == stopped.reports[0].train_loss
    assert continued.machine["precision"] == str(then).removeprefix("torch.")
    assert np.isfinite(continued.oof).all()
    if before is then:
        assert continued.oof.tobytes() == run(changes, data).oof.tobytes()


def test_the_scale_of_float16_is_restored_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, torch.float16)
    model = first_fold({})
    model.rehearse(16)
    model._scaler.update(512.0)
    scaled = copy.deepcopy(model.state())
    other = first_fold({})
    other.restore(scaled)
    assert other._scaler.get_scale() == 512.0
    use(monkeypatch, torch.bfloat16)
    passing = first_fold({})
    passing.restore(scaled)
    assert passing.state()["scaler"] == {}
    use(monkeypatch, torch.float16)
    last = first_fold({})
    last.restore(passing.state())
    assert last._scaler.get_scale() == 65536.0


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lamb"])
def test_a_rehearsal_makes_the_state_of_the_optimizer(
    monkeypatch: pytest.MonkeyPatch, precision: torch.dtype, optimizer: str
) -> None:
    """At the first scale of float16 the gradients may overflow, and the scaler would skip the step."""
    use(monkeypatch, precision)
    model = first_fold({"optimizer.name": optimizer, "optimizer.clip_grad": 1.0})
    if model._scaler.is_enabled():
        model._scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    for _ in range(2):
        model.rehearse(16)
    parameters = sum(parameter.nbytes for parameter in model.evaluated.parameters())
    assert tensor_bytes(model.state()["optimizer"]) >= parameters
