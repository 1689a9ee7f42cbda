"""Self-distillation: teachers of a training's own recipe, and the soft targets that they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.batches.batch_loader import BatchLoader
from trainer.common.arrays import Float32Array
from trainer.common.randomness import random_key
from trainer.recipe.recipe import Recipe
from trainer.training.checkpoint import CheckpointFile
from trainer.training.cross_validation import cross_validate, training_identity
from trainer.training.results import CVResult, EpochReport, Status, TrainingData, Verdict
from trainer.training.teaching.soft_targets import (
    FEWEST_FOLDS,
    FoldPair,
    fold_pairs,
    folds_of_teacher,
    nested_targets,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Teaching:
    """What the teachers of one training have to teach, or why they do not."""

    targets: Float32Array | None
    """Soft targets for each fold, float32 ``(K, n, C)``; None: a teacher has not finished."""
    ended: CVResult | None = None
    """Without targets: a result of the whole training that says why, "stopped" or "diverged"."""
    earlier_seconds: float = 0.0
    """Time that earlier calls have trained the teachers whose predictions were found."""


def train_teachers(
    recipe: Recipe,
    data: TrainingData,
    *,
    metric: str,
    seed: int,
    device: torch.device | str,
    on_epoch: Callable[[int, EpochReport], Verdict],
    folder: Path | None,
    weights_dir: Path | None = None,
    loader: BatchLoader | None = None,
    abandon: Callable[[], bool] | None = None,
) -> Teaching:
    """Train one network for each pair of folds without both, and make soft targets of their predictions.

    The targets are a function of (recipe, data, seed), like the result of `cross_validate`. A call that ends early is
    continued by the same call: it finds the predictions of finished teachers and the checkpoint of the one under way.

    Args:
        data: K folds, without soft targets.
        seed: of the training; each teacher has a seed of its own that follows from it.
        on_epoch: called after each epoch of a teacher with the number of finished teachers, and with the report, which
            is of the two folds that it holds out. `Verdict.STOP` ends the call, with a checkpoint.
        folder: for checkpoints, and for the predictions of finished teachers. A file of another training, and a damaged
            one, is ignored with a warning. None: nothing is kept.
        weights_dir, loader, abandon: as for `cross_validate`.

    Raises:
        ValueError: there are fewer than `FEWEST_FOLDS` folds, or as `cross_validate`.
        Exception: as `cross_validate`. Finished teachers are kept.
    """
    if data.num_folds < FEWEST_FOLDS:
        raise ValueError(f"teachers need {FEWEST_FOLDS} folds or more, not {data.num_folds}")
    predictions: dict[FoldPair, Float32Array] = {}
    earlier = 0.0
    for done, pair in enumerate(pairs := fold_pairs(data.num_folds)):
        own = replace(data, folds=folds_of_teacher(data.folds, pair))
        own_seed = random_key(seed, "teacher", *pair) % 2**31
        name = f"teacher-{pair[0]}-{pair[1]}"
        file = None
        if folder is not None:
            identity = f"predictions of {training_identity(recipe, own, metric, own_seed)}"
            file = CheckpointFile(folder / f"{name}-predictions.pt", identity)
            found = _read(file.load(), own)
            if found is not None:
                predictions[pair], seconds = found
                earlier += seconds
                continue
        verdicts: list[Verdict] = []

        def after_epoch(report: EpochReport, done: int = done, verdicts: list[Verdict] = verdicts) -> Verdict:
            verdicts.append(on_epoch(done, report))
            return verdicts[-1]

        checkpoint = None if folder is None else folder / f"{name}.pt"
        result = cross_validate(
            recipe,
            own,
            metric=metric,
            seed=own_seed,
            device=device,
            on_epoch=after_epoch,
            checkpoint=checkpoint,
            weights_dir=weights_dir,
            predict_test=False,
            loader=loader,
            abandon=abandon,
        )
        if result.status != "finished":
            return Teaching(targets=None, ended=_ended(result, pair, data), earlier_seconds=earlier)
        predictions[pair] = result.oof
        if file is not None and checkpoint is not None:
            rows = torch.from_numpy(result.oof[own.held_out(0)])
            file.save({"proba": rows, "seconds": sum(report.seconds for report in result.reports)})
            checkpoint.unlink(missing_ok=True)
        # A verdict on the last epoch of a teacher ends nothing there, so it is obeyed here.
        if Verdict.STOP in verdicts:
            reason = f"left after {done + 1} of {len(pairs)} teachers"
            return Teaching(targets=None, ended=_without_scores("stopped", reason, data), earlier_seconds=earlier)
    return Teaching(targets=nested_targets(data, predictions), earlier_seconds=earlier)


def _read(content: dict[str, Any] | None, data: TrainingData) -> tuple[Float32Array, float] | None:
    """Predictions ``(n, C)`` and seconds of a finished teacher, from its file; None: there are none."""
    if content is None:
        return None
    rows = data.held_out(0)
    proba = np.full((len(data.y), data.num_classes), np.nan, np.float32)
    proba[rows] = content["proba"].numpy()
    return proba, float(content["seconds"])


def _ended(result: CVResult, pair: FoldPair, data: TrainingData) -> CVResult:
    """The result of a training of which a teacher ended early."""
    reason = f"the teacher without folds {pair[0]} and {pair[1]} (the first is 0): {result.reason}"
    return replace(_without_scores(result.status, reason, data), machine=result.machine)


def _without_scores(status: Status, reason: str, data: TrainingData) -> CVResult:
    nothing = np.full((len(data.y), data.num_classes), np.nan, dtype=np.float32)
    return CVResult(status=status, reason=reason, reports=(), oof=nothing)
