"""Altered copies that `search check` finds by features of a backbone, and that the hash of the images misses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.study_setup.backbone_features import BackboneFeatures, Say
from search.study_setup.data_folder import Competition
from trainer.common.errors import first_lines
from trainer.data.folds import fold_groups
from trainer.data.image_set import ImageSet
from trainer.evaluation.several_labels import same_labels
from trainer.probing.look_alikes import MIN_COSINE, MOST_PAIRS, TooManyPairs, similar_pairs

SHOWN_PAIRS = 5
"""Number of listed pairs of each kind."""
COMMON = 0.5
"""Share of the training images in pairs beyond which a pair says nothing: the images are alike by nature."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LookAlikes:
    """Pairs of images that features find and hashes miss."""

    lines: list[str]
    groups: NDArray[np.int64]
    """Of the n training images: int64 ``(n,)``. Images that must share a fold so that a label can be judged."""


def find_look_alikes(competition: Competition, features: BackboneFeatures, say: Say) -> LookAlikes:
    """Find pairs by `trainer.probing.look_alikes`, of two training images or a training and a test image.

    If a larger share than `COMMON` of the training images is in pairs, the pairs are not listed.
    """
    say("comparing features")
    images, known = competition.images, competition.duplicates
    n = len(images.train_ids)
    title = f"near-duplicates by features of {features.name} (cosine from {MIN_COSINE:g}), missed by the hash"
    try:
        pairs, _ = similar_pairs(np.concatenate([features.train, features.test]))
        in_pairs = len(np.unique(pairs[pairs < n]))
        common = f"{in_pairs} of {n} training images are in pairs" if in_pairs > COMMON * n else ""
    except TooManyPairs:
        common = f"there are more than {MOST_PAIRS:,} pairs"
    if common:
        line = f"{title}: not listed, because {common}: these features do not tell copies from images of one kind"
        return LookAlikes(lines=[line], groups=fold_groups(images, known.groups))
    hashed = {(int(i), int(j)) for i, j in known.pairs}
    new = [(int(i), int(j)) for i, j in pairs if i < n and (int(i), int(j)) not in hashed]
    joined = _joined(known.groups, pairs[pairs[:, 1] < n])
    lines = list(_pair_lines(images, title, new)) if new else [f"{title}: none"]
    return LookAlikes(lines=lines, groups=fold_groups(images, joined))


def _joined(groups: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups in which the images of each pair are together, too: int64, of the same shape."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    total = int(groups.max(initial=-1)) + 1
    edges = groups[pairs]
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(total, total))
    _, component = connected_components(graph, directed=False)
    joined: NDArray[np.int64] = component[groups].astype(np.int64)
    return joined


def _pair_lines(images: ImageSet, title: str, pairs: Sequence[tuple[int, int]]) -> Iterator[str]:
    n = len(images.train_ids)

    def label(i: int) -> str:
        return f"{images.train_ids[i]} ({images.label_of(i)})" if i < n else images.test_ids[i - n]

    kinds = {
        "in both train and test": [(i, j) for i, j in pairs if j >= n],
        "with two labels": [(i, j) for i, j in pairs if j < n and not same_labels(images.y, i, j)],
        "with one label": [(i, j) for i, j in pairs if j < n and same_labels(images.y, i, j)],
    }
    yield f"{title}: {len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'}"
    for kind, found in kinds.items():
        if found:
            yield f"  {kind}: {len(found)}"
            shown = first_lines([f"{label(i)} and {label(j)}" for i, j in found], SHOWN_PAIRS)
            yield from (f"    {line}" for line in shown)
    if len(pairs) > len(kinds["in both train and test"]):
        yield (
            "  the folds of a study do not keep these pairs together; if they show one thing, give them one value in a "
            "column and name it with --group-column"
        )
