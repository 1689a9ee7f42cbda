"""The networks of a finished training: saved for the export, each with the images that trained it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.study_state.study_targets import read_pseudo_labels
from search.worker.task import Task
from storage.values import SEARCH_SPLIT, WorkKind
from trainer.formats.weights.trained_on import TrainedOn, contents_of, folder_name
from trainer.networks.custom_weights import images_before
from trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from search.worker.study_context import StudyContext
    from trainer.training.results import CVResult

log = logging.getLogger(__name__)


def save_networks(context: StudyContext, task: Task, result: CVResult, origin: Sequence[TrainedOn]) -> dict[str, str]:
    """Save the fold models and return their digests (`storage.artifacts.ArtifactFolder.digests`).

    Args:
        origin: of `trained_on`.

    Raises:
        OSError: the models of a confirmation or refit cannot be written.
    """
    from trainer.training.write_model_folder import save_weights

    item = task.item
    try:
        folder = context.artifacts.weights(context.study.name, item.id)
        for fold, state in enumerate(result.models):
            save_weights(folder / _weights_name(fold), state, origin)
        return context.artifacts.digests(context.study.name, item.id)
    except OSError as error:
        if item.kind is not WorkKind.SEARCH:
            raise
        # A finished trial counts without its networks: a refit can train them again.
        context.artifacts.remove_weights(context.study.name, item.id)
        log.warning("%s: its networks are not kept: %s", task.name, error)
        return {}


def trained_on(context: StudyContext, recipe: Recipe) -> tuple[TrainedOn, ...]:
    """The images that train a recipe's networks: those of its initial weights, then those of the study.

    It is read before the training, because the file of the initial weights may be gone when that ends. Empty for a
    pre-training, whose registered weights name their images.

    Raises:
        BackboneError: the initial weights cannot be read, or are damaged.
    """
    if context.study.is_pretraining:
        return ()
    images, pseudo = context.images, read_pseudo_labels(context.stores, context.study, SEARCH_SPLIT)
    tests = 0 if pseudo is None else int((pseudo >= 0).any(axis=0).sum())
    own = TrainedOn(
        folder=folder_name(images.root),
        fingerprint=images.fingerprint,
        images=len(images.y) + tests,
        classes=len(images.class_names),
        several_labels=images.several_labels,
        test_images=tests,
        contents=contents_of(images.training_contents),
    )
    return (*images_before(recipe.init, recipe.backbone, context.weights_dir), own)


def _weights_name(fold: int) -> str:
    """File name of one fold model."""
    return f"fold{fold}.safetensors"
