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

from search.statistics.blending.blends import Stacked, equal, greedy, stack
from search.statistics.blending.cross_fitting import BlendScorer
from search.statistics.member_names import MemberName
from search.statistics.paired_gain import Gain, shown_gain
from trainer.evaluation.metrics import Probabilities
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
    """``none``, ``equal``, ``greedy`` or ``stack``; or `search.statistics.blending.second_stage.TWO_STAGE`."""
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
    scorer = BlendScorer(targets=targets, folds=folds, metric=metric)
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


def _choice(contenders: Sequence[PossibleMember], blend: Blend, method: str, gain: Gain) -> Choice:
    parts = [(c.name, weight) for c, weight in zip(contenders, blend.weights, strict=True) if weight > 0.0]
    names, blend_weights = tuple(name for name, _ in parts), tuple(weight for _, weight in parts)
    return Choice(names=names, blend_weights=blend_weights, method=method, scored=names, gain=gain)


def _stacked(contenders: Sequence[PossibleMember]) -> Stacked:
    return np.stack([contender.oof for contender in contenders])


def _equal_mean(
    contenders: Sequence[PossibleMember], scorer: BlendScorer, at_most: int
) -> tuple[Choice, Probabilities]:
    """The equal mean of the leader and others, and its cross-fitted input of the metric, ``(n, C)``."""
    averaged = scorer.score(equal([c.backbone for c in contenders], at_most), _stacked(contenders))
    gain = scorer.gain(averaged.output, contenders[0].oof)
    return _choice(contenders, averaged.fit(scorer.targets), "equal", gain), averaged.output


def _preferred(backbones: Sequence[str], at_most: int) -> list[int]:
    """Members of a stacked blend: the leader, then the first of each other backbone, then the rest by rank."""
    firsts = [i for i, backbone in enumerate(backbones) if backbone not in backbones[:i]]
    return [*firsts, *(i for i in range(len(backbones)) if i not in firsts)][:at_most]
