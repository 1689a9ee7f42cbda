"""Prediction of training times, in seconds, from ended trainings. Pure functions.

A cost is the time of a worker from taking a training to storing it: its epochs and its overhead (reading pixels,
building networks, predicting, saving weights). Costs are known by recipe (backbone and image size) and by device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.values import TrialRecord, TrialStatus
from studies.settings import FinalSettings
from trainer.recipe.recipe import FIELDS, LINEAR_PROBE, Recipe

QUANTILE = 0.9
"""Quantile of the trials' seconds that predicts the next trial. About every second trial would exceed the mean."""
SMALLEST_SIDE = 32
"""Pixels of the smallest image that a shortened recipe trains on; the strides of most backbones multiply to 32."""


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """Predicted cost of one training."""

    epoch: float
    """Seconds of one epoch, above 0."""
    overhead: float = 0.0
    """Seconds beside the epochs."""

    def total(self, epochs: int) -> float:
        """Seconds of a training of ``epochs`` epochs."""
        return epochs * self.epoch + self.overhead

    def epochs_within(self, seconds: float) -> int:
        """Number of epochs that a training of ``seconds`` has time for, 0 or more."""
        return max(0, math.floor((seconds - self.overhead) / self.epoch))


def device_of(machine: Mapping[str, Any]) -> str:
    """The device of a stored training, by which costs differ: the model of its GPU, or of its processor."""
    processor = str(machine.get("cpu", ""))  # followed by its vector instructions in parentheses
    return processor.rpartition(" (")[0] or processor or str(machine.get("device", ""))


def predicted_cost(
    records: Sequence[TrialRecord], recipe: Mapping[str, Any], device: str | None = None
) -> TrainingCost | None:
    """Predicted cost of a recipe, from trainings of the same backbone by the same method; None if there are none.

    Trainings with its image size count alone, if there are any. Others are scaled by the number of pixels. The same
    holds for trainings on the same device, except that nothing scales those on others.

    Args:
        recipe: flat recipe.
        device: as `device_of` returns it; None: any.
    """
    same = {"backbone": recipe["backbone"], "method": method_of(recipe)}
    begun = [
        r
        for r in records
        if r.epochs_done and r.recipe and same == {"backbone": r.recipe["backbone"], "method": method_of(r.recipe)}
    ]
    begun = [r for r in begun if device_of(r.machine) == device] or begun
    begun = [r for r in begun if (r.recipe or {})["image_size"] == recipe["image_size"]] or begun
    epochs, overheads = [], []
    for record in begun:
        scale = (recipe["image_size"] / (record.recipe or {})["image_size"]) ** 2
        epochs.append(scale * record.seconds / record.epochs_done)
        if record.status is TrialStatus.FINISHED:
            overheads.append(scale * record.overhead)
    epoch = upper_quantile(epochs)
    return TrainingCost(epoch=epoch, overhead=upper_quantile(overheads) or 0.0) if epoch else None


def method_of(recipe: Mapping[str, Any]) -> str:
    """The method of a flat recipe; those of earlier releases have no such field."""
    return str(recipe.get("method", FIELDS["method"].default))


def is_fine_tuned(record: TrialRecord) -> bool:
    """Whether a record is that of a training of the network; a linear probe costs a fraction of it."""
    return method_of(record.recipe or {}) != LINEAR_PROBE


def length(recipe: Mapping[str, Any]) -> float:
    """Length of a training by its recipe: epochs times pixels of an image."""
    return float(recipe["epochs"]) * float(recipe["image_size"]) ** 2


def longest(records: Sequence[TrialRecord]) -> float:
    """The largest `length` of the finished trainings; 0 without any."""
    return max((length(r.recipe) for r in records if r.status is TrialStatus.FINISHED and r.recipe), default=0.0)


