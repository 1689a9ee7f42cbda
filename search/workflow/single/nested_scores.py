"""How the ensemble and the single network are scored: as the export scores its own predictions.

An export fits a temperature and a label rule (offsets, thresholds or cut points) to its out-of-fold predictions. The
single network keeps them, unless a regression stacks the members, whose temperature and rule do not fit a network. A
score by the largest probability, or by the threshold 0.5, would be that of another model. Nor may an image be scored by
a rule that was fitted to its label. So the export fits them for each fold on the images of the others
(`search.statistics.blending.cross_fitting.cross_fit`), and each image is scored by those of its own fold here as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from search.statistics.blending.cross_fitting import CrossFitted
from search.statistics.paired_gain import Gain, paired_gain
from search.study_state.study_targets import read_targets
from search.workflow.single.exported_ensemble import ExportedModel
from search.workflow.single.exported_refits import read_refits
from trainer.evaluation.metrics import Probabilities, score, standard_error
from trainer.evaluation.targets import Targets
from trainer.inference.blend import Blend


@dataclass(frozen=True, kw_only=True, eq=False)
class NestedScores:
    """Scores of predictions of the ``n`` training images, each by a temperature and label rule fitted without it."""

    metric: str
    targets: Targets
    """Of all training images."""
    ensemble: Probabilities
    """Out-of-fold input of the metric by the ensemble, ``(n, C)``: its score is that of the model card."""
    rule: CrossFitted
    """Temperature and label rule of the single network."""

    def single(self, proba: Probabilities, rows: NDArray[np.int64] | None = None) -> Probabilities:
        """Input of the metric from probabilities of one network, with the temperature and label rule that it exports.

        Args:
            proba: of held-out images, ``(k, C)``.
            rows: the images, ``(k,)``; None: all.

        Returns:
            Probabilities, or the labels as probabilities 0 and 1 for a metric of labels: ``(k, C)``.
        """
        rule = self.rule if rows is None else replace(self.rule, folds=self.rule.folds[rows])
        return rule.scored_output(proba[None].astype(np.float32), self.metric)

    def score(self, output: Probabilities, rows: NDArray[np.int64] | None = None) -> tuple[float, float]:
        """The score of such an input, and its standard error."""
        part = self._part(rows)
        return score(self.metric, part, output), standard_error(self.metric, part, output)

    def gain(self, new: Probabilities, old: Probabilities, rows: NDArray[np.int64] | None = None) -> Gain:
        """The paired gain of one such input over another."""
        return paired_gain(self.metric, self._part(rows), new, old)

    def _part(self, rows: NDArray[np.int64] | None) -> Targets:
        return self.targets if rows is None else self.targets.select(rows)


def nested_scores(export: ExportedModel) -> NestedScores:
    """How an export is scored, whose networks each held out a fold.

    Raises:
        NoExport, StorageError: as `read_refits`.
    """
    refits, metric = read_refits(export), export.study.metric
    assert refits.fitted is not None and refits.model.fitted is not None, "out-of-fold predictions have a fitted blend"
    fitted = refits.model.fitted.cross_fitted  # the model folder, whose rule the network gets, holds no imports
    return NestedScores(
        metric=metric,
        targets=read_targets(export.stores, export.study),
        ensemble=refits.fitted.cross_fitted.scored_output(refits.mean_oof(), metric),
        rule=replace(fitted, blends=tuple(single_blend(blend) for blend in fitted.blends)),
    )


def single_blend(blend: Blend) -> Blend:
    """The blend of a single network: with the temperature and label rule of a weighted mean, none of a regression's."""
    if blend.coefficients:
        return replace(blend, weights=(1.0,), coefficients=(), intercepts=(), temperature=1.0, offsets=(), cuts=())
    return replace(blend, weights=(1.0,))
