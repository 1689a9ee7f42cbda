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
LEAST_PROBED_EPOCHS = 2
"""Least number of epochs of a shortened recipe that begins with a probe's classifier: after the first one it is hardly
better than the probe.
"""
LEAST_PROBED_SIDE = 0.7
"""Least image size of such a recipe, relative to its own: the probe is better than a network on small images."""
FROZEN = 0.75
"""Share of the layers that such a recipe freezes where it is too long otherwise. On 240 paintings at 192 px, an epoch
then took half of the time, and after two epochs the average of the networks was as good as with all layers
(`benchmarks.training.frozen_layers`).
"""
USUAL_FOLDS = 5
"""Number of fold models where it is not known."""
USEFUL_TRAININGS = 4
"""Trainings in which a continued study can gain something: two trials, a confirmation and a refit."""


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

    def scaled(self, factor: float) -> TrainingCost:
        """The cost of the same training with ``factor`` times as many pixels, above 0."""
        return TrainingCost(epoch=factor * self.epoch, overhead=factor * self.overhead)

    def frozen(self, recipe: Recipe) -> TrainingCost:
        """The cost of the training of ``recipe``, which has this cost, with a share of `FROZEN` layers."""
        ratio = passes(FROZEN) / passes(recipe.freeze)
        of_predictions = predictions(FROZEN) / predictions(recipe.freeze)
        return TrainingCost(epoch=ratio * self.epoch, overhead=of_predictions * self.overhead)

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

    Trainings with its image size count alone, if there are any, and among these the ones that freeze as many layers.
    Others are scaled by the number of pixels, by `passes` and by `predictions`. The same holds for trainings on the
    same device, except that nothing scales those on others.

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
    begun = [r for r in begun if frozen_share(r.recipe or {}) == frozen_share(recipe)] or begun
    epochs, overheads = [], []
    for record in begun:
        scale = (recipe["image_size"] / (record.recipe or {})["image_size"]) ** 2
        of_layers = passes(frozen_share(recipe)) / passes(frozen_share(record.recipe or {}))
        epochs.append(scale * of_layers * record.seconds / record.epochs_done)
        if record.status is TrialStatus.FINISHED:
            of_networks = predictions(frozen_share(recipe)) / predictions(frozen_share(record.recipe or {}))
            overheads.append(scale * of_networks * record.overhead)
    epoch = upper_quantile(epochs)
    return TrainingCost(epoch=epoch, overhead=upper_quantile(overheads) or 0.0) if epoch else None


def passes(frozen: float) -> float:
    """Time of a training step relative to one in which all layers learn, 1/3 .. 1.

    A backward pass takes about twice as long as the forward pass, and leaves out the frozen layers. In a convolutional
    network the layers near the input take longer than the others, so a step is somewhat faster than this.

    Args:
        frozen: share of the layers that are frozen, from the input up, 0 .. 1.
    """
    return (1.0 + 2.0 * (1.0 - frozen)) / 3.0


def predictions(frozen: float) -> float:
    """Time of the predictions after the last epoch, relative to a training in which all layers learn, 1/5 .. 1.

    Args:
        frozen: as in `passes`.
    """
    return passes_together(USUAL_FOLDS, frozen) / USUAL_FOLDS


def passes_together(networks: int, frozen: float) -> float:
    """Forward passes in whose time an image passes through ``networks`` with common frozen layers, 1 .. ``networks``.

    These layers run once. In a convolutional network the layers near the input take longer than the others, so it
    takes less time than this.

    Args:
        frozen: as in `passes`.
    """
    return 1.0 + (networks - 1) * (1.0 - frozen)


def frozen_share(recipe: Mapping[str, Any]) -> float:
    """Share of the layers that a flat recipe freezes; recipes of earlier releases have no such field."""
    return float(recipe.get("freeze", 0.0))


def may_freeze(recipe: Mapping[str, Any]) -> bool:
    """Whether a flat recipe can be shortened by `FROZEN` layers.

    It begins with a probe's classifier, and `wise_ft` protects the layers that learn from few steps.
    """
    return (
        begins_at_probe(recipe)
        and bool(recipe.get("wise_ft", False))
        and recipe.get("tune", "all") == "all"
        and frozen_share(recipe) < FROZEN
    )


def method_of(recipe: Mapping[str, Any]) -> str:
    """The method of a flat recipe; those of earlier releases have no such field."""
    return str(recipe.get("method", FIELDS["method"].default))


def begins_at_probe(recipe: Mapping[str, Any]) -> bool:
    """Whether the training of a flat recipe begins with the classifier of a linear probe."""
    return recipe.get("head") == "probe" and method_of(recipe) != LINEAR_PROBE


def is_fine_tuned(record: TrialRecord) -> bool:
    """Whether a record is that of a training of the network; a linear probe costs a fraction of it."""
    return method_of(record.recipe or {}) != LINEAR_PROBE


def finished_probes(records: Sequence[TrialRecord], backbone: str | None = None) -> list[TrialRecord]:
    """The finished linear probes among ``records``; with a backbone only its own."""
    probes = [r for r in records if r.recipe and r.status is TrialStatus.FINISHED and not is_fine_tuned(r)]
    return [r for r in probes if backbone in (None, (r.recipe or {})["backbone"])]


def probed_sizes(records: Sequence[TrialRecord], backbone: str) -> list[int]:
    """Image sizes, in pixels, of the finished linear probes of a backbone."""
    return [int((record.recipe or {})["image_size"]) for record in finished_probes(records, backbone)]


def length(recipe: Mapping[str, Any]) -> float:
    """Length of a training by its recipe: epochs times pixels of an image, and by its frozen layers (`passes`)."""
    return float(recipe["epochs"]) * float(recipe["image_size"]) ** 2 * passes(frozen_share(recipe))


def longest(records: Sequence[TrialRecord]) -> float:
    """The largest `length` of the finished trainings; 0 without any."""
    return max((length(r.recipe) for r in records if r.status is TrialStatus.FINISHED and r.recipe), default=0.0)


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


def hours_to_continue(records: Sequence[TrialRecord]) -> int:
    """Whole hours in which one worker ends `USEFUL_TRAININGS` more trainings of the longest kind so far, 1 or more.

    Args:
        records: ended trainings of a study; without a fine-tuning among them the answer is 1.
    """
    seconds = full_training_seconds([record for record in records if is_fine_tuned(record)])
    return max(1, math.ceil(USEFUL_TRAININGS * max(seconds, default=0.0) / 3600.0))


def correction_factor(predicted: Sequence[float], measured: Sequence[float]) -> float:
    """Ratio of the measured to the predicted seconds of the same trainings; 1 if either sum is 0."""
    return sum(measured) / sum(predicted) if sum(predicted) > 0.0 and sum(measured) > 0.0 else 1.0


def wall_seconds(trainings: int, seconds: float, workers: int) -> float:
    """Wall-clock seconds of ``trainings`` trainings of ``seconds`` each, if each worker runs one at a time."""
    return math.ceil(trainings / max(1, workers)) * seconds
