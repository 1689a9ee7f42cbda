"""Places of a study's images on a map, from the features of a frozen backbone; computed once, then kept in the home."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.page.cached_features import features_by_preference, read_features
from search.page.facts import Facts
from search.runtime.home import Home
from trainer.common.arrays import Float32Array, Float64Array
from trainer.common.cache_files import mapped_array
from trainer.common.files import replacing
from trainer.probing.image_map import (
    LEAST_IMAGES,
    neighbours,
    place_images,
    principal_components,
    stratified_sample,
)
from trainer.probing.origin import Origin
from trainer.shift.adversarial import TooFewImages, measure_shift

MOST_IMAGES = 2_000
"""Images on the map; of more, a sample in which each class and the test images have their share."""
NEIGHBOURS = 10
SEED = 0
VERSION = b"1"
"""Changes with everything besides features, labels and seed that moves the places."""
LIKE_TEST = 0.1
"""Share of the training images that are marked as the most like test images."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageMap:
    """The map of k images of a study."""

    origin: Origin
    """Of the features."""
    rows: NDArray[np.int64]
    """Index of each image, training images first, then test images: ``(k,)``, ascending."""
    places: Float32Array
    """``(k, 2)``, each axis from 0 to 1."""
    nearest: NDArray[np.int64]
    """The `NEIGHBOURS` nearest images of each one, as indices into ``rows``: ``(k, NEIGHBOURS)`` or fewer columns."""
    likeness: Float64Array | None
    """Probability of each training image among ``rows`` of being a test image; None where a classifier cannot tell the
    two apart, or there are too few images."""


def read_map(facts: Facts, home: Home) -> ImageMap | None:
    """The map of a study's images; None where the home has no features of them, or there are too few images."""
    dataset = facts.dataset
    n, total = len(dataset.y), len(dataset.y) + len(dataset.test_ids)
    for path, origin in features_by_preference(home, facts.study.fingerprint, facts.finished, facts.leader):
        strata = np.concatenate([facts.strata, np.full(total - n, -1, np.int64)])
        rows = stratified_sample(strata, MOST_IMAGES, SEED)
        features = read_features(path, total, rows)
        if features is None or len(rows) < LEAST_IMAGES:
            continue
        components = principal_components(features, SEED)
        return ImageMap(
            origin=origin,
            rows=rows,
            places=_places(path, features, components),
            nearest=neighbours(components, NEIGHBOURS),
            likeness=_likeness(facts, components, rows),
        )
    return None


def _places(path: Path, features: Float32Array, components: Float32Array) -> Float32Array:
    """The places of all images, read from the file that an earlier report has left, or computed and kept."""
    digest = hashlib.sha256(VERSION + SEED.to_bytes(8, "big") + repr(features.shape).encode())
    digest.update(np.ascontiguousarray(features).data)
    key = path.stem.rpartition("-")[0]
    kept = path.with_name(f"{key}-map{digest.hexdigest()[:16]}.npy")
    found = _kept_places(kept, len(components))
    if found is not None:
        return found
    places = place_images(components, SEED)
    try:
        with replacing(kept) as temporary, temporary.open("wb") as file:
            np.save(file, places, allow_pickle=False)
    except OSError as problem:
        log.info("the map is not kept in %s: %s", kept.parent, problem.strerror or problem)
    return places


def _kept_places(path: Path, count: int) -> Float32Array | None:
    """Places of ``count`` images; None if the file does not hold such."""
    places = mapped_array(path)
    if places is None or places.shape != (count, 2) or places.dtype != np.float32:
        return None
    return np.array(places) if bool(((places >= 0.0) & (places <= 1.0)).all()) else None


def _likeness(facts: Facts, components: Float32Array, rows: NDArray[np.int64]) -> Float64Array | None:
    dataset = facts.dataset
    is_training = rows < len(dataset.y)
    groups = rows if dataset.groups is None else dataset.groups[rows]
    try:
        shift = measure_shift(components[is_training], components[~is_training], groups)
    except TooFewImages:
        return None
    return shift.train if shift.auc - 2.0 * shift.standard_error > 0.5 else None
