"""Soft targets: each is half the label of an image, half a teacher's prediction of it.

That is the loss of distillation at temperature 1, with both parts weighted equally (Hinton et al. 2015, "Distilling the
Knowledge in a Neural Network"). Where the teacher has the student's own recipe it is self-distillation (Furlanello et
al. 2018, "Born-again neural networks").

A teacher must not have trained on the image that it teaches, because such a network predicts little but the label. Nor
may it have trained on what its student holds out: it would carry these labels into the student that is scored on them.
So for each pair of folds there is one teacher that has seen neither of both. It teaches the student that holds out the
one fold what the images of the other fold are, and the other way round.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from trainer.common.arrays import Float32Array
from trainer.evaluation.label_rules import as_certain
from trainer.training.results import ALWAYS_TRAINED, Labels, TrainingData

LABEL_SHARE = 0.5
"""Share of the label in a target; the rest is the teacher's prediction."""
FEWEST_FOLDS = 3
"""Folds with which students can be scored: without two folds, something has to be left for a teacher to train on."""

FoldPair = tuple[int, int]
"""Two different folds, the lower one first."""


def fold_pairs(folds: int) -> list[FoldPair]:
    """The pairs of so many folds, in order: one teacher for each."""
    return list(itertools.combinations(range(folds), 2))


def folds_of_teacher(folds: Labels, pair: FoldPair) -> Labels:
    """The folds of the training of one network that holds out a pair of folds: int64 ``(n,)``."""
    return np.where(np.isin(folds, pair), 0, ALWAYS_TRAINED).astype(np.int64)


def soft_targets(data: TrainingData, teacher: Float32Array) -> Float32Array:
    """Targets of all training images, from predictions ``(n, C)`` of a teacher: float32 ``(n, C)``."""
    labels = as_certain(data.y, data.num_classes)
    return np.asarray(LABEL_SHARE * labels + (1.0 - LABEL_SHARE) * teacher, dtype=np.float32)


def nested_targets(data: TrainingData, teachers: Mapping[FoldPair, Float32Array]) -> Float32Array:
    """Targets for the training part of each fold, from teachers that saw neither the image nor the fold.

    Targets of images that a fold holds out teach nothing, nor has any teacher left out images that no fold holds out:
    both are those of the label alone.

    Args:
        teachers: for each of `fold_pairs`, predictions ``(n, C)`` by the teacher that has not seen both folds; only
            rows of the two folds are read.

    Returns:
        float32 ``(K, n, C)``.
    """
    certain = as_certain(data.y, data.num_classes).astype(np.float32)
    targets = np.empty((data.num_folds, *certain.shape), np.float32)
    for fold in range(data.num_folds):
        proba = certain.copy()
        for other in range(data.num_folds):
            if other != fold:
                rows = data.folds == other
                proba[rows] = teachers[min(fold, other), max(fold, other)][rows]
        targets[fold] = soft_targets(data, proba)
    return targets
