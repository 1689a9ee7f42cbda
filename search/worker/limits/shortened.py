"""A shorter recipe for a training that would miss the deadline. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from search.study_state.training_costs import (
    FROZEN,
    LEAST_PROBED_EPOCHS,
    LEAST_PROBED_SIDE,
    TrainingCost,
    begins_at_probe,
    finished_probes,
    may_freeze,
)
from storage.values import TrialRecord
from trainer.recipe.recipe import Recipe

ENOUGH_EPOCHS = 0.5
"""Share of its epochs that a shortened recipe keeps, if smaller images make that possible."""
SUFFICIENT = 1.25
"""Ratio of the Brier scores of probes up to which smaller images are about as good. For 128 instead of 224 pixels it
was 0.9 on digits, and 1.6 to 1.7 on paintings and photographs of animals, which need the pixels (240 images each).
"""
SMALLEST_SIDE = 32
"""Pixels of the smallest image that a shortened recipe trains on; the strides of most backbones multiply to 32."""


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


def shortened_cost(recipe: Recipe, cost: TrainingCost, shorter: Recipe) -> TrainingCost:
    """The cost of a ``shorter`` recipe (`shortened`) in place of ``recipe``, which costs ``cost``."""
    of_layers = cost if shorter.freeze == recipe.freeze else cost.frozen(recipe)
    return of_layers.scaled((shorter.image_size / recipe.image_size) ** 2)