def shortened(recipe: Recipe, cost: TrainingCost, seconds: float) -> Recipe | None:
    """The recipe with as many epochs as ``seconds`` last, at most its own.

    If not even one epoch fits, its images become smaller as well: a multiple of 32 pixels, so that one epoch fits.

    Returns:
        None: no size of 32 pixels or more fits.
    """
    epochs = cost.epochs_within(seconds)
    if epochs:
        return recipe.replace({"epochs": min(epochs, recipe.epochs)})
    share = max(0.0, seconds) / cost.total(1)
    side = math.floor(recipe.image_size * math.sqrt(share) / SMALLEST_SIDE) * SMALLEST_SIDE
    return recipe.replace({"epochs": 1, "image_size": side}) if side >= SMALLEST_SIDE else None


def final_recipe(recipe: Mapping[str, Any], final: FinalSettings) -> Recipe:
    """A trial's recipe as it is confirmed and exported: with the epochs and image size of the ``[final]`` table.

    Args:
        recipe: flat recipe of the trial.
        final: the ``[final]`` table of the study. A value of None keeps that of the recipe.
    """
    return Recipe.from_flat(dict(recipe)).replace(_final_changes(recipe, final))


def _final_changes(recipe: Mapping[str, Any], final: FinalSettings) -> dict[str, int]:
    """The fields that the ``[final]`` table changes; none of a linear probe, which no longer training improves."""
    changes = {"epochs": final.epochs, "image_size": final.image_size}
    if method_of(recipe) == LINEAR_PROBE:
        return {}
    return {name: value for name, value in changes.items() if value is not None}


def length_ratio(recipe: Mapping[str, Any], final: FinalSettings) -> float:
    """Ratio of a recipe's training time with the ``[final]`` table to that without it, by epochs and pixels."""
    return length({**recipe, **_final_changes(recipe, final)}) / length(recipe)


def final_cost(
    record: TrialRecord, final: FinalSettings, records: Sequence[TrialRecord] = (), device: str | None = None
) -> float:
    """Predicted seconds of a finished trial's recipe as it is exported.

    The epochs and the image size are those of the export. More epochs do not change the overhead.

    Args:
        records: trainings that show the cost on another device than the trial's own.
        device: where the recipe will train; None: on the trial's own device.
    """
    recipe = record.recipe or {}
    if device not in (None, device_of(record.machine)):
        exported = final_recipe(recipe, final).to_flat()
        there = predicted_cost([r for r in records if device_of(r.machine) == device], exported)
        if there is not None:
            return there.total(int(exported["epochs"]))
    pixels = (_final_changes(recipe, final).get("image_size", recipe["image_size"]) / recipe["image_size"]) ** 2
    # A training that the deadline ended has fewer epochs than its recipe.
    whole = recipe["epochs"] / record.epochs_done if record.epochs_done else 1.0
    return float(record.seconds * whole * length_ratio(recipe, final) + record.overhead * pixels)


def upper_quantile(seconds: Sequence[float]) -> float | None:
    """The `QUANTILE` of ``seconds``, which is one of the values; None if there are no values."""
    ordered = sorted(seconds)
    return ordered[math.ceil(QUANTILE * len(ordered)) - 1] if ordered else None


def full_training_seconds(records: Sequence[TrialRecord], device: str | None = None) -> list[float]:
    """Costs of the finished trainings; if none has finished, of the incomplete ones, extrapolated to all epochs.

    Args:
        device: only trainings on this device count, if there are any; None: all count.
    """
    own = [record for record in records if device_of(record.machine) == device]
    for some in (own, records):
        finished = [record.cost for record in some if record.status is TrialStatus.FINISHED]
        if finished:
            return finished
        begun = [record for record in some if record.epochs_done > 0 and record.recipe is not None]
        if begun:
            return [r.seconds / r.epochs_done * (r.recipe or {})["epochs"] + r.overhead for r in begun]
    return []


def correction_factor(predicted: Sequence[float], measured: Sequence[float]) -> float:
    """Ratio of the measured to the predicted seconds of the same trainings; 1 if either sum is 0."""
    return sum(measured) / sum(predicted) if sum(predicted) > 0.0 and sum(measured) > 0.0 else 1.0


def wall_seconds(trainings: int, seconds: float, workers: int) -> float:
    """Wall-clock seconds of ``trainings`` trainings of ``seconds`` each, if each worker runs one at a time."""
    return math.ceil(trainings / max(1, workers)) * seconds
