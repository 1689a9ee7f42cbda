"""Which recipes make the final model, and whether that is better than the best of them alone. Pure functions of stored
predictions.

Everything is judged on images that it was not fitted on: for each outer fold the members are chosen, weighted and
calibrated on the other folds' images, and predict this fold's; the parts together are compared with the leader image by
image. A gain counts as real where it is larger than `search.statistics.paired_gain.REAL` standard errors; where it is
not, the simpler of two ways is used. So the winner of many ways does not win by having been looked at the most.

Each recipe's prediction is that of the same cross-validations, the leader's as well, so that no member is better for
having been trained more often. An ensemble of M recipes as a whole has M times as many networks: that is the choice
that ``final.members`` makes.

The leader was chosen on these same images, its score is partly luck, and an ensemble's is not: the comparison leans
toward the leader. It leans toward the ensemble in another way: an out-of-fold prediction is that of one network a
recipe and round, while test images are predicted by all folds' networks, whose average has taken part of the noise away
that other recipes would. Expect less on the test images than the gain says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from search.statistics.blends import (
    BlendMethod,
    Stacked,
    calibrated,
    equal,
    greedy,
    mean_of_all,
    stack,
    with_label_rule,
)
from search.statistics.member_names import MemberName
from search.statistics.paired_gain import Gain, paired_gain, shown_gain
from trainer.evaluation.label_rules import CUT_METRICS, OFFSET_METRICS
from trainer.evaluation.metrics import METRICS, Probabilities, score, standard_error
from trainer.evaluation.targets import Targets
from trainer.inference.blend import Blend


@dataclass(frozen=True, kw_only=True)
class PossibleMember:
    """What may become a member: a recipe, or imported predictions. ``n`` images, ``C`` classes."""

    name: MemberName
    backbone: str
    oof: NDArray[np.float32]
    """Out-of-fold probabilities, ``(n, C)``: the mean over the rounds that all contenders ran."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The members of a final model, the leader first."""

    names: tuple[MemberName, ...]
    blend_weights: tuple[float, ...]
    """Of their mean, sum 1. Of a stacked regression, which is fitted on the refits, equal ones."""
    method: str
    """``none``, ``equal``, ``greedy`` or ``stack``."""
    scored: tuple[MemberName, ...] = ()
    """The ensemble that ``gain`` is of; empty where there was nothing to judge."""
    gain: Gain | None = None
    """Of that ensemble over the leader alone, nested."""
    note: str = ""
    """Why nothing was judged, or what became of another way that was asked for, for people."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossFitted:
    """A way as it does on images that it was not fitted on."""

    folds: NDArray[np.int64]
    """Outer fold of each image, ``(n,)``."""
    blends: tuple[Blend, ...]
    """Fitted without the images of each fold."""

    def predict(self, members: Stacked) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Probabilities ``(n, C)`` and labels ``(n,)`` of the images, each by the blend that has not seen it."""
        proba = np.zeros(members.shape[1:], np.float32)
        labels = np.zeros(members.shape[1], np.int64)
        for fold, blend in enumerate(self.blends):
            rows = self.folds == fold
            part = blend.probabilities(members[:, rows])
            proba[rows], labels[rows] = part, blend.labels(part)
        return proba, labels

    def scored_output(self, members: Stacked, metric: str) -> Probabilities:
        """What ``metric`` is to judge, ``(n, C)``: probabilities, or certainty of the label where it needs labels."""
        proba, labels = self.predict(members)
        return proba if METRICS[metric].needs == "probabilities" else np.eye(proba.shape[1])[labels]


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedBlend:
    """The final model's blend, fitted on all images, and what it does on images that it was not fitted on."""

    blend: Blend
    cross_fitted: CrossFitted
    method: str
    """As in `Choice`, after the last judgement."""
    score: float
    """Of the nested predictions."""
    error: float
    """Its standard error."""
    equal_mean_score: float
    """What the members' equal average scores, without temperature and with the most probable class for a label."""
    gain: Gain
    """Over the leader alone, as plain."""
    notes: tuple[str, ...]
    """What was tried and what came of it, for people."""


def cross_fit(method: BlendMethod, targets: Targets, members: Stacked, folds: NDArray[np.int64]) -> CrossFitted:
    """Fit ``way`` once for each outer fold, on the images of the others, by their ``weights``."""
    others = [folds != k for k in range(int(folds.max()) + 1)]
    return CrossFitted(folds=folds, blends=tuple(method(targets.select(k), members[:, k]) for k in others))


