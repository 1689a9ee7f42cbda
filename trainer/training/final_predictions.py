"""Predictions after the last epoch of a cross-validation.

1. All fold models predict the test images, or a sample of them, with the test-time views that the recipe averages. A
   sample ranks the training and is thrown away, so the precision of the training suffices.
2. How much the models differ on these images gives the expected score of their average
   (`trainer.evaluation.ambiguity`).
3. If the training is worth keeping, the models predict the held-out images with every further view that was
   requested, and all test images, in full float32, with those views that help there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from trainer.batches.batch_plan import Indices
from trainer.common.arrays import Float32Array
from trainer.evaluation.ambiguity import Average, expected_average
from trainer.networks.view_averaging import average_views, helpful_views
from trainer.training.folds.fold_group import FoldGroup
from trainer.training.folds.fold_model import FoldModel
from trainer.training.results import TrainingData

PredictTest = bool | Literal["if kept"]
"""Whether all test images are predicted: always, never, or if the training is worth keeping."""
AMBIGUITY_IMAGES = 1000  # test images, evenly spaced, on which the ambiguity of the fold models is measured


@dataclass(frozen=True, kw_only=True, eq=False)
class FinalPredictions:
    """What a finished training predicts; the fields are those of `trainer.training.results.CVResult`."""

    test: Float32Array | None = None
    oof_views: dict[str, Float32Array] = field(default_factory=dict)
    test_views: dict[str, Float32Array] = field(default_factory=dict)
    average: Average | None = None
    models: tuple[dict[str, torch.Tensor], ...] = ()


def predict_after_last_epoch(
    folds: FoldGroup,
    data: TrainingData,
    oof: Float32Array,
    *,
    recipe_views: tuple[str, ...],
    views: tuple[str, ...],
    predict_test: PredictTest,
    sample_precision: torch.dtype | None,
    keep_models: bool,
    worth_keeping: Callable[[Average | None], bool],
) -> FinalPredictions:
    """Predict what the last epoch has left to predict.

    Args:
        oof: out-of-fold probabilities after the last epoch, averaged over ``recipe_views``: (n, C), NaN in rows that
            are never held out.
        recipe_views: the test-time views that the recipe averages.
        views: further views to predict, each by itself; of the test images those alone that help (`helpful_views`).
            Nothing but ``"identity"`` means none.
        predict_test: whether to predict all test images. Otherwise a sample is predicted, for the expected average.
        sample_precision: of the predictions of the sample; None: full float32, in which a sample that is all test
            images needs no second prediction.
        keep_models: return the weights of the fold models.
        worth_keeping: given the expected average. Where it returns False, no models and no further views come back.
    """
    num_test = len(data.pixels.test)
    sample = ambiguity_sample(num_test)
    every_row = np.arange(num_test, dtype=np.int64)
    at_once = predict_test is True or (
        predict_test == "if kept" and len(sample) == num_test and sample_precision is None
    )
    first_rows, within = (every_row, sample) if at_once else (sample, slice(None))
    first = _predict_views(folds, data, (), recipe_views, first_rows, within, None if at_once else sample_precision)
    average = average_of_folds(data, oof, first.sample_by_fold if num_test else [])

    kept = worth_keeping(average)
    asked = tuple(dict.fromkeys(("identity", *views))) if kept and set(views) - {"identity"} else ()
    predicted = at_once or (kept and predict_test == "if kept")
    oof_views = {recipe_views[0]: oof} if len(recipe_views) == 1 else {}
    missing = tuple(view for view in asked if view not in oof_views)
    oof_views |= _predict_views(folds, data, missing, (), every_row, slice(0)).held_out
    helpful = helpful_views(data.targets, {view: oof_views[view] for view in asked}) if asked else ()

    test_views = first.test if at_once else {}
    if predicted:
        missing = tuple(view for view in dict.fromkeys((*recipe_views, *helpful)) if view not in test_views)
        test_views |= _predict_views(folds, data, (), missing, every_row, slice(0)).test
    return FinalPredictions(
        test=average_views(test_views, recipe_views) if predicted else None,
        oof_views={view: oof_views[view] for view in asked},
        test_views={view: test_views[view] for view in helpful} if predicted else {},
        average=average,
        models=folds.evaluated_weights() if keep_models and kept else (),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _ViewPredictions:
    """One pass over all folds."""

    held_out: dict[str, Float32Array] = field(default_factory=dict)
    """By view: the training images, each by the model that has not seen it; (n, C), NaN in rows never held out."""
    test: dict[str, Float32Array] = field(default_factory=dict)
    """By view: the test images, by the mean of all models; (m, C)."""
    sample_by_fold: list[Float32Array] = field(default_factory=list)
    """For each model alone: the sample of the test images, averaged over the views."""


def _predict_views(
    folds: FoldGroup,
    data: TrainingData,
    held_out_views: tuple[str, ...],
    test_views: tuple[str, ...],
    test_rows: Indices,
    sample: Indices | slice,
    precision: torch.dtype | None = None,
) -> _ViewPredictions:
    """Predict held-out images with ``held_out_views`` and the test images ``test_rows`` with ``test_views``.

    ``sample`` selects from ``test_rows`` what is kept for each model alone. ``precision`` is that of the test images.
    """
    found = _ViewPredictions()
    if not held_out_views and not test_views:
        return found

    def predict(fold: int, model: FoldModel) -> dict[str, Float32Array]:
        return folds.predict(model, data.pixels.train, data.held_out(fold), held_out_views)

    for view in held_out_views:
        found.held_out[view] = np.full((len(data.y), data.num_classes), np.nan, dtype=np.float32)
    for fold, held_out in folds.run(predict) if held_out_views else ():
        for view, proba in held_out.items():
            found.held_out[view][data.held_out(fold)] = proba
    for test in folds.predict_by_all(data.pixels.test, test_rows, test_views, precision) if test_views else ():
        for view, proba in test.items():
            found.test[view] = found.test.get(view, np.float32(0)) + proba / np.float32(len(folds))
        found.sample_by_fold.append(average_views(test, test_views)[sample])
    return found


def ambiguity_sample(num_test: int) -> Indices:
    """Rows of the test images on which the ambiguity of the fold models is measured, evenly spaced."""
    return np.linspace(0, num_test - 1, num=min(num_test, AMBIGUITY_IMAGES)).astype(np.int64)


def average_of_folds(data: TrainingData, oof: Float32Array, sample_by_fold: Sequence[Float32Array]) -> Average | None:
    """The expected score of the average of the fold models; None where nothing was held out.

    Args:
        oof: out-of-fold probabilities, shape (n, C); NaN in rows that are never held out.
        sample_by_fold: probabilities of each fold model for the `ambiguity_sample`; empty without test images.
    """
    held_out = np.isfinite(oof[:, 0])
    if not held_out.any():
        return None
    return expected_average(data.targets.select(held_out), oof[held_out], sample_by_fold)
