"""Choice of the final model's members, and whether their ensemble beats the best recipe alone. Pure functions of stored
predictions.

Every comparison is cross-fitted: for each outer fold, the members are chosen, weighted and calibrated on the images of
the other folds, and predict the images of this fold. The predictions of all folds together are compared with the
leader's, image by image. A gain is real if it exceeds one standard error, and a loss is clear if it exceeds two
(`search.statistics.paired_gain`).

- The equal mean is used unless its loss is clear. It has no weights to fit, and the log loss and the Brier score of a
  mean are never above the mean of its members' (Jensen's inequality). `benchmarks.probes.blended_probes` compares this
  rule with others.
- Any other blend needs a real gain over the equal mean, so that trying several methods does not favour the one that
  fits the noise best. A mean with imported predictions needs one over the leader: its export cannot predict new images.

All recipes, the leader included, are represented by the same cross-validations, so no member scores higher only because
it was trained more often. An ensemble of M recipes has M times as many networks as the leader; ``final.members`` bounds
M.

Two biases remain in the gain of an ensemble over the leader:

- Selection bias, toward the leader. The leader was chosen by its score on these images, so its score is partly luck;
  the ensemble's is not. The gain is underestimated.
- Averaging bias, toward the ensemble. An out-of-fold prediction comes from one network per recipe and round, whereas
  a test image is predicted by the average of all fold models. That average has already removed some of the noise that
  further recipes would remove. The gain on the test images is smaller than the gain reported here.
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
from search.statistics.second_stage import TWO_STAGE, two_stage
from trainer.evaluation.confusion.confusable_groups import Groups
from trainer.evaluation.label_rules import CUT_METRICS, OFFSET_METRICS, as_certain
from trainer.evaluation.metrics import METRICS, Probabilities, score, standard_error
from trainer.evaluation.targets import Targets
from trainer.inference.blend import Blend


@dataclass(frozen=True, kw_only=True)
class PossibleMember:
    """A recipe, or imported predictions, that may become a member. ``n`` images, ``C`` classes."""

    name: MemberName
    backbone: str
    oof: NDArray[np.float32]
    """Out-of-fold probabilities, ``(n, C)``: the mean over the rounds that all contenders ran."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The members of a final model, the leader first."""

    names: tuple[MemberName, ...]
    blend_weights: tuple[float, ...]
    """Weight of each member in the mean; the sum is 1. Equal for ``stack``, whose regression is fitted on the refits.
    """
    method: str
    """``none``, ``equal``, ``greedy`` or ``stack``; or `search.statistics.second_stage.TWO_STAGE`."""
    scored: tuple[MemberName, ...] = ()
    """Members of the ensemble that ``gain`` belongs to; empty if no ensemble was scored."""
    gain: Gain | None = None
    """Cross-fitted gain of that ensemble over the leader alone."""
    note: str = ""
    """Why no ensemble was scored, or why another method than the configured one is used; shown to the user."""

    @property
    def gained(self) -> bool:
        """Whether an ensemble was scored, and its gain over the leader is real."""
        return self.gain is not None and self.gain.real


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


