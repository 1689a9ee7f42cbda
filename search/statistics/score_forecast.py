"""Forecast of a final model's score on the test images, with an interval. Pure functions of stored predictions, which
`search.export.expected_score` reads.

A cross-validation scores one network per image, trained on a part of the images. The test images are predicted by the
average of all networks. The forecast is therefore

    expected = single + within (1 - 1 / N)^GROWTH + between (1 - 1 / T)^GROWTH

    single   expected score of one network, without selection bias (`search.statistics.selection_bias`)
    within   gain from averaging infinitely many networks of one training
    between  further gain from averaging infinitely many trainings
    N        number of networks
    T        number of trainings, which differ in seed, split or recipe
    GROWTH   1.25

The factor comes from bagging (Breiman 1996). The variance of an average of N networks, beyond what they have in common,
is 1 / N of one network's. The Brier score therefore gains a share 1 - 1 / N; the accuracy grows with a somewhat higher
power of it.

``within`` comes from the ambiguity of one training's networks on the test images (`trainer.evaluation.ambiguity`).
Networks of one training differ less than networks of several trainings. ``between`` therefore comes from several
cross-validations of the same images.

The interval covers the draw of the training images that score the model, the draw of the test images, the luck of the
trainings and of the selection, and the standard error of the averaging gain. For a score between two bounds the
interval is normal on the arcsine scale, on which the variance of a share does not depend on its value (Anscombe 1948).
It never exceeds the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.statistics.paired_gain import Gain
from trainer.evaluation.metrics import METRICS, score
from trainer.evaluation.targets import Targets

LEVEL = 0.9
"""Coverage of the interval: probability that it contains the test score."""
GROWTH = 1.25
"""Exponent of the share ``1 - 1 / N`` of the averaging gain that N networks reach; 1 to 1.5 on recorded tables
(`benchmarks/`)."""
AVERAGING_ERROR = 0.3
"""Standard error of the gain from averaging one training's networks, as a share of the gain (`benchmarks/`)."""
PARTS = 20
"""Groups of images of the jackknife; each leaves one group out."""


@dataclass(frozen=True, kw_only=True)
class Averaging:
    """Gain from averaging networks over the score of one, in units of the metric, at least 0."""

    within: Gain
    """Gain from averaging infinitely many networks of one training."""
    between: Gain
    """Further gain from averaging infinitely many trainings."""

    def of(self, networks: float, trainings: float) -> Gain:
        """Gain from averaging this many networks.

        Args:
            networks: of all trainings together, at least 1.
            trainings: at least 1.
        """
        shares = (share_of_gain(networks), share_of_gain(trainings))
        parts = [(gain, share) for gain, share in zip((self.within, self.between), shares, strict=True)]
        return Gain(
            mean=sum(gain.mean * share for gain, share in parts),
            error=math.hypot(*(gain.error * share for gain, share in parts)),
        )

    def after(self, rule_gain: float, missing: float) -> Averaging:
        """The gain over networks whose label rule has gained ``rule_gain`` already.

        Averaging lowers the distance to the best possible score by a share of it, and the rule has made it smaller.

        Args:
            missing: distance to the best possible score without the rule, at least 0.
        """
        if rule_gain <= 0.0 or missing <= 0.0:
            return self
        left = max(0.0, 1.0 - rule_gain / missing)
        within, between = (Gain(mean=g.mean * left, error=g.error * left) for g in (self.within, self.between))
        return Averaging(within=within, between=between)


