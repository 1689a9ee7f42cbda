"""The choice, after the last epoch, of how far each fold model goes back to its starting weights (`recipe.wise_ft`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trainer.common.arrays import Float32Array, Float64Array
from trainer.evaluation.ambiguity import brier_scores, expected_average
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import scale_temperature
from trainer.networks.view_averaging import average_views
from trainer.networks.weight_averaging import MIDDLE, SHARES
from trainer.training.folds.fold_group import FoldGroup
from trainer.training.folds.fold_model import FoldModel
from trainer.training.results import TrainingData


def settle_start_shares(
    folds: FoldGroup, data: TrainingData, oof: Float32Array, views: tuple[str, ...]
) -> tuple[Float32Array, list[float]]:
    """Predict the held-out images with each of `SHARES`, and set the best share of each fold model.

    Args:
        oof: out-of-fold probabilities with the share `MIDDLE`, averaged over ``views``: (n, C), NaN in rows that are
            never held out.
        views: the test-time views that the recipe averages.

    Returns:
        The out-of-fold probabilities with the chosen shares, and the share of each fold.
    """
    by_share = {share: oof if share == MIDDLE else np.full_like(oof, np.nan) for share in SHARES}

    others = [share for share in SHARES if share != MIDDLE]

    def predict(fold: int, model: FoldModel) -> dict[float, Float32Array]:
        rows = data.held_out(fold)
        predicted = folds.predict_with_start_shares(model, others, data.pixels.train, rows, views)
        return {share: average_views(by_view, views) for share, by_view in zip(others, predicted, strict=True)}

    for fold, predicted in folds.run(predict):
        for share, proba in predicted.items():
            by_share[share][data.held_out(fold)] = proba
    shares = choose_shares(losses_of_others(data, list(by_share.values())))
    folds.set_start_shares(shares)
    chosen = oof.copy()
    for fold, share in enumerate(shares):
        chosen[data.held_out(fold)] = by_share[share][data.held_out(fold)]
    return chosen, shares


def losses_of_others(data: TrainingData, by_share: Sequence[Float32Array]) -> list[Float64Array]:
    """Brier scores of the images that the *other* folds hold out, for each fold: shape (images, shares).

    The scores are those at the best temperature of each share. Otherwise the starting network would be chosen where it
    is merely less certain than the trained one. Images count by their weights, whose mean is 1.

    Args:
        by_share: out-of-fold probabilities, (n, C) for each of the shares, NaN in rows that are never held out.

    Returns:
        A share has infinite scores where a prediction is not finite.
    """
    held_out = [data.held_out(fold) for fold in range(data.num_folds)]
    losses = []
    for fold in range(len(held_out)):
        others = np.concatenate([np.empty(0, np.int64), *held_out[:fold], *held_out[fold + 1 :]])
        losses.append(np.stack([_scores(data.targets.select(others), proba[others]) for proba in by_share], axis=1))
    return losses


def _scores(targets: Targets, proba: Float32Array) -> Float64Array:
    if not len(targets):
        return np.empty(0)
    if not np.isfinite(proba).all():
        return np.full(len(targets), np.inf)
    temperature = expected_average(targets, proba, []).temperature
    scaled = scale_temperature(proba, temperature, several_labels=targets.several_labels)
    scores = brier_scores(targets.y, scaled)
    weights = targets.image_weights
    return scores if weights is None else scores * weights / weights.mean()


def choose_shares(losses: Sequence[Float64Array]) -> list[float]:
    """Choose the share of each fold model: the nearest to `MIDDLE` within one standard error of the best.

    A few hundred images decide only between shares that differ clearly (the one-standard-error rule; Breiman et al.
    1984, "Classification and Regression Trees"). The images that a fold holds out play no part in the choice for its
    own model, so its predictions of them stay unbiased.

    Args:
        losses: as `losses_of_others` returns them.

    Returns:
        One of `SHARES` for each fold; `MIDDLE` where nothing is known.
    """
    return [_choose_share(of_fold) for of_fold in losses]


def _choose_share(losses: Float64Array) -> float:
    known = [column for column in range(len(SHARES)) if len(losses) and np.isfinite(losses[:, column]).all()]
    if not known:
        return MIDDLE
    best = min(known, key=lambda column: float(losses[:, column].mean()))
    for column in sorted(known, key=lambda column: abs(SHARES[column] - MIDDLE)):
        behind = losses[:, column] - losses[:, best]
        if behind.mean() <= behind.std() / math.sqrt(len(behind)):
            return SHARES[column]
    return SHARES[best]