def cross_fit(method: BlendMethod, targets: Targets, members: Stacked, folds: NDArray[np.int64]) -> CrossFitted:
    """Fit ``method`` once for each outer fold, on the images of the other folds."""
    others = [folds != fold for fold in range(int(folds.max()) + 1)]
    return CrossFitted(folds=folds, blends=tuple(method(targets.select(rows), members[:, rows]) for rows in others))


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
        contenders: recipes that are tied with the best, the leader first, at least one.
        targets: true classes and weights of the n images.
        folds: outer fold of each image, ``(n,)``.
        metric: a name in `trainer.evaluation.metrics.METRICS`.
        method: ``final.ensemble``: ``none``, ``equal``, ``greedy`` or ``stack``.
        at_most: largest number of members.
    """
    single = Choice(names=(contenders[0].name,), blend_weights=(1.0,), method="none")
    if method == "none":
        return replace(single, note='as final.ensemble = "none" asks')
    if at_most < 2:
        return replace(single, note="no more than one recipe is to be refitted")
    if len(contenders) < 2:
        return replace(single, note="no other confirmed recipe ties with it")
    scorer = _Scorer(targets=targets, folds=folds, metric=metric)
    leader = contenders[0].oof
    even, output = _equal_mean(contenders, scorer, at_most)
    if any(name.is_imported for name in even.names) and not even.gained:
        even, output = _equal_mean([c for c in contenders if not c.name.is_imported], scorer, at_most)
    holds = len(even.names) > 1 and even.gain is not None and even.gain.no_clear_loss
    best = even if holds else replace(single, scored=even.scored, gain=even.gain)
    if method == "equal":
        return best
    if method == "stack":
        # A regression gives every member a coefficient, so its members are chosen beforehand, by rank alone.
        contenders = [contenders[i] for i in _preferred([c.backbone for c in contenders], at_most)]
    other = scorer.score(greedy(at_most) if method == "greedy" else stack, _stacked(contenders))
    asked = _choice(contenders, other.fit(targets), method, scorer.gain(other.output, leader))
    beyond = scorer.gain(other.output, output if holds else leader)
    if beyond.real and asked.gained and len(asked.names) > 1:
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
    scorer = _Scorer(targets=targets, folds=folds, metric=metric)
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


@dataclass(frozen=True, kw_only=True, eq=False)
class _ScoredMethod:
    """A blend method with its cross-fitted predictions."""

    method: BlendMethod
    members: Stacked
    cross_fitted: CrossFitted
    output: Probabilities

    def fit(self, targets: Targets) -> Blend:
        """The blend fitted on all images."""
        return self.method(targets, self.members)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scorer:
    """Scores blend methods on the same images, folds and metric."""

    targets: Targets
    folds: NDArray[np.int64]
    metric: str

    def score(self, method: BlendMethod, members: Stacked) -> _ScoredMethod:
        cross_fitted = cross_fit(method, self.targets, members, self.folds)
        output = cross_fitted.scored_output(members, self.metric)
        return _ScoredMethod(method=method, members=members, cross_fitted=cross_fitted, output=output)

    def gain(self, new: Probabilities, old: Probabilities) -> Gain:
        return paired_gain(self.metric, self.targets, new, old)


def _verdict(used: bool) -> str:
    return "used" if used else "not used"


def _choice(contenders: Sequence[PossibleMember], blend: Blend, method: str, gain: Gain) -> Choice:
    parts = [(c.name, weight) for c, weight in zip(contenders, blend.weights, strict=True) if weight > 0.0]
    names, blend_weights = tuple(name for name, _ in parts), tuple(weight for _, weight in parts)
    return Choice(names=names, blend_weights=blend_weights, method=method, scored=names, gain=gain)


def _stacked(contenders: Sequence[PossibleMember]) -> Stacked:
    return np.stack([contender.oof for contender in contenders])


def _equal_mean(contenders: Sequence[PossibleMember], scorer: _Scorer, at_most: int) -> tuple[Choice, Probabilities]:
    """The equal mean of the leader and others, and its cross-fitted input of the metric, ``(n, C)``."""
    averaged = scorer.score(equal([c.backbone for c in contenders], at_most), _stacked(contenders))
    gain = scorer.gain(averaged.output, contenders[0].oof)
    return _choice(contenders, averaged.fit(scorer.targets), "equal", gain), averaged.output


def _preferred(backbones: Sequence[str], at_most: int) -> list[int]:
    """Members of a stacked blend: the leader, then the first of each other backbone, then the rest by rank."""
    firsts = [i for i, backbone in enumerate(backbones) if backbone not in backbones[:i]]
    return [*firsts, *(i for i in range(len(backbones)) if i not in firsts)][:at_most]
