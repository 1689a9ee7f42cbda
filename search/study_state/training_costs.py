"""Prediction of training times, in seconds, from ended trainings. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from storage.values import TrialRecord, TrialStatus
from studies.settings import FinalSettings
from trainer.recipe.recipe import Recipe

QUANTILE = 0.9
"""Quantile of the trials' seconds that predicts the next trial. About every second trial would exceed the mean."""


def final_recipe(recipe: Mapping[str, Any], final: FinalSettings) -> Recipe:
    """A trial's recipe as it is confirmed and exported: with the epochs and image size of the ``[final]`` table.

    Args:
        recipe: flat recipe of the trial.
        final: the ``[final]`` table of the study. A value of None keeps that of the recipe.
    """
    changes = {"epochs": final.epochs, "image_size": final.image_size}
    return Recipe.from_flat(dict(recipe)).replace({name: v for name, v in changes.items() if v is not None})


def length_ratio(recipe: Mapping[str, Any], final: FinalSettings) -> float:
    """Ratio of a recipe's training time with the ``[final]`` table to that without it, by epochs and pixels."""
    epochs, size = float(recipe["epochs"]), float(recipe["image_size"])
    return (final.epochs or epochs) / epochs * ((final.image_size or size) / size) ** 2


def upper_quantile(seconds: Sequence[float]) -> float | None:
    """The `QUANTILE` of ``seconds``, which is one of the values; None if there are no values."""
    ordered = sorted(seconds)
    return ordered[math.ceil(QUANTILE * len(ordered)) - 1] if ordered else None


def full_training_seconds(records: Sequence[TrialRecord]) -> list[float]:
    """Seconds of the finished trainings; if none has finished, of the incomplete ones, extrapolated to all epochs."""
    finished = [record.seconds for record in records if record.status is TrialStatus.FINISHED]
    if finished:
        return finished
    begun = [record for record in records if record.epochs_done > 0 and record.recipe is not None]
    return [record.seconds / record.epochs_done * (record.recipe or {})["epochs"] for record in begun]


def correction_factor(predicted: Sequence[float], measured: Sequence[float]) -> float:
    """Ratio of the measured to the predicted seconds of the same trainings; 1 if either sum is 0."""
    return sum(measured) / sum(predicted) if sum(predicted) > 0.0 and sum(measured) > 0.0 else 1.0


def wall_seconds(trainings: int, seconds: float, workers: int) -> float:
    """Wall-clock seconds of ``trainings`` trainings of ``seconds`` each, if each worker runs one at a time."""
    return math.ceil(trainings / max(1, workers)) * seconds
