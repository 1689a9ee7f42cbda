"""Whether self-supervised weights help: their linear probe against that of the weights from which they began.

Both probes see the labelled training images of the competition, on the same folds. Image by image they predict the
probability of the true class; the mean difference is compared with its standard error.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from search.runtime.home import Home
from search.statistics.paired_gain import Gain, probability_gain
from search.tuning.probing.plan import as_probe
from search.worker.study_context import training_data
from trainer.data.duplicates import find_duplicates
from trainer.data.folds import fold_groups, make_folds
from trainer.data.image_set import ImageSet
from trainer.evaluation.metrics import metrics_for
from trainer.evaluation.targets import Targets
from trainer.recipe.recipe import Recipe
from trainer.training.cross_validation import cross_validate
from trainer.training.results import EpochReport, TrainingData, Verdict

FOLDS = 5


def probe_gain(
    images: ImageSet,
    *,
    backbone: str,
    image_size: int,
    new: tuple[str, Path | None],
    old: tuple[str, Path | None],
    home: Home,
    device: torch.device,
    folds: int = FOLDS,
) -> Gain:
    """Gain in the mean probability of the true class from other starting weights, by linear probes.

    Args:
        images: labelled.
        new, old: value of ``recipe.init`` and the weights folder, of the weights that are compared.
        home: keeps decoded images and features.

    Raises:
        BackboneError: weights cannot be used, or the backbone cannot be probed.
        DataError: there are too few images for the folds.
    """
    recipe = as_probe(Recipe.from_flat({"backbone": backbone, "image_size": image_size, "augment.hflip": 0.5}))
    groups = fold_groups(images, find_duplicates(images).groups)
    parts = make_folds(images.y, groups, folds, 0)
    data = training_data(images, recipe, parts, home.pixels, features=home.features)
    first, second = (_true_class(recipe.replace({"init": init}), data, weights, device) for init, weights in (new, old))
    return probability_gain(Targets(images.y), first, second)


def _true_class(recipe: Recipe, data: TrainingData, weights: Path | None, device: torch.device) -> NDArray[np.float32]:
    """Probability of each image's true class by the probe of a recipe, ``(n,)``."""
    result = cross_validate(
        recipe,
        data,
        metric=metrics_for(data.several_labels)[0],  # any: the probabilities are compared
        seed=0,
        device=device,
        on_epoch=_go_on,
        checkpoint=None,
        weights_dir=weights,
        predict_test=False,
    )
    return result.reports[-1].true_class


def _go_on(report: EpochReport) -> Verdict:
    return Verdict.CONTINUE
