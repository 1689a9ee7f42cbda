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
    """A trial's recipe as it is confirmed and exported: the study's ``[final]`` table may replace its epochs and image
    size.
    """
    changes = {"epochs": final.epochs, "image_size": final.image_size}
    return Recipe.from_flat(dict(recipe)).replace({name: v for name, v in changes.items() if v is not None})


def length_ratio(recipe: Mapping[str, Any], final: FinalSettings) -> float:
    """Training time of a recipe as it is exported, relative to the recipe itself: proportional to epochs and pixels."""
    epochs, size = float(recipe["epochs"]), float(recipe["image_size"])
    return (final.epochs or epochs) / epochs * ((final.image_size or size) / size) ** 2


def upper_quantile(seconds: Sequence[float]) -> float | None:
    """The `QUANTILE` of ``seconds``, which is one of its values; None if there are none."""
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
    """Ratio of measured to predicted seconds of the same trainings; 1 without any."""
    return sum(measured) / sum(predicted) if sum(predicted) > 0.0 and sum(measured) > 0.0 else 1.0


def wall_seconds(trainings: int, seconds: float, workers: int) -> float:
    """Wall-clock seconds of ``trainings`` trainings of ``seconds`` each on ``workers`` workers, one at a time each."""
    return math.ceil(trainings / max(1, workers)) * seconds
