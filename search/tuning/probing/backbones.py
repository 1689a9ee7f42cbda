"""The backbones by their probes: which are clearly worse than the best, and in which order to fine-tune the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.tuning.probing.plan import image_sizes
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus, WorkKind
from studies.spec import StudySpec

LEAST_KEPT = 3
"""Backbones that are fine-tuned in any case, the best by their probes: a probe is no fine-tuning."""


@dataclass(frozen=True, kw_only=True)
class ProbedBackbone:
    """A backbone by the best of its probes."""

    name: str
    score: float
    """Mean probability of the true class of the images held out, 0 .. 1."""
    behind: float
    """By how many standard errors its images are predicted worse than by the best probe, paired image by image: 0 or
    more; 0 for the best."""


class ProbeResults:
    """The probed backbones of a study, as one worker has read them last."""

    def __init__(self, stores: Stores, study_id: int, spec: StudySpec) -> None:
        """
        Args:
            spec: resolved specification of the study.
        """
        self._stores, self._study_id, self._keep = stores, study_id, spec.probe.keep
        # Backbones are compared at these sizes: not every one has a probe on reduced and enlarged images.
        self._sizes = image_sizes(spec)
        self.smallest_size = min(map(int, self._sizes))
        """Smallest of the image sizes at which every backbone is probed."""
        self._known: dict[int, tuple[str, NDArray[np.float64]]] = {}  # by record id
        self._starts: dict[tuple[str, str], NDArray[np.float64]] = {}  # the best probe by backbone and starting weights
        self.ranked: list[ProbedBackbone] = []
        """The best first; empty before the first probe has finished."""
        self.settled: frozenset[int] = frozenset()
        """Numbers of the probes, once all have ended and their consequences are drawn; until then empty."""
        self.may_go_further = True
        """Whether a probe on still larger images may follow (`search.tuning.probing.further_probe`)."""

    @property
    def kept(self) -> list[ProbedBackbone]:
        """The backbones to fine-tune, the best probe first; empty: any."""
        return kept_backbones(self.ranked, self._keep)

    @property
    def distances(self) -> dict[str, float]:
        """Standard errors behind the best probe, by the name of the backbone; infinite if it is not fine-tuned."""
        kept = {backbone.name: backbone.behind for backbone in self.kept}
        return {backbone.name: kept.get(backbone.name, math.inf) for backbone in self.ranked}

    def better_start(self, backbone: str, init: str) -> str | None:
        """The starting weights of a backbone whose probe is the best, if it beats that of ``init`` by more than a
        standard error, paired image by image; else None.
        """
        own = self._starts.get((backbone, init))
        if own is None:
            return None
        others = {start: values for (name, start), values in self._starts.items() if name == backbone}
        best = max(others, key=lambda start: float(np.nanmean(others[start])))
        return best if _standard_errors(others[best] - own) > 1.0 else None

    def read(self) -> list[TrialRecord]:
        """Read the probes that have ended since the last call; the records of all ended probes are returned."""
        ended = [r for r in self._stores.trials.records(self._study_id, kind=WorkKind.SEARCH) if r.is_probe]
        for record in ended:
            recipe = record.recipe or {}
            if (
                record.status is TrialStatus.FINISHED
                and record.id not in self._known
                and recipe["image_size"] in self._sizes
            ):
                true_class = self._stores.trials.curves(record.id)[-1].true_class
                backbone = str(recipe["backbone"])
                values = np.asarray(true_class, dtype=np.float64)
                self._known[record.id] = backbone, values
                start = backbone, str(recipe["init"])
                if start not in self._starts or np.nanmean(values) > np.nanmean(self._starts[start]):
                    self._starts[start] = values
        self.ranked = rank_backbones(list(self._known.values()))
        return ended


def rank_backbones(probes: Sequence[tuple[str, NDArray[np.float64]]]) -> list[ProbedBackbone]:
    """Rank backbones by the best of their probes.

    Args:
        probes: backbone, and probability of each image's true class, shape (n,), NaN where it was not held out.
    """
    best_of: dict[str, NDArray[np.float64]] = {}
    for backbone, true_class in probes:
        known = best_of.get(backbone)
        if known is None or np.nanmean(true_class) > np.nanmean(known):
            best_of[backbone] = true_class
    if not best_of:
        return []
    best = max(best_of.values(), key=np.nanmean)
    found = [
        ProbedBackbone(name=name, score=float(np.nanmean(values)), behind=_standard_errors(best - values))
        for name, values in best_of.items()
    ]
    return sorted(found, key=lambda backbone: (-backbone.score, backbone.name))


def kept_backbones(probed: Sequence[ProbedBackbone], keep: float) -> list[ProbedBackbone]:
    """Those of the ranked backbones that are fine-tuned: within ``keep`` standard errors, and at least `LEAST_KEPT`."""
    return [backbone for rank, backbone in enumerate(probed) if rank < LEAST_KEPT or backbone.behind <= keep]


def _standard_errors(differences: NDArray[np.float64]) -> float:
    """Mean of paired differences in standard errors."""
    known = differences[np.isfinite(differences)]
    if len(known) < 2 or not known.any():
        return 0.0
    error = float(known.std(ddof=1)) / math.sqrt(len(known))
    return max(0.0, float(known.mean()) / error) if error > 0.0 else math.inf
