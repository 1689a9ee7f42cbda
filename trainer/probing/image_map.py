"""A map of images: features in two dimensions, where images that look alike to the backbone lie close together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float32Array

COMPONENTS = 50
"""Principal components that t-SNE sees, as its authors advise (van der Maaten & Hinton 2008)."""
ITERATIONS = 500
PERPLEXITY = 30.0
LEAST_IMAGES = 5
"""Images below which there is no map."""


def principal_components(features: Float32Array, seed: int) -> Float32Array:
    """The first `COMPONENTS` principal components of ``k`` images, fewer where the features have fewer.

    Args:
        features: finite, ``(k, d)``.

    Returns:
        float32, ``(k, c)``; zeros where all images are the same.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    values = features.astype(np.float64)
    values = (values - values.mean(axis=0)) / max(float(np.abs(values).max(initial=0.0)), 1e-30)
    count = min(COMPONENTS, *values.shape)
    if not values.any():
        return np.zeros((len(values), count), np.float32)
    with threadpool_limits(1):  # as in `place_images`
        reduced = PCA(count, svd_solver="randomized", random_state=seed).fit_transform(values)
    return np.ascontiguousarray(np.nan_to_num(reduced), np.float32)


def place_images(components: Float32Array, seed: int) -> Float32Array:
    """Places of images on the map by t-SNE, which begins at the first two components.

    One thread computes it, because the order of sums in several changes the result.

    Args:
        components: of `principal_components`, ``(k, c)``, k of at least `LEAST_IMAGES`.

    Returns:
        float32, ``(k, 2)``, finite, each axis from 0 to 1.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    k = len(components)
    spread = float(components.std())
    if components.shape[1] < 2 or spread < 1e-12:
        places = np.pad(components[:, :1], ((0, 0), (0, 1)))
    else:
        tsne = TSNE(
            2,
            init="pca",
            perplexity=min(PERPLEXITY, (k - 1) / 3.0),
            max_iter=ITERATIONS,
            random_state=seed,
            n_jobs=1,
        )
        with threadpool_limits(1):
            places = tsne.fit_transform(components / spread)
    return _to_unit_square(np.asarray(places, np.float64))


def _to_unit_square(places: NDArray[np.float64]) -> Float32Array:
    places = np.nan_to_num(places)
    low, high = places.min(axis=0), places.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    scaled: Float32Array = np.clip((places - low) / span, 0.0, 1.0).astype(np.float32)
    return scaled


def stratified_sample(strata: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """A sample of images in which each stratum has about its share, and one image at least where ``most`` allows.

    Args:
        strata: stratum of each image, ``(n,)``.
        most: number of images in the sample; all of them if there are no more.

    Returns:
        Indices in ascending order, int64.
    """
    n = len(strata)
    if n <= most:
        return np.arange(n, dtype=np.int64)
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    by_stratum = order[np.argsort(strata[order], kind="stable")]
    _, counts = np.unique(strata, return_counts=True)
    # Every image gets its place in its stratum, as a share; images with the lowest places are drawn.
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    places = (np.arange(n) - starts) / np.repeat(counts, counts)
    drawn = by_stratum[np.argsort(places, kind="stable")[:most]]
    return np.sort(drawn).astype(np.int64)


def neighbours(components: Float32Array, count: int) -> NDArray[np.int64]:
    """The nearest other images of each image, the nearest first: int64, ``(k, min(count, k - 1))``."""
    values = components.astype(np.float64)
    squares = (values**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2.0 * values @ values.T
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")[:, : min(count, len(values) - 1)].astype(np.int64)
