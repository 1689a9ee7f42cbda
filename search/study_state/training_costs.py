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
ENOUGH_EPOCHS = 0.5
"""Share of its epochs that a shortened recipe keeps, if smaller images make that possible."""
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
SUFFICIENT = 1.25
"""Ratio of the Brier scores of probes up to which smaller images are about as good. For 128 instead of 224 pixels it
was 0.9 on digits, and 1.6 to 1.7 on paintings and photographs of animals, which need the pixels (240 images each).
"""
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

    def scaled(self, factor: float) -> TrainingCost:
        """The cost of the same training with ``factor`` times as many pixels, above 0."""
        return TrainingCost(epoch=factor * self.epoch, overhead=factor * self.overhead)

    def frozen(self, recipe: Recipe) -> TrainingCost:
        """The cost of the training of ``recipe``, which has this cost, with a share of `FROZEN` layers."""
        ratio = passes(FROZEN) / passes(recipe.freeze)
        return TrainingCost(epoch=ratio * self.epoch, overhead=self.overhead)

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
    Others are scaled by the number of pixels and by `passes`. The same holds for trainings on the same device, except
    that nothing scales those on others.

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
    begun = [r for r in begun if _frozen_share(r.recipe or {}) == _frozen_share(recipe)] or begun
    epochs, overheads = [], []
    for record in begun:
        scale = (recipe["image_size"] / (record.recipe or {})["image_size"]) ** 2
        of_layers = passes(_frozen_share(recipe)) / passes(_frozen_share(record.recipe or {}))
        epochs.append(scale * of_layers * record.seconds / record.epochs_done)
        if record.status is TrialStatus.FINISHED:
            overheads.append(scale * record.overhead)
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


def _frozen_share(recipe: Mapping[str, Any]) -> float:
    return float(recipe.get("freeze", 0.0))


def may_freeze(recipe: Mapping[str, Any]) -> bool:
    """Whether a flat recipe can be shortened by `FROZEN` layers.

    It begins with a probe's classifier, and `wise_ft` protects the layers that learn from few steps.
    """
    return (
        begins_at_probe(recipe)
        and bool(recipe.get("wise_ft", False))
        and recipe.get("tune", "all") == "all"
        and _frozen_share(recipe) < FROZEN
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
    return float(recipe["epochs"]) * float(recipe["image_size"]) ** 2 * passes(_frozen_share(recipe))


def longest(records: Sequence[TrialRecord]) -> float:
    """The largest `length` of the finished trainings; 0 without any."""
    return max((length(r.recipe) for r in records if r.status is TrialStatus.FINISHED and r.recipe), default=0.0)


def sufficient_size(records: Sequence[TrialRecord], backbone: str, image_size: int) -> int:
    """The smallest image size at which a probe of a backbone is about as good as at ``image_size``.

    A network loses on small images what its features lose, and it learns from them several times as fast.

    Returns:
        ``image_size`` if that size is not probed, or no smaller one is as good (`SUFFICIENT`).
    """
    probes = finished_probes(records, backbone)
    brier = {int((r.recipe or {})["image_size"]): r.brier for r in probes if r.brier is not None}
    if image_size not in brier:
        return image_size
    most = SUFFICIENT * brier[image_size]
    return min(size for size, score in brier.items() if size == image_size or (size < image_size and score <= most))


def shortened(
    recipe: Recipe, cost: TrainingCost, seconds: float, *, probed: bool = False, sufficient: int | None = None
) -> Recipe | None:
    """A shorter recipe that fits into ``seconds``: with fewer epochs, and smaller images or frozen layers where needed.

    The sizes are its own and the multiples of 32 pixels below. The recipe has as many epochs as fit at its size. Where
    smaller images are ``sufficient``, it takes the largest size at which all of its epochs fit, down to that one. If
    there is none, it takes that one, if enough epochs for a useful training fit. Otherwise the size depends on how the
    training begins:

    * With a probe's classifier (`begins_at_probe`) it takes its own size, if `LEAST_PROBED_EPOCHS` fit; else the same
      with `FROZEN` layers, if one epoch fits and it may (`may_freeze`); else the largest size, down to
      `LEAST_PROBED_SIDE` of its own, at which `LEAST_PROBED_EPOCHS` fit.
    * Otherwise it takes the largest size, down to half of its own, at which half of its epochs fit.
    * If there is none, it takes the smallest size, down to half of its own, at which an epoch fits, else the largest
      size below at which one fits: a few steps at the first learning rates change a pre-trained network without
      settling. Such a training is worse than a probe.

    Args:
        probed: whether a probe of the backbone has finished, so that a training has to become better than that.
        sufficient: the image size down to which the backbone loses little (`sufficient_size`); None: unknown.

    Returns:
        None: no size fits.
    """
    own, flat = recipe.image_size, recipe.to_flat()
    sizes = [own, *range((own - 1) // SMALLEST_SIDE * SMALLEST_SIDE, 0, -SMALLEST_SIDE)]
    fitting = {size: cost.scaled((size / own) ** 2).epochs_within(seconds) for size in sizes}
    large = [size for size in sizes if 2 * size >= own]
    probes_head = begins_at_probe(flat)
    least = min(LEAST_PROBED_EPOCHS, recipe.epochs) if probes_head else math.ceil(ENOUGH_EPOCHS * recipe.epochs)
    order = []
    if sufficient is not None and sufficient < own:
        order = [size for size in sizes if size >= sufficient and fitting[size] >= recipe.epochs]
        order += [sufficient] * (fitting.get(sufficient, 0) >= least)
    if not order and may_freeze(flat) and fitting[own] < least:
        epochs = min(cost.frozen(recipe).epochs_within(seconds), recipe.epochs)
        if epochs:
            return recipe.replace({"epochs": epochs, "freeze": FROZEN})
    if probes_head:
        order += [size for size in sizes if size >= LEAST_PROBED_SIDE * own and fitting[size] >= least]
    else:
        order += [size for size in large if fitting[size] >= ENOUGH_EPOCHS * recipe.epochs]
    if not probed:
        order += [size for size in reversed(large) if fitting[size]] + [size for size in sizes if fitting[size]]
    size = next(iter(order), None)
    return None if size is None else recipe.replace({"epochs": min(fitting[size], recipe.epochs), "image_size": size})


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
