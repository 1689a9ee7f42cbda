"""The held-out score of a mean of weights: for every image, the mean of the networks that did not train on it.

The mean of all networks of an export has no such score, because every training image is in the training part of some.
So each image is predicted by the mean of those networks alone that hold it out, which are those of several seeds and
splits, and by their averaged predictions. The difference of both scores is what the mean of weights loses, with fewer
networks than in the export.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.statistics.paired_gain import Gain
from search.workflow.single.nested_scores import NestedScores
from trainer.conversion.single.ingredients import Ingredient
from trainer.conversion.single.soup import SoupMaker
from trainer.inference.networks.torch_networks import read_weights

_NAME = re.compile(r"(?:-split(\d+))?-seed\d+-fold(\d+)$")
"""The end of a network's name, see `search.export.exported_model`. Without a split it is the only one of the export."""

MOST_GROUPS = 25
"""Groups of images that the same networks hold out. Each needs a mean of weights of its own, and three splits of five
folds make 125 of them; then the largest are judged."""

Pixels = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Training images by rows, resized: uint8 ``(k, size, size, 3)``."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Scores of the same training images, none of which the networks have seen; higher is better."""

    images: int
    networks: float
    """Mean number of networks that predict an image."""
    averaged: float
    """Of the averaged predictions."""
    averaged_error: float
    """Standard error."""
    single: float
    """Of the mean of the weights."""
    gain: Gain
    """Of the mean of the weights over the averaged predictions; a loss is negative."""


def held_out_rows(path: Path, folds: Mapping[int, NDArray[np.int64]]) -> NDArray[np.bool_]:
    """The training images that a network has not seen: bool ``(n,)``.

    Args:
        path: its file in the model folder.
        folds: fold of each training image, ``(n,)``, by split; of all splits of the export with held-out images.
    """
    (images,) = {len(each) for each in folds.values()}
    place = held_out_fold(path, next(iter(folds)))
    if place is None or place[0] not in folds:
        return np.zeros(images, np.bool_)
    split, fold = place
    return np.asarray(folds[split] == fold)


def held_out_fold(path: Path, only: int) -> tuple[int, int] | None:
    """Split and fold that a network of an export has not seen; None if it trained on all images.

    Args:
        path: its file in the model folder.
        only: the split of an export that has no other.
    """
    named = _NAME.search(path.stem)
    return None if named is None else (int(named[1]) if named[1] else only, int(named[2]))


def score_held_out(
    maker: SoupMaker,
    ingredients: Sequence[Ingredient],
    folds: Mapping[int, NDArray[np.int64]],
    read_scores: Callable[[], NestedScores],
    pixels: Pixels,
    statistics: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    *,
    on_step: Callable[[int, int], None],
) -> HeldOut | None:
    """Score means of weights, and the averaged predictions of the same networks, on images that they have not seen.

    Args:
        folds: see `held_out_rows`; empty: every network has seen all images.
        read_scores: reads how the export is scored; called if an image is held out by two networks. Both predictions
            have the temperature and label rule of the single network.
        statistics: chooses, from the rows of a training part, those for running statistics.
        on_step: called with the number of finished and of all groups of images.

    Returns:
        None if no image is held out by two networks or more.
    """
    if not folds:
        return None
    unseen = np.stack([held_out_rows(each.weights, folds) for each in ingredients])
    rows = np.flatnonzero(unseen.sum(axis=0) > 1)
    if not len(rows):
        return None
    scores = read_scores()
    _, group_of, sizes = np.unique(unseen[:, rows], axis=1, return_inverse=True, return_counts=True)
    rows = rows[np.isin(group_of.reshape(-1), np.argsort(-sizes, kind="stable")[:MOST_GROUPS])]
    patterns, group_of = np.unique(unseen[:, rows], axis=1, return_inverse=True)
    averaged = single = np.zeros((0, 0))
    for group in range(patterns.shape[1]):
        chosen = [each for each, takes_part in zip(ingredients, patterns[:, group], strict=True) if takes_part]
        places = np.flatnonzero(group_of.reshape(-1) == group)
        trained = np.flatnonzero(~unseen[patterns[:, group]].any(axis=0))
        mean, soup = _predict_group(maker, chosen, pixels(rows[places]), statistics(trained), pixels)
        if not averaged.size:
            averaged, single = np.zeros((2, len(rows), mean.shape[1]))
        averaged[places], single[places] = mean, soup
        on_step(group + 1, patterns.shape[1])
    of_both = [scores.single(each, rows) for each in (averaged, single)]
    averaged_score, averaged_error = scores.score(of_both[0], rows)
    return HeldOut(
        images=len(rows),
        networks=float(unseen[:, rows].sum(axis=0).mean()),
        averaged=averaged_score,
        averaged_error=averaged_error,
        single=scores.score(of_both[1], rows)[0],
        gain=scores.gain(of_both[1], of_both[0], rows),
    )


def _predict_group(
    maker: SoupMaker,
    ingredients: Sequence[Ingredient],
    images: NDArray[np.uint8],
    trained: NDArray[np.int64],
    pixels: Pixels,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities of ``images``: averaged over the networks, and of the mean of their weights."""
    shares = np.array([each.share for each in ingredients])
    each = np.stack([maker.predict(read_weights(one.weights), images) for one in ingredients])
    averaged = np.tensordot(shares / shares.sum(), each, axes=1)
    soup = maker.soup(ingredients, lambda: batches_of(trained, pixels))
    return averaged, maker.predict(soup, images)


BATCH = 32
"""Images of a batch from which running statistics are computed, as in training by default."""


def batches_of(rows: NDArray[np.int64], pixels: Pixels) -> list[NDArray[np.uint8]]:
    """Resized images in batches of about `BATCH`, none of which is much smaller than the others."""
    return [pixels(part) for part in np.array_split(rows, max(1, round(len(rows) / BATCH)))]
