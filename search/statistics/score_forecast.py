"""What score a final model will have on the test images, and how far that may be off. Pure functions of stored
predictions; `search.export.expected_score` reads these.

A cross-validation judges one network an image, each trained on a part of the images; the test images are predicted by
the average of all networks. So the forecast is what one network of these recipes is worth
(`search.statistics.selection_bias`, which takes out what is luck), and what averaging adds. The variance of an average
of ``N`` networks is a share ``1 / N`` of what one has beyond what all have in common (bagging: Breiman 1996), and so
what averaging adds to the Brier score is ``full (1 - 1 / N)``; the share of right labels grows a little faster
(`GROWTH`). Networks of one training differ less than those of several trainings, splits or recipes. What averaging the
former adds is their ambiguity on the test images (`trainer.evaluation.ambiguity`); what the latter add beyond is told
by cross-validations of the same images.

The interval covers which training images there were to judge by, which test images there are, the luck of trainings
and of the choice, and how well the gain of averaging is known. For scores between two bounds it is normal on the
arcsine scale, on which shares spread alike wherever they lie (Anscombe 1948), and so never passes them.
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
"""Probability with which the test score is to lie in the interval."""
GROWTH = 1.25
"""What averaging ``N`` networks adds is ``full (1 - 1 / N) ** GROWTH``: 1 to 1.5 on recorded tables (`benchmarks/`)."""
AVERAGING_ERROR = 0.3
"""Standard error of what averaging one training's networks is expected to add, as a share of it (`benchmarks/`)."""
PARTS = 20
"""Parts of the images that the jackknife leaves out in turn."""


@dataclass(frozen=True, kw_only=True)
class Averaging:
    """What averaging networks adds to the score of one, in units of the metric, at least 0."""

    within: Gain
    """Averaging infinitely many networks of one training."""
    between: Gain
    """What averaging infinitely many trainings adds to that."""

    def of(self, networks: float, trainings: float) -> Gain:
        """What so many add, 1 at least of each; networks are those of all trainings."""
        shares = (_share(networks), _share(trainings))
        parts = [(gain, share) for gain, share in zip((self.within, self.between), shares, strict=True)]
        return Gain(
            mean=sum(gain.mean * share for gain, share in parts),
            error=math.hypot(*(gain.error * share for gain, share in parts)),
        )


NOTHING = Gain(mean=0.0, error=0.0)
NO_AVERAGING = Averaging(within=NOTHING, between=NOTHING)
"""Where nobody can tell."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is expected of an export on the test images. Scores are of the study's metric, higher is better."""

    expected: float
    low: float
    high: float
    level: float
    """Probability that the score lies from ``low`` to ``high``."""
    error: float
    """Standard error of ``expected``, were there any number of test images."""
    test_images: int
    single: float
    """What one network may be expected to show."""
    averaging: float
    """What averaging all networks adds."""
    chances: dict[str, float]
    """Of each finalist, by what it is called: probability that it is truly the best of them."""

    def to_json(self) -> dict[str, Any]:
        """As it is stored with an export."""
        return asdict(self)


def averaging_of(within: Gain | None, total: Gain | None) -> Averaging:
    """What averaging adds, from what is known of it.

    Args:
        within: averaging the networks of one training, by their ambiguity; None: not known.
        total: averaging networks of different trainings, by their out-of-fold predictions; None likewise.
    """
    if within is None:
        return Averaging(within=total or NOTHING, between=NOTHING)
    if total is None:
        return Averaging(within=within, between=NOTHING)
    beyond = max(0.0, total.mean - within.mean)
    return Averaging(within=within, between=Gain(mean=beyond, error=math.hypot(total.error, within.error)))


def _share(networks: float) -> float:
    """What so many add, of what infinitely many do: 0 .. 1."""
    return float((1.0 - 1.0 / networks) ** GROWTH)


def gain_within(added: Sequence[float | None], models: int) -> Gain | None:
    """What averaging infinitely many networks of one training adds; None where nobody can tell.

    Args:
        added: what averaging the networks of each training is expected to add
        (`search.statistics.ranking.averaging_gain`),
            None where it is not known.
        models: networks of each.
    """
    known = [one for one in added if one is not None]
    if models < 2 or not known or len(known) < len(added):
        return None
    mean = float(np.mean(known)) / _share(models)
    return Gain(mean=mean, error=AVERAGING_ERROR * mean)


def equal_trainings(counts: Sequence[int]) -> float:
    """Of how many trainings the mean is worth as much as an equal mean of recipes with so many trainings each."""
    return len(counts) ** 2 / sum(1.0 / count for count in counts)


def gain_across_trainings(
    groups: Sequence[Sequence[Sequence[NDArray[np.float32]]]], targets: Targets, metric: str
) -> Gain | None:
    """What averaging infinitely many networks of different trainings adds, with a jackknife over the images for the
    standard error; None where nothing was trained twice.

    Args:
        groups: recipes that are averaged with each other: of each the out-of-fold probabilities ``(n, C)`` of its
            cross-validations, one at least. Groups of one cross-validation say nothing; the answer is the mean of the
            others.
        targets: true classes and weights of the n images.
        metric: a name in `trainer.evaluation.metrics.METRICS`.
    """
    known = [
        ([np.stack(recipe) for recipe in group], _share(equal_trainings([len(recipe) for recipe in group])))
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
    """What to expect on the test images.

    Args:
        single: what one network may be expected to show on new images.
        single_error: its standard error, over the draw of the training images and the luck of trainings.
        sampling_error: the part of it that comes from the draw of ``train_images`` images alone.
        averaging: what averaging adds.
        networks: how many are averaged, at least 1; of unequal weights as many as are worth as much.
        trainings: of how many trainings they are, likewise.
        metric: a name in `trainer.evaluation.metrics.METRICS`.
        test_images: at least 1.
        chances: of each finalist, by what it is called, that it is truly the best.
    """
    added = averaging.of(networks, trainings)
    low, high = METRICS[metric].bounds
    expected = min(max(single + added.mean, low), high)
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


def _interval(expected: float, error: float, bounds: tuple[float, float], images: int) -> dict[str, float]:
    """``low`` and ``high`` at `LEVEL`; normal on the arcsine scale between two bounds, else normal."""
    low, high = bounds
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        return {"low": max(low, expected - z * error), "high": min(high, expected + z * error)}
    # Half an image from the bounds: at them the scale has no slope.
    nearest = 0.5 / images
    share = min(max((expected - low) / (high - low), nearest), 1.0 - nearest)
    angle = math.asin(math.sqrt(share))
    width = z * error / (high - low) / (2.0 * math.sqrt(share * (1.0 - share)))

    def back(angle: float) -> float:
        return low + (high - low) * math.sin(min(max(angle, 0.0), math.pi / 2.0)) ** 2

    return {"low": min(expected, back(angle - width)), "high": max(expected, back(angle + width))}
