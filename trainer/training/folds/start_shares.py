"""The choice, after the last epoch, of how far each fold model goes back to its starting weights (`recipe.wise_ft`)."""

from __future__ import annotations

import numpy as np

from trainer.common.arrays import Float32Array, Float64Array
from trainer.evaluation.ambiguity import brier_scores
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
    shares = choose_shares(brier_sums(data, by_share))
    folds.set_start_shares(shares)
    chosen = oof.copy()
    for fold, share in enumerate(shares):
        chosen[data.held_out(fold)] = by_share[share][data.held_out(fold)]
    return chosen, shares


def brier_sums(data: TrainingData, by_share: dict[float, Float32Array]) -> Float64Array:
    """Brier scores of the images that each fold holds out, weighted and summed: shape (folds, shares).

    Args:
        by_share: out-of-fold probabilities with each share, in the order of `SHARES`.
    """
    weights = np.ones(len(data.y)) if data.image_weights is None else data.image_weights
    columns = []
    for proba in by_share.values():
        scores = weights * brier_scores(data.y, proba.astype(np.float64))
        columns.append([scores[data.held_out(fold)].sum() for fold in range(data.num_folds)])
    return np.array(columns).T


def choose_shares(losses: Float64Array) -> list[float]:
    """Choose a share for each fold model: the best for the images that the other folds hold out.

    The images that a fold holds out play no part in the choice for its own model, so its predictions of them stay
    unbiased.

    Args:
        losses: as `brier_sums` returns them. A loss that is not finite is never chosen.

    Returns:
        One of `SHARES` for each fold; `MIDDLE` where no other fold holds out an image.
    """
    losses = np.where(np.isfinite(losses), losses, np.inf)
    chosen = []
    for fold in range(len(losses)):
        others = np.delete(losses, fold, axis=0).sum(axis=0)
        chosen.append(SHARES[int(others.argmin())] if others.any() and np.isfinite(others).any() else MIDDLE)
    return chosen
