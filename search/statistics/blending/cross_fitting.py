"""Blends that are fitted once for each outer fold, on the images of the other folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.statistics.blending.blends import BlendMethod, Stacked
from search.statistics.paired_gain import Gain, paired_gain
from trainer.evaluation.label_rules import as_certain
from trainer.evaluation.metrics import METRICS, Probabilities
from trainer.evaluation.targets import Targets
from trainer.inference.blend import Blend


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossFitted:
    """A blend method, fitted once for each outer fold on the images of the other folds."""

    folds: NDArray[np.int64]
    """Outer fold of each image, ``(n,)``."""
    blends: tuple[Blend, ...]
    """Blend of each fold, fitted without the fold's images."""

    def predict(self, members: Stacked) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Probabilities ``(n, C)`` and labels ``(n,)``, each image by the blend that was fitted without it.

        Of several labels: 0 and 1, ``(n, C)``.
        """
        proba = np.zeros(members.shape[1:], np.float32)
        several = any(blend.several_labels for blend in self.blends)
        labels = np.zeros(members.shape[1:] if several else members.shape[1], np.int64)
        for fold, blend in enumerate(self.blends):
            rows = self.folds == fold
            part = blend.probabilities(members[:, rows])
            proba[rows], labels[rows] = part, blend.labels(part)
        return proba, labels

    def scored_output(self, members: Stacked, metric: str) -> Probabilities:
        """Input of ``metric``, ``(n, C)``: probabilities, or the one-hot labels for a metric of labels."""
        proba, labels = self.predict(members)
        return proba if METRICS[metric].needs == "probabilities" else as_certain(labels, proba.shape[1])


def cross_fit(method: BlendMethod, targets: Targets, members: Stacked, folds: NDArray[np.int64]) -> CrossFitted:
    """Fit ``method`` once for each outer fold, on the images of the other folds."""
    others = [folds != fold for fold in range(int(folds.max()) + 1)]
    return CrossFitted(folds=folds, blends=tuple(method(targets.select(rows), members[:, rows]) for rows in others))


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredBlend:
    """A blend method with its cross-fitted predictions."""

    method: BlendMethod
    members: Stacked
    cross_fitted: CrossFitted
    output: Probabilities
    """Input of the metric, ``(n, C)``."""

    def fit(self, targets: Targets) -> Blend:
        """The blend fitted on all images."""
        return self.method(targets, self.members)


@dataclass(frozen=True, kw_only=True, eq=False)
class BlendScorer:
    """Scores blend methods on the same images, folds and metric."""

    targets: Targets
    folds: NDArray[np.int64]
    """Outer fold of each image, ``(n,)``."""
    metric: str

    def score(self, method: BlendMethod, members: Stacked) -> ScoredBlend:
        """Cross-fit a method to members, ``(M, n, C)``."""
        cross_fitted = cross_fit(method, self.targets, members, self.folds)
        output = cross_fitted.scored_output(members, self.metric)
        return ScoredBlend(method=method, members=members, cross_fitted=cross_fitted, output=output)

    def gain(self, new: Probabilities, old: Probabilities) -> Gain:
        """Gain of ``new`` over ``old``, both ``(n, C)``."""
        return paired_gain(self.metric, self.targets, new, old)
