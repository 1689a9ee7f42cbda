"""Distillation: one network that is taught by the predictions of the ensemble (Hinton et al. 2015).

The target of a training image is half its label, half the ensemble's prediction for it. This prediction is out-of-fold,
because a network that trained on an image predicts little but its label.

Out-of-fold targets may teach the final network, but they may not be used to judge it: the network that predicted an
image out-of-fold trained on the images of all other folds, and would carry their labels into the student that is scored
on them. So the students that are scored have teachers of their own, one for each pair of folds
(`trainer.training.teaching.soft_targets`). These teachers are single networks of the student's recipe, weaker than the
ensemble, so the score tends to be too low.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search.runtime.errors import SearchError
from search.workflow.single.card import Taught
from search.workflow.single.exported_ensemble import ExportedModel
from search.workflow.single.nested_scores import NestedScores
from trainer.common.arrays import Float32Array
from trainer.recipe.recipe import LINEAR_PROBE, Recipe
from trainer.training.results import ALWAYS_TRAINED, TrainingData
from trainer.training.teaching.soft_targets import (
    FEWEST_FOLDS,
    fold_pairs,
    folds_of_teacher,
    nested_targets,
    soft_targets,
)

if TYPE_CHECKING:
    import torch

Train = Callable[[TrainingData, bool], "Trained"]
"""Trains one network; whether to return its weights."""


class CannotTeach(SearchError):
    """No network can be taught by the ensemble of this export."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """One trained network."""

    oof: Float32Array
    """Its predictions of the images that it held out, ``(n, C)``; NaN elsewhere."""
    state: dict[str, torch.Tensor] | None
    """Its weights, if they were asked for."""


def choose_student(recipes: tuple[Recipe, ...]) -> int:
    """Number of the member whose recipe the student is trained with: the first that is fine-tuned.

    Raises:
        CannotTeach: all are linear probes.
    """
    for number, recipe in enumerate(recipes):
        if recipe.method != LINEAR_PROBE:
            return number
    raise CannotTeach(
        "the recipes of the model are linear probes, which learn from labels alone, so the ensemble cannot teach one. "
        "With --leader, without --distil, the networks of the first recipe become one: a mean of linear probes of one "
        "backbone loses next to nothing"
    )


def trainings_of(folds: int) -> int:
    """Number of networks that `teach` trains in all, for a study with this many folds."""
    return 1 if folds < FEWEST_FOLDS else len(fold_pairs(folds)) + folds + 1


def oof_of(export: ExportedModel) -> Float32Array:
    """`read_oof` of an export.

    Raises:
        CannotTeach: as `read_oof`.
    """
    return read_oof(
        export.oof_file,
        export.images.train_ids,
        len(export.model.class_names),
        several_labels=export.images.several_labels,
    )


def read_oof(path: Path, ids: tuple[str, ...], classes: int, *, several_labels: bool = False) -> Float32Array:
    """The ensemble's out-of-fold predictions in the oof.csv of an export, averaged over its trainings: ``(n, C)``.

    Args:
        ids: of the training images, in order.
        several_labels: whether an image may have several of the classes.

    Raises:
        CannotTeach: there is no such file, or it is not of these images.
    """
    if not path.is_file():
        raise CannotTeach(
            "the ensemble has no out-of-fold predictions, which would teach one network, because its networks trained "
            "on all images (--full-data)"
        )
    try:
        with path.open(newline="", encoding="utf-8") as file:
            _, *rows = csv.reader(file)
        if not rows or len(rows) % len(ids) or any(row[0] != ids[i % len(ids)] for i, row in enumerate(rows)):
            raise ValueError("its ids are not those of the training images")
        proba = np.array([[float(cell) for cell in row[-classes:]] for row in rows]).reshape(-1, len(ids), classes)
        if not ((proba >= 0.0) & (proba <= 1.001)).all():  # nor NaN
            raise ValueError("it holds values that are no probabilities")
    except (OSError, ValueError, IndexError) as error:
        raise CannotTeach(f"{path} cannot be used: {error}") from error
    mean = np.minimum(proba.mean(axis=0), 1.0)
    return np.asarray(mean if several_labels else mean / mean.sum(axis=1, keepdims=True), dtype=np.float32)


def teach(
    data: TrainingData, ensemble: Float32Array, train: Train, scores: NestedScores
) -> tuple[dict[str, torch.Tensor], Taught | None]:
    """Train one network on all images, taught by the ensemble, and score students of the same kind.

    Args:
        data: with the folds of the search.
        ensemble: its out-of-fold predictions, ``(n, C)``.
        scores: of the export; the students have the temperature and label rule of the single network.

    Returns:
        The weights of the network, and the scores; None where the study has too few folds.
    """
    taught = None
    if data.num_folds >= FEWEST_FOLDS:
        students = scores.single(score_students(data, train))
        single, error = scores.score(students)
        taught = Taught(
            images=len(data.y),
            ensemble=scores.score(scores.ensemble)[0],
            single=single,
            error=error,
            gain=scores.gain(students, scores.ensemble),
        )
    everything = np.full_like(data.folds, ALWAYS_TRAINED)
    state = train(replace(data, folds=everything, soft_targets=soft_targets(data, ensemble)), True).state
    assert state is not None, "it was asked for"
    return state, taught


def score_students(data: TrainingData, train: Train) -> Float32Array:
    """Out-of-fold predictions of students whose teachers did not see what they hold out either: ``(n, C)``."""
    teachers = {
        pair: train(replace(data, folds=folds_of_teacher(data.folds, pair)), False).oof
        for pair in fold_pairs(data.num_folds)
    }
    targets = nested_targets(data, teachers)
    oof = np.full((len(data.y), data.num_classes), np.nan, dtype=np.float32)
    for fold in range(data.num_folds):
        rows = data.folds == fold
        folds = np.where(rows, 0, ALWAYS_TRAINED).astype(np.int64)
        student = train(replace(data, folds=folds, soft_targets=targets[fold]), False)
        oof[rows] = student.oof[rows]
    return oof
