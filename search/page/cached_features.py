"""Features of a study's images that probes have left in the home: which ones to take, and reading them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.runtime.home import Home
from storage.values import TrialRecord
from trainer.common.arrays import Float32Array
from trainer.common.cache_files import mapped_array, mark_in_use
from trainer.probing.origin import Origin, find_features


def features_by_preference(
    home: Home, fingerprint: str, finished: Sequence[TrialRecord], leader: TrialRecord | None
) -> list[tuple[Path, Origin]]:
    """The files with features: of the best probe first, then those of the leader's backbone, then the largest images.

    Args:
        fingerprint: of the images.
        finished: trials and probes of the study.
        leader: its best trial; None: there is none.
    """
    probes = [record for record in finished if record.is_probe]
    best = max(probes, key=lambda record: record.mean_true_probability or 0.0, default=None)

    def rank(each: tuple[Path, Origin]) -> tuple[bool, bool, int, str]:
        origin = each[1]
        of_probe = best is not None and _uses(best.recipe, origin, sized=True)
        of_leader = leader is not None and _uses(leader.recipe, origin, sized=False)
        return not of_probe, not of_leader, -origin.image_size, each[0].name

    return sorted(find_features(home.features, fingerprint), key=rank)


def _uses(recipe: dict[str, object] | None, origin: Origin, *, sized: bool) -> bool:
    if recipe is None or recipe.get("backbone") != origin.backbone:
        return False
    return not sized or recipe.get("image_size") == origin.image_size


def read_features(path: Path, total: int, rows: NDArray[np.int64]) -> Float32Array | None:
    """The features of the images ``rows``; None if the file does not hold finite features of ``total`` images."""
    mapped = mapped_array(path)
    if mapped is None or mapped.dtype != np.float32 or mapped.ndim != 2 or len(mapped) != total or not mapped.shape[1]:
        return None
    try:
        mark_in_use(path, mapped)
    except OSError:  # removed meanwhile
        return None
    features: Float32Array = np.array(mapped[rows])
    return features if np.isfinite(features).all() else None
