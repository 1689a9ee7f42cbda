"""The shortest training that is still useful where a deadline shortens one or ends it early. Pure functions."""

from __future__ import annotations

from search.study_state.time_budget import LEAST_LENGTH
from search.study_state.training_costs import begins_at_probe, length, probed_sizes
from search.worker.limits.study_time import StudyTime
from storage.values import WorkKind
from trainer.recipe.recipe import LINEAR_PROBE, Recipe


def least_length(state: StudyTime, recipe: Recipe, enough: int) -> float:
    """Length, epochs times pixels, of the shortest recipe that is useful in place of ``recipe``.

    Args:
        enough: image size down to which the backbone loses little (`sufficient_size`).
    """
    if recipe.method == LINEAR_PROBE:
        # Smaller images than those of a finished probe would tell nothing new.
        sizes = probed_sizes(state.ended.trials, recipe.backbone)
        return float((max(sizes) + 1) ** 2) if sizes else 0.0
    if begins_at_probe(recipe.to_flat()):
        return 0.0  # the shortest recipe that `shortened` returns is useful
    least = LEAST_LENGTH * (enough / recipe.image_size) ** 2
    return least * min(length(recipe.to_flat()), state.longest_training)


def least_epochs(state: StudyTime, kind: WorkKind, recipe: Recipe, epochs: int) -> float:
    """Number of epochs after which the training is useful although others of its ``epochs`` are missing."""
    if kind is WorkKind.CONFIRM:
        return epochs  # others are compared with it
    # A finished probe replaces no training: a few epochs are better than none.
    in_search = kind is WorkKind.SEARCH
    if in_search and begins_at_probe(recipe.to_flat()):
        return 1
    replaceable = state.longest_training > 0.0 if in_search else not state.costs.needed_refits
    return LEAST_LENGTH * epochs if replaceable else 1
