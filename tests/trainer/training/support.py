"""Small learnable competitions and short ways to cross-validate on them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from trainer.recipe.recipe import Recipe
from trainer.training import checkpoint as checkpoint_module
from trainer.training.cross_validation import cross_validate
from trainer.training.folds.fold_model import FoldModel
from trainer.training.results import CVResult, EpochReport, TrainingData, Verdict

SMALL: dict[str, Any] = {
    "backbone": "test_resnet",
    "init": "scratch",
    "image_size": 32,
    "epochs": 3,
    "batch_size": 16,
    "optimizer.lr": 5e-3,
}
"""A recipe that learns the shapes below in seconds."""


@dataclass(frozen=True)
class ArrayPixels:
    """Decoded images in memory."""

    train: npt.NDArray[np.uint8]
    test: npt.NDArray[np.uint8]


def shapes(n: int, size: int = 32, seed: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Noisy pictures of three things, in random places: a reddish square, a bluish square, a greenish bar."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, n)
    images = generator.integers(60, 190, (n, size, size, 3))
    for image, label in zip(images, y, strict=True):
        top, left = generator.integers(0, size // 2, 2)
        height, width = [(size // 2, size // 2), (size // 2, size // 2), (size // 8, size)][label]
        image[top : top + height, left : left + width, [0, 2, 1][label]] += 65
    return images.astype(np.uint8), y.astype(np.int64)


def competition(n: int = 72, folds: int = 3, seed: int = 0, size: int = 32) -> TrainingData:
    """``n`` training images in ``folds`` folds and 12 test images."""
    images, y = shapes(n + 12, size, seed)
    return TrainingData(
        pixels=ArrayPixels(images[:n], images[n:]), y=y[:n], folds=np.arange(n, dtype=np.int64) % folds, num_classes=3
    )


def first_fold(changes: dict[str, Any], weights_dir: Path | None = None) -> FoldModel:
    """The first fold of the recipe `SMALL` with some changes, before its first epoch."""
    data = competition()
    return FoldModel(
        Recipe.from_flat({**SMALL, **changes}),
        fold=0,
        seed=0,
        train_y=data.y[data.training_part(0)],
        num_classes=3,
        device=torch.device("cpu"),
        weights_dir=weights_dir,
    )


def go_on(report: EpochReport) -> Verdict:
    """Train to the end."""
    return Verdict.CONTINUE


def after(epoch: int, verdict: Verdict) -> Callable[[EpochReport], Verdict]:
    """Train to the end of ``epoch``, then say ``verdict``."""
    return lambda report: verdict if report.epoch == epoch else Verdict.CONTINUE


def run(
    changes: dict[str, Any] | None = None,
    data: TrainingData | None = None,
    *,
    on_epoch: Callable[[EpochReport], Verdict] = go_on,
    checkpoint: Path | None = None,
    **options: Any,
) -> CVResult:
    """Cross-validate `SMALL` with changes."""
    return cross_validate(
        Recipe.from_flat({**SMALL, **(changes or {})}),
        competition() if data is None else data,
        on_epoch=on_epoch,
        checkpoint=checkpoint,
        **{"metric": "accuracy", "seed": 0, "device": "cpu", **options},
    )


def fill_disk_in_torch(monkeypatch: pytest.MonkeyPatch, as_torch_does: bool) -> None:
    """Let `torch.save` write some bytes and then fail for want of space.

    Args:
        as_torch_does: with its RuntimeError about file positions, which it raises while it handles the OSError.
    """

    def save(payload: object, file: Any) -> None:
        file.write(b"half")
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if not as_torch_does:
                raise
            failure = RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 704 vs 598")
            failure.__context__ = error
            raise failure  # noqa: B904  # torch names no cause

    monkeypatch.setattr(checkpoint_module.torch, "save", save)
