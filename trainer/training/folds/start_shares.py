"""The choice, after the last epoch, of how far each fold model goes back to its starting weights (`recipe.wise_ft`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.common.arrays import Float32Array, Float64Array
from trainer.evaluation.ambiguity import expected_average
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

    def predict(fold: int, model: FoldModel) -> dict[float, Float32Array]:
        predicted = {}
        for share in by_share:
            if share != MIDDLE:
                model.set_start_share(share)
                rows = data.held_out(fold)
                predicted[share] = average_views(folds.predict(model, data.pixels.train, rows, views), views)
        return predicted

    for fold, predicted in folds.run(predict):
        for share, proba in predicted.items():
            by_share[share][data.held_out(fold)] = proba
    shares = choose_shares(losses_of_others(data, list(by_share.values())))
    folds.set_start_shares(shares)
    chosen = oof.copy()
    for fold, share in enumerate(shares):
        chosen[data.held_out(fold)] = by_share[share][data.held_out(fold)]
    return chosen, shares


def losses_of_others(data: TrainingData, by_share: Sequence[Float32Array]) -> Float64Array:
    """Brier score of the images that the *other* folds hold out, for each fold and share: shape (folds, shares).

    The scores are those at the best temperature of each share. Otherwise the starting network would be chosen where it
    is merely less certain than the trained one.

    Args:
        by_share: out-of-fold probabilities, (n, C) for each of the shares, NaN in rows that are never held out.

    Returns:
        Infinity where a prediction is not finite; NaN where no other fold holds out an image.
    """
    held_out = [data.held_out(fold) for fold in range(data.num_folds)]
    losses = np.full((len(held_out), len(by_share)), np.nan)
    for fold in range(len(held_out)):
        others = np.concatenate([np.empty(0, np.int64), *held_out[:fold], *held_out[fold + 1 :]])
        for column, proba in enumerate(by_share):
            if not np.isfinite(proba[others]).all():
                losses[fold, column] = np.inf
            elif len(others):
                losses[fold, column] = expected_average(data.targets.select(others), proba[others], []).brier
    return losses


def choose_shares(losses: Float64Array) -> list[float]:
    """Choose the share with the lowest loss for each fold model.

    The images that a fold holds out play no part in the choice for its own model, so its predictions of them stay
    unbiased.

    Args:
        losses: as `losses_of_others` returns them.

    Returns:
        One of `SHARES` for each fold; `MIDDLE` where nothing is known.
    """
    return [SHARES[int(row.argmin())] if np.isfinite(row).any() else MIDDLE for row in losses]
