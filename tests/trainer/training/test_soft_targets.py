"""Soft targets for each fold: nothing that a fold holds out is in what it learns, not even by way of a teacher."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.training.support import ArrayPixels, competition, run
from trainer.training.results import ALWAYS_TRAINED, TrainingData
from trainer.training.teaching.soft_targets import (
    LABEL_SHARE,
    FoldPair,
    fold_pairs,
    folds_of_teacher,
    nested_targets,
    soft_targets,
)


def labelled(y: np.ndarray, folds: np.ndarray, classes: int = 3) -> TrainingData:
    images = np.zeros((len(y), 8, 8, 3), np.uint8)
    return TrainingData(pixels=ArrayPixels(images, images[:0]), y=y, folds=folds, num_classes=classes)


def made_up(data: TrainingData) -> dict[FoldPair, np.ndarray]:
    """Predictions that name their teacher: the probability of the first class is its number in hundredths."""
    named = {}
    for number, pair in enumerate(fold_pairs(data.num_folds), 1):
        proba = np.full((len(data.y), 3), np.nan, np.float32)
        proba[folds_of_teacher(data.folds, pair) == 0] = [number / 100, 1.0 - number / 100, 0.0]
        named[pair] = proba
    return named


@settings(max_examples=40)
@given(folds=st.integers(3, 6), rest=st.lists(st.integers(-1, 5), max_size=20), several=st.booleans())
def test_a_target_is_by_the_teacher_that_saw_neither_image_nor_fold(folds: int, rest: list[int], several: bool) -> None:
    of_image = np.array([*range(folds), *range(folds), *(min(fold, folds - 1) for fold in rest)], dtype=np.int64)
    y = np.arange(len(of_image)) % 3
    labels = np.eye(3)[y]
    data = labelled(labels.astype(np.int64) if several else y, of_image)
    pairs = fold_pairs(folds)
    targets = nested_targets(data, made_up(data))
    assert targets.shape == (folds, len(y), 3) and targets.dtype == np.float32 and len(pairs) == folds * (folds - 1) / 2
    for fold in range(folds):
        for row in data.training_part(fold):
            if of_image[row] == ALWAYS_TRAINED:
                np.testing.assert_array_equal(targets[fold, row], labels[row])
                continue
            predicted = (targets[fold, row] - LABEL_SHARE * labels[row]) / (1.0 - LABEL_SHARE)
            seen = folds_of_teacher(of_image, pairs[round(100 * float(predicted[0])) - 1])
            assert seen[row] == 0, "the teacher did not train on the image"
            assert (seen[of_image == fold] == 0).all(), "nor on any that the fold holds out"
        np.testing.assert_array_equal(targets[fold, of_image == fold], labels[of_image == fold])
    assert len(replace(data, soft_targets=targets).y) == len(y), "they are shares of classes"


def test_each_fold_has_targets_of_its_own() -> None:
    data = competition(n=12)
    targets = np.stack([np.tile(np.eye(3, dtype=np.float32)[fold], (12, 1)) for fold in range(3)])
    taught = replace(data, soft_targets=targets)
    rows = np.array([1, 5])
    for fold in range(3):
        assert taught.targets_of(rows, fold).tolist() == np.eye(3)[[fold, fold]].tolist()
    assert replace(data, soft_targets=targets[1]).targets_of(rows, 0).tolist() == np.eye(3)[[1, 1]].tolist()
    assert data.targets_of(rows, 2).tolist() == data.y[rows].tolist()


@pytest.mark.parametrize("shape", [(2, 12, 3), (3, 11, 3), (3, 12, 2), (1, 3, 12, 3)])
def test_targets_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no shares of 3 classes"):
        replace(competition(n=12), soft_targets=np.full(shape, 1.0 / shape[-1], np.float32))


def test_trainings_aim_at_the_targets_of_their_fold() -> None:
    data = competition(n=36)
    same = soft_targets(data, np.full((36, 3), 1.0 / 3.0, np.float32))
    other = soft_targets(data, np.full((36, 3), [0.8, 0.1, 0.1], np.float32))
    plain = run({"epochs": 1}, replace(data, soft_targets=same)).oof
    tiled = run({"epochs": 1}, replace(data, soft_targets=np.stack([same, same, same]))).oof
    np.testing.assert_array_equal(plain, tiled)
    changed = run({"epochs": 1}, replace(data, soft_targets=np.stack([same, other, same]))).oof
    for fold in range(3):
        assert np.array_equal(changed[data.folds == fold], plain[data.folds == fold]) == (fold != 1)
