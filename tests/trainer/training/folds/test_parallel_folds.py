"""Parallel folds: the same results as sequential ones; networks that draw random numbers never train in parallel."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.training.support import SMALL, after, run
from trainer.recipe.recipe import Recipe
from trainer.training.folds.fold_model import FoldModel
from trainer.training.folds.parallel_folds import ParallelFolds
from trainer.training.results import CVResult, Verdict


@pytest.fixture
def threads() -> Iterator[int]:
    """Three threads on any machine: one for each fold of the small competition."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def alone(changes: dict[str, object] | None = None, **options: object) -> CVResult:
    """The same training with a single thread, one fold after another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run(changes, **options)
    finally:
        torch.set_num_threads(before)


def same(one: CVResult, other: CVResult) -> bool:
    curves = ([(r.metric, r.train_loss, r.true_class.tobytes()) for r in result.reports] for result in (one, other))
    return one.oof.tobytes() == other.oof.tobytes() and next(curves) == next(curves)


MIXED = {"augment.hflip": 0.5, "augment.mix": "mixup", "ema": 0.9, "tta": "hflip"}


@pytest.mark.parametrize("changes", [{}, MIXED], ids=["plain", "with augmentation, mixup, averaged weights and views"])
def test_parallel_folds_give_the_same_bits_as_sequential_ones(threads: int, changes: dict[str, object]) -> None:
    together = run(changes)
    assert together.machine["folds_abreast"] == 3
    lonely = alone(changes)
    assert lonely.machine["folds_abreast"] == 1
    assert same(together, lonely)
    assert together.test is not None and lonely.test is not None
    assert together.test.tobytes() == lonely.test.tobytes()
    assert torch.get_num_threads() == threads


def test_a_stopped_training_resumes_with_parallel_folds(threads: int, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    stopped = run(on_epoch=after(1, Verdict.STOP), checkpoint=file)
    assert stopped.status == "stopped"
    assert same(run(checkpoint=file), run())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "draws"),
    [
        ({}, False),
        ({"backbone": "test_efficientnet"}, False),
        ({"backbone": "test_efficientnet", "drop": 0.2}, True),
        ({"backbone": "test_resnet", "drop_path": 0.2}, True),
    ],
)
def test_networks_that_draw_random_numbers_train_alone(threads: int, changes: dict[str, object], draws: bool) -> None:
    recipe = Recipe.from_flat({**SMALL, **changes})
    model = FoldModel(
        recipe,
        fold=0,
        seed=0,
        train_y=np.arange(32) % 3,
        num_classes=3,
        device=torch.device("cpu"),
        weights_dir=None,
    )
    before = {name: tensor.clone() for name, tensor in model.state()["model"].items()}
    assert model.draws_random_numbers() is draws
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state()["model"].items())
    result = run({**changes, "epochs": 1})
    assert result.machine["folds_abreast"] == (1 if draws else 3)
    assert same(result, run({**changes, "epochs": 1}))


def test_abandoning_ends_all_parallel_folds(threads: int) -> None:
    asked = []

    def abandon() -> bool:
        asked.append(threading.current_thread().name)
        return len(asked) > 4

    result = run(abandon=abandon)
    assert (result.status, result.epochs_done) == ("stopped", 0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fold")]


def test_a_fold_that_diverges_is_named_among_parallel_ones(threads: int) -> None:
    broken = {"optimizer.name": "sgd", "optimizer.lr": 10.0, "schedule.warmup": 0.0, "epochs": 8}
    together, lonely = run(broken), alone(broken)
    assert together.status == lonely.status == "diverged"
    assert together.reason == lonely.reason


def test_an_exception_of_one_task_is_raised_when_all_have_ended(threads: int) -> None:
    ended = []

    def fail() -> None:
        raise OSError("the disk is gone")

    parallel = ParallelFolds(3)
    assert [list(folds) for folds in parallel.rounds(5)] == [[0, 1, 2], [3, 4]]
    with pytest.raises(OSError, match="the disk is gone"):
        parallel.run([fail, lambda: ended.append(1), lambda: ended.append(2)])
    assert sorted(ended) == [1, 2]
    assert parallel.run([torch.get_num_threads] * 3) == [1, 1, 1]
    assert parallel.run([torch.get_num_threads]) == [threads]
    parallel.close()