NOTHING = Gain(mean=0.0, error=0.0)
NO_AVERAGING = Averaging(within=NOTHING, between=NOTHING)
"""For a model whose gain from averaging is unknown."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Forecast of an export's test score, in the study's metric; higher is better."""

    expected: float
    low: float
    high: float
    level: float
    """Probability that the score lies from ``low`` to ``high``."""
    error: float
    """Standard error of ``expected`` for infinitely many test images."""
    test_images: int
    single: float
    """Expected score of one network."""
    averaging: float
    """Gain from averaging all networks."""
    chances: dict[str, float]
    """Probability that a finalist is truly the best of all, by the finalist's name."""

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as an export stores them."""
        return asdict(self)


def averaging_of(within: Gain | None, total: Gain | None) -> Averaging:
    """Split the gain from averaging into a part within trainings and a part between them.

    Args:
        within: gain from averaging the networks of one training, from their ambiguity; None: unknown.
        total: gain from averaging networks of different trainings, from their out-of-fold predictions; None: unknown.
    """
    if within is None:
        return Averaging(within=total or NOTHING, between=NOTHING)
    if total is None:
        return Averaging(within=within, between=NOTHING)
    beyond = max(0.0, total.mean - within.mean)
    return Averaging(within=within, between=Gain(mean=beyond, error=math.hypot(total.error, within.error)))


def share_of_gain(networks: float) -> float:
    """Share of the gain of infinitely many networks that this many reach: 0 .. 1."""
    return float((1.0 - 1.0 / networks) ** GROWTH)


def gain_within(added: Sequence[float | None], models: int) -> Gain | None:
    """Gain from averaging infinitely many networks of one training; None if it is unknown.

    Args:
        added: expected gain of each training from averaging its networks (`search.statistics.ranking.averaging_gain`);
            None for a training where it is unknown.
        models: number of networks of each training.
    """
    known = [one for one in added if one is not None]
    if models < 2 or not known or len(known) < len(added):
        return None
    mean = float(np.mean(known)) / share_of_gain(models)
    return Gain(mean=mean, error=AVERAGING_ERROR * mean)


def equal_trainings(counts: Sequence[int]) -> float:
    """Effective number of trainings of an equal mean of recipes: the variance of the mean is 1 / T of one training's.

    With R recipes of ``counts`` trainings each, ``T = R^2 / sum(1 / count)``.
    """
    return len(counts) ** 2 / sum(1.0 / count for count in counts)


def gain_across_trainings(
    groups: Sequence[Sequence[Sequence[NDArray[np.float32]]]], targets: Targets, metric: str
) -> Gain | None:
    """Total gain from averaging infinitely many networks of different trainings, over a single network.

    None if no group has two cross-validations.

    It is measured on out-of-fold predictions, with one network of each training per image, and extrapolated to
    infinitely many. The standard error comes from a jackknife over the images.

    Args:
        groups: groups of recipes that are averaged with each other. A recipe is given by the out-of-fold probabilities
            ``(n, C)`` of its cross-validations, one at least. The result is the mean over the groups with two
            cross-validations or more.
        targets: true classes and weights of the n images.
        metric: a name in `trainer.evaluation.metrics.METRICS`.
    """
    known = [
        ([np.stack(recipe) for recipe in group], share_of_gain(equal_trainings([len(recipe) for recipe in group])))
        for group in groups
        if sum(len(recipe) for recipe in group) > 1
    ]
    if not known:
        return None

    def gain(kept: NDArray[np.bool_]) -> float:
        part = targets.select(kept)
        gains = []
        for recipes, share in known:
            single = [np.mean([score(metric, part, proba[kept]) for proba in recipe]) for recipe in recipes]
            each = [recipe[:, kept].mean(axis=0, dtype=np.float64) for recipe in recipes]
            together = score(metric, part, np.mean(each, axis=0))
            gains.append((together - float(np.mean(single))) / share)
        return float(np.mean(gains))

    part_of = np.random.default_rng(0).permutation(len(targets)) % min(PARTS, len(targets))
    without = np.array([gain(part_of != part) for part in range(int(part_of.max()) + 1)])
    return Gain(
        mean=max(0.0, gain(np.ones(len(targets), dtype=np.bool_))),
        error=float(np.sqrt((len(without) - 1) * without.var())),
    )


def forecast(
    *,
    single: float,
    single_error: float,
    sampling_error: float,
    averaging: Averaging,
    networks: float,
    trainings: float,
    metric: str,
    train_images: int,
    test_images: int,
    chances: Mapping[str, float],
) -> Forecast:
    """Forecast the score on the test images.

    Args:
        single: expected score of one network on new images.
        single_error: standard error of ``single``, over the draw of the training images and the luck of trainings.
        sampling_error: the part of ``single_error`` that comes from the draw of ``train_images`` images alone.
        averaging: gain from averaging.
        networks: effective number of averaged networks, at least 1.
        trainings: effective number of trainings that they come from, at least 1.
        metric: a name in `trainer.evaluation.metrics.METRICS`.
        test_images: at least 1.
        chances: probability that a finalist is truly the best, by the finalist's name.
    """
    added = averaging.of(networks, trainings)
    low, high = METRICS[metric].bounds
    added = Gain(mean=min(added.mean, max(0.0, high - single)), error=added.error)
    expected = min(max(single + added.mean, low), high)
    if sampling_error == 0.0:
        # Every image was right, so that their scatter says nothing.
        sampling_error = _share_error(expected, (low, high), train_images)
        single_error = max(single_error, sampling_error)
    of_test = sampling_error * math.sqrt(train_images / test_images)
    error = math.hypot(single_error, added.error)
    whole = math.hypot(error, of_test)
    return Forecast(
        expected=expected,
        **_interval(expected, whole, (low, high), images=min(train_images, test_images)),
        level=LEVEL,
        error=error,
        test_images=test_images,
        single=single,
        averaging=added.mean,
        chances=dict(chances),
    )


def _share(expected: float, bounds: tuple[float, float], images: int) -> float:
    """A score as a share of the range between its bounds, at least half an image away from both."""
    low, high = bounds
    nearest = 0.5 / images
    return min(max((expected - low) / (high - low), nearest), 1.0 - nearest)


def _share_error(expected: float, bounds: tuple[float, float], images: int) -> float:
    """Binomial standard error of a score between bounds, as if it were a share of so many images; 0 without bounds."""
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0
    share = _share(expected, bounds, images)
    return (high - low) * math.sqrt(share * (1.0 - share) / images)


def _interval(expected: float, error: float, bounds: tuple[float, float], images: int) -> dict[str, float]:
    """``low`` and ``high`` at `LEVEL`: normal on the arcsine scale if the score has two bounds, else normal."""
    low, high = bounds
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        return {"low": max(low, expected - z * error), "high": min(high, expected + z * error)}
    share = _share(expected, bounds, images)  # at a bound, the slope of the scale is infinite
    angle = math.asin(math.sqrt(share))
    width = z * error / (high - low) / (2.0 * math.sqrt(share * (1.0 - share)))

    def back(angle: float) -> float:
        return low + (high - low) * math.sin(min(max(angle, 0.0), math.pi / 2.0)) ** 2

    return {"low": min(expected, back(angle - width)), "high": max(expected, back(angle + width))}
