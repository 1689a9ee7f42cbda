"""What trainings cost in seconds, foretold from those that have ended; and the length at which recipes are exported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from storage.values import TrialRecord, TrialStatus
from studies.settings import FinalSettings
from trainer.recipe.recipe import Recipe

QUANTILE = 0.9
"""Of the trials' seconds: what another one may well take. The mean would be too little for every second one."""


def final_recipe(recipe: Mapping[str, Any], final: FinalSettings) -> Recipe:
    """A trial's recipe as it is confirmed and exported: with the epochs and image size of the study's ``[final]``."""
    changes = {"epochs": final.epochs, "image_size": final.image_size}
    return Recipe.from_flat(dict(recipe)).replace({name: v for name, v in changes.items() if v is not None})


def length_ratio(recipe: Mapping[str, Any], final: FinalSettings) -> float:
    """How many times as long a recipe trains at the length at which it is exported: by epochs, and by pixels."""
    epochs, size = float(recipe["epochs"]), float(recipe["image_size"])
    return (final.epochs or epochs) / epochs * ((final.image_size or size) / size) ** 2


def upper(seconds: Sequence[float]) -> float | None:
    """The `QUANTILE` of what trainings took, one of them; None of none."""
    ordered = sorted(seconds)
    return ordered[math.ceil(QUANTILE * len(ordered)) - 1] if ordered else None


def whole_seconds(records: Sequence[TrialRecord]) -> list[float]:
    """What the finished of ``records`` took; where none has finished, what those given up would have taken."""
    finished = [record.seconds for record in records if record.status is TrialStatus.FINISHED]
    if finished:
        return finished
    begun = [record for record in records if record.epochs_done > 0 and record.recipe is not None]
    return [record.seconds / record.epochs_done * (record.recipe or {})["epochs"] for record in begun]


def correction(predicted: Sequence[float], took: Sequence[float]) -> float:
    """By what foretold seconds are to be multiplied, from trainings of which both are known; 1 without any."""
    return sum(took) / sum(predicted) if sum(predicted) > 0.0 and sum(took) > 0.0 else 1.0


def wall_seconds(trainings: int, seconds: float, workers: int) -> float:
    """How long ``trainings`` of ``seconds`` each keep ``workers`` busy that each do one at a time."""
    return math.ceil(trainings / max(1, workers)) * seconds
