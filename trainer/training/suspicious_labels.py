"""Training parts without their suspicious labels, or with smaller weights for them (`Recipe.suspicious_labels`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trainer.common.errors import BackboneError
from trainer.probing.suspicious_rows import suspicious_rows
from trainer.recipe.recipe import DOWNWEIGHT, DROP, KEEP, Recipe
from trainer.training.folds.devices import training_precision
from trainer.training.linear_probe import frozen_features, frozen_network
from trainer.training.results import Labels, TrainingData

WEIGHTS = {KEEP: 1.0, DOWNWEIGHT: 0.5, DROP: 0.0}
"""How much a suspicious row counts. Dropping them all is what confident learning does (Northcutt et al. 2021, "prune").
With the half, a right label that is suspicious costs no more than a wrong one that stays: neither is known. In the
benchmark of label noise, dropping gained more or as much."""
SUSPECTS = "suspects"
"""Key of the suspicious rows in a checkpoint, so that a resumed training has the same ones."""


def judge_training_parts(
    recipe: Recipe,
    data: TrainingData,
    *,
    seed: int,
    device: torch.device,
    weights_dir: Path | None,
    before_batch: Callable[[float], None],
) -> TrainingData:
    """The data with the suspicious rows of each training part, by the frozen backbone of ``recipe``.

    Several labels of an image are not judged: the data stay as they are.

    They are found inside each training part alone (`trainer.probing.suspicious_rows`). Held-out rows stay as they are,
    and so do all scores. When this returns, network and features are no longer in memory.

    Args:
        before_batch: called before every batch with the share of the images that are done. What it raises is passed on.

    Raises:
        BackboneError: the backbone or its weights cannot be used, or it gives no feature vectors.
        torch.OutOfMemoryError: one image alone does not fit.
    """
    if data.several_labels:
        return data
    model = frozen_network(recipe, data, seed=seed, device=device, weights_dir=weights_dir)
    try:
        _, features = frozen_features(model, recipe, data, training_precision(device), before_batch)
    except BackboneError as problem:
        raise BackboneError(f"{problem}; {recipe.backbone} needs suspicious_labels = keep") from problem
    suspects = suspicious_rows(features, data.y, data.folds, num_classes=data.num_classes, device=str(device))
    return replace(data, suspects=suspects, suspect_weight=WEIGHTS[recipe.suspicious_labels])


def suspects_of_checkpoint(recipe: Recipe, data: TrainingData, content: dict[str, Any]) -> TrainingData:
    """The data with the suspicious rows of an interrupted training."""
    if data.several_labels:
        return data
    rows: tuple[Labels, ...] = tuple(each.numpy() for each in content[SUSPECTS])
    return replace(data, suspects=rows, suspect_weight=WEIGHTS[recipe.suspicious_labels])


def for_checkpoint(data: TrainingData) -> dict[str, Any]:
    """What `suspects_of_checkpoint` reads; empty if no rows were judged."""
    return {} if data.suspects is None else {SUSPECTS: [torch.from_numpy(rows) for rows in data.suspects]}