def choose_members(
    contenders: Sequence[PossibleMember],
    targets: Targets,
    folds: NDArray[np.int64],
    metric: str,
    method: str,
    at_most: int,
) -> Choice:
    """Choose the recipes of the final model.

    Args:
        contenders: recipes that may as well be the best, the leader first, at least one.
        targets: true classes and weights of the n images.
        folds: outer fold of each image, ``(n,)``.
        metric: a name in `trainer.evaluation.metrics.METRICS`.
        way: ``final.ensemble``: ``none``, ``equal``, ``greedy`` or ``stack``.
        at_most: members.
    """
    single = Choice(names=(contenders[0].name,), blend_weights=(1.0,), method="none")
    if method == "none":
        return replace(single, note='as final.ensemble = "none" asks')
    if at_most < 2:
        return replace(single, note="no more than one recipe is to be refitted")
    if len(contenders) < 2:
        return replace(single, note="no other confirmed recipe ties with it")
    members = np.stack([contender.oof for contender in contenders])
    backbones = [contender.backbone for contender in contenders]
    leader = members[0]
    averaged = _score(equal(backbones, at_most), targets, members, folds, metric)
    gain = paired_gain(metric, targets, averaged.output, leader)
    even = _choice(contenders, averaged.method(targets, members), "equal", gain)
    holds = _is_better(even)
    best = even if holds else replace(single, scored=even.scored, gain=even.gain)
    if method == "equal":
        return best
    if method == "greedy":
        other = _score(greedy(at_most), targets, members, folds, metric)
    else:
        # A regression gives every member a say, so who takes part is settled beforehand, by rank alone.
        order = _preferred(backbones, at_most)
        contenders, members = [contenders[i] for i in order], members[order]
        other = _score(stack, targets, members, folds, metric)
    gain = paired_gain(metric, targets, other.output, leader)
    asked = _choice(contenders, other.method(targets, members), method, gain)
    beyond = paired_gain(metric, targets, other.output, averaged.output if holds else leader)
    if beyond.real and _is_better(asked):
        return asked
    over = "the equal average" if holds else f"{best.names[0]} alone"
    return replace(best, note=f"{method} ensemble: {shown_gain(beyond, metric)} over {over}, which is used instead")


def fit_final(
    members: Stacked,
    targets: Targets,
    folds: NDArray[np.int64],
    metric: str,
    method: str,
    *,
    calibrate: bool,
) -> FittedBlend:
    """Fit the blend of recipes that were chosen before, on their refits' own out-of-fold predictions.

    A weighted or stacked blend falls back to the plain mean, and labels by a rule to those by the largest probability,
    where they are not really better. A temperature is used unless it makes the nested score worse: one number hardly
    learns images by heart.

    Args:
        members: ``(M, n, C)``, the leader's first.
        folds: outer fold of each image, ``(n,)``.
        metric: a name in `trainer.evaluation.metrics.METRICS`.
        way: of the `Choice`.
        calibrate: ``final.calibrate``.
    """
    notes = []
    used, plain = "equal" if len(members) > 1 else "none", _score(mean_of_all, targets, members, folds, metric)
    best = plain
    if len(members) > 1 and method in ("greedy", "stack"):
        other = _score(greedy(len(members)) if method == "greedy" else stack, targets, members, folds, metric)
        gain = paired_gain(metric, targets, other.output, best.output)
        verdict = "used" if gain.real else "not used"
        notes.append(f"{method} blend of the refits: {shown_gain(gain, metric)} over their equal average; {verdict}")
        used, best = (method, other) if gain.real else (used, best)
    if calibrate and METRICS[metric].needs == "probabilities":
        scaled = _score(calibrated(best.method), targets, members, folds, metric)
        gain = paired_gain(metric, targets, scaled.output, best.output)
        verdict = "used" if gain.mean > 0.0 else "not used"
        notes.append(f"temperature scaling: {shown_gain(gain, metric)}; {verdict}")
        best = scaled if gain.mean > 0.0 else best
    if metric in (*OFFSET_METRICS, *CUT_METRICS):
        ruled = _score(with_label_rule(best.method, metric), targets, members, folds, metric)
        gain = paired_gain(metric, targets, ruled.output, best.output)
        kind = "cut points on the expected class" if metric in CUT_METRICS else "offsets of the classes"
        verdict = "used" if gain.real else "not used"
        notes.append(f"labels by {kind}: {shown_gain(gain, metric)} over the most probable class; {verdict}")
        best = ruled if gain.real else best
    return FittedBlend(
        blend=best.method(targets, members),
        cross_fitted=best.cross_fitted,
        method=used,
        score=score(metric, targets, best.output),
        error=standard_error(metric, targets, best.output),
        equal_mean_score=score(metric, targets, plain.output),
        gain=paired_gain(metric, targets, best.output, members[0]),
        notes=tuple(notes),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _ScoredMethod:
    method: BlendMethod
    cross_fitted: CrossFitted
    output: Probabilities


def _score(
    method: BlendMethod, targets: Targets, members: Stacked, folds: NDArray[np.int64], metric: str
) -> _ScoredMethod:
    cross_fitted = cross_fit(method, targets, members, folds)
    return _ScoredMethod(method=method, cross_fitted=cross_fitted, output=cross_fitted.scored_output(members, metric))


def _choice(contenders: Sequence[PossibleMember], blend: Blend, method: str, gain: Gain) -> Choice:
    parts = [(c.name, weight) for c, weight in zip(contenders, blend.weights, strict=True) if weight > 0.0]
    names, blend_weights = tuple(name for name, _ in parts), tuple(weight for _, weight in parts)
    return Choice(names=names, blend_weights=blend_weights, method=method, scored=names, gain=gain)


def _is_better(choice: Choice) -> bool:
    return choice.gain is not None and choice.gain.real and len(choice.names) > 1


def _preferred(backbones: Sequence[str], at_most: int) -> list[int]:
    """The leader, then the first of each other backbone, then the rest by rank."""
    firsts = [i for i, backbone in enumerate(backbones) if backbone not in backbones[:i]]
    return [*firsts, *(i for i in range(len(backbones)) if i not in firsts)][:at_most]
