"""The blend of the final model, fitted on all images, and its cross-fitted score. Pure functions of predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.statistics.blending.blends import Stacked, calibrated, greedy, mean_of_all, stack, with_label_rule
from search.statistics.blending.cross_fitting import BlendScorer, CrossFitted
from search.statistics.blending.second_stage import TWO_STAGE, two_stage
from search.statistics.paired_gain import Gain, shown_gain
from trainer.evaluation.confusion.confusable_groups import Groups
from trainer.evaluation.label_rules import CUT_METRICS, OFFSET_METRICS
from trainer.evaluation.metrics import METRICS, Probabilities, score, standard_error
from trainer.evaluation.targets import Targets
from trainer.inference.blend import Blend


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedBlend:
    """The final model's blend, fitted on all images, with its cross-fitted score."""

    blend: Blend
    cross_fitted: CrossFitted
    method: str
    """As in `Choice`; ``equal`` if a weighted or stacked blend was not really better."""
    score: float
    """Of the cross-fitted predictions."""
    error: float
    """Standard error of ``score``."""
    equal_mean_score: float
    """Score of the members' equal mean, without temperature scaling, labels by the largest probability; of the first
    stage alone if there is a second one."""
    gain: Gain
    """Over the leader alone, which has neither temperature scaling nor a label rule."""
    notes: tuple[str, ...]
    """Each step that was tried, with its gain and whether it is used; shown to the user."""


def fit_final(
    members: Stacked,
    targets: Targets,
    folds: NDArray[np.int64],
    metric: str,
    method: str,
    *,
    calibrate: bool,
    groups: Groups = (),
) -> FittedBlend:
    """Fit the blend of chosen recipes on the out-of-fold predictions of their refits.

    A weighted or stacked blend is used if its gain over the equal mean is real, and a label rule if its gain over the
    largest probability is real. Temperature scaling is used if its gain is positive: it has one parameter, so it
    hardly overfits.

    Args:
        members: ``(M, n, C)``, the leader's first.
        targets: true classes and weights of the n images.
        folds: outer fold of each image, ``(n,)``.
        metric: a name in `trainer.evaluation.metrics.METRICS`.
        method: of the `Choice`.
        calibrate: ``final.calibrate``.
        groups: of classes that the last of two members tells apart; empty: there is no second stage.
    """
    scorer = BlendScorer(targets=targets, folds=folds, metric=metric)
    equal_mean = scorer.score(mean_of_all, members[:1] if groups else members)
    best, used, notes = equal_mean, "equal" if len(members) > 1 else "none", []
    if groups:
        best, used = scorer.score(two_stage(groups, len(targets)), members), TWO_STAGE
    if len(members) > 1 and method in ("greedy", "stack"):
        other = scorer.score(greedy(len(members)) if method == "greedy" else stack, members)
        gain = scorer.gain(other.output, best.output)
        shown = f"{shown_gain(gain, metric)} over their equal average"
        notes.append(f"{method} blend of the refits: {shown}; {_verdict(gain.real)}")
        best, used = (other, method) if gain.real else (best, used)
    if calibrate and METRICS[metric].needs == "probabilities":
        scaled = scorer.score(calibrated(best.method), members)
        gain = scorer.gain(scaled.output, best.output)
        notes.append(f"temperature scaling: {shown_gain(gain, metric)}; {_verdict(gain.mean > 0.0)}")
        best = scaled if gain.mean > 0.0 else best
    if metric in (*OFFSET_METRICS, *CUT_METRICS):
        ruled = scorer.score(with_label_rule(best.method, metric), members)
        gain = scorer.gain(ruled.output, best.output)
        kind = "cut points on the expected class" if metric in CUT_METRICS else "offsets of the classes"
        plain = "the most probable class"
        if targets.several_labels:
            kind, plain = "a threshold of each class", "the threshold 0.5"
        shown = f"{shown_gain(gain, metric)} over {plain}"
        notes.append(f"labels by {kind}: {shown}; {_verdict(gain.real)}")
        best = ruled if gain.real else best
    return FittedBlend(
        blend=best.fit(targets),
        cross_fitted=best.cross_fitted,
        method=used,
        score=score(metric, targets, best.output),
        error=standard_error(metric, targets, best.output),
        equal_mean_score=score(metric, targets, equal_mean.output),
        gain=scorer.gain(best.output, members[0]),
        notes=tuple(notes),
    )


def as_exported(
    members: Stacked,
    targets: Targets,
    folds: NDArray[np.int64],
    metric: str,
    *,
    calibrate: bool,
    groups: Groups = (),
) -> Probabilities:
    """Out-of-fold input of the metric, ``(n, C)``, as an export would hand it in: with temperature and label rule,
    cross-fitted.

    Args:
        members, targets, folds, metric, calibrate, groups: as in `fit_final`.
    """
    fitted = fit_final(members, targets, folds, metric, "none", calibrate=calibrate, groups=groups)
    return fitted.cross_fitted.scored_output(members, metric)


def _verdict(used: bool) -> str:
    return "used" if used else "not used"
