"""What did well before: which recipes of earlier studies a new study should try early. Pure functions of plain values.

After Feurer, Springenberg and Hutter (2015), "Initializing Bayesian Hyperparameter Optimization via Meta-Learning":
data sets are compared by what is known before any training, and the best recipes of the nearest ones are tried first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.statistics.ranking import Candidate, rank
from studies.space.dimension import Dimension, choose, default_of
from studies.space.fit_recipe import starting_at
from trainer.data.image_statistics import ImageStatistics
from trainer.recipe.recipe import Scalar

TRIALS_PER_STUDY = 3
"""An earlier study is asked for this many recipes at most."""

NEAR = 0.05
"""Two recipes are nearly the same where no parameter differs by more than this share of its range."""

COLOUR_MEAN = 0.2
"""Difference of channel means (0 to 1) that counts as much as a factor of ten in the number of images."""
COLOUR_SPREAD = 0.1
"""Difference of channel standard deviations that counts as much."""
SIDE = 4.0
"""Factor between sides that counts as much."""


@dataclass(frozen=True, kw_only=True)
class DatasetTraits:
    """What is known of a data set before any training."""

    fingerprint: str
    images: int
    classes: int
    imbalance: float
    """Images of the largest class for each of the smallest, at least 1."""
    pictures: ImageStatistics


@dataclass(frozen=True, kw_only=True)
class EarlierTrial:
    """A finished trial of another study."""

    result: Candidate
    recipe: Mapping[str, Scalar]
    """Flat, complete and checked."""


@dataclass(frozen=True, kw_only=True)
class EarlierStudy:
    """Another study of the same database."""

    name: str
    same_data: bool
    """Whether it is of the very same images."""
    distance: float
    """Of its data set, see `distance`."""
    metric: str
    trials: Sequence[EarlierTrial]
    """The finished ones, in any order."""


@dataclass(frozen=True, kw_only=True)
class RememberedRecipe:
    """A recipe to try again, as the new study samples it."""

    params: Mapping[str, Scalar]
    study: EarlierStudy
    trial: EarlierTrial


def traits_of(fingerprint: str, y: NDArray[np.int64], classes: int, pictures: ImageStatistics) -> DatasetTraits:
    """DatasetTraits of a data set with class indices ``y``, int64 ``(n,)``."""
    counts = np.bincount(y, minlength=classes)
    imbalance = float(counts.max()) / max(1.0, float(counts.min())) if len(counts) else 1.0
    return DatasetTraits(
        fingerprint=fingerprint, images=len(y), classes=classes, imbalance=max(1.0, imbalance), pictures=pictures
    )


def distance(one: DatasetTraits, other: DatasetTraits) -> float:
    """How unlike two data sets are, 0 for the same one: the mean difference of their traits.

    Counts are compared by their logarithm, where a factor of ten counts 1. The scales are fixed, so that a distance
    does not depend on which other data sets a database happens to hold.
    """
    if one.fingerprint == other.fingerprint:
        return 0.0
    terms = [
        abs(math.log10(max(1, one.images) / max(1, other.images))),
        abs(math.log10(max(1, one.classes) / max(1, other.classes))),
        abs(math.log10(one.imbalance / other.imbalance)),
        _mean_difference(one.pictures.mean, other.pictures.mean) / COLOUR_MEAN,
        _mean_difference(one.pictures.std, other.pictures.std) / COLOUR_SPREAD,
        abs(math.log(one.pictures.side / other.pictures.side, SIDE)),
    ]
    return float(np.mean(terms))


def remembered_recipes(
    studies: Iterable[EarlierStudy], space: Sequence[Dimension], fixed: Mapping[str, Scalar]
) -> Iterator[RememberedRecipe]:
    """Recipes of earlier studies that this space can sample: the best of the nearest study, the best of the next, and
    so on, then the second best of each.

    What the new study fixes replaces what the recipe had there.

    Args:
        studies: of studies at the same distance, the one that comes first is taken first.
        space, fixed: of the new study, see `studies.space.fit_recipe.starting_at`.
    """
    nearest_first = sorted(studies, key=lambda study: (not study.same_data, study.distance))
    offers = [list(_offers(study, space, fixed)) for study in nearest_first]
    for turn in range(max(map(len, offers), default=0)):
        yield from (offer[turn] for offer in offers if turn < len(offer))


def worth_trying(trials: Sequence[EarlierTrial]) -> list[EarlierTrial]:
    """The best trial of a study, and those that are within its standard error, best first."""
    by_number = {trial.result.number: trial for trial in trials}
    ranking = rank(trial.result for trial in trials)
    return [
        by_number[result.number]
        for result in ranking
        if result is ranking[0] or result.value >= ranking[0].value - ranking[0].standard_error
    ]


def is_near(space: Sequence[Dimension], one: Mapping[str, Scalar], other: Mapping[str, Scalar]) -> bool:
    """Whether two samples, by parameter name, are nearly the same: the same choices, and numbers within `NEAR`."""
    if one.keys() != other.keys():
        return False
    parameters = {parameter.name: parameter for dimension in space for parameter in dimension.parameters}
    return all(_apart(parameters[name], one[name], other[name]) <= NEAR for name in one)


def _offers(study: EarlierStudy, space: Sequence[Dimension], fixed: Mapping[str, Scalar]) -> Iterator[RememberedRecipe]:
    left = TRIALS_PER_STUDY
    for trial in worth_trying(study.trials):
        moved, lost = starting_at(space, fixed, trial.recipe)
        if not lost and left:
            left -= 1
            yield RememberedRecipe(params=choose(moved, fixed, default_of), study=study, trial=trial)


def _apart(parameter: Dimension, one: Scalar, other: Scalar) -> float:
    """Distance of two values as a share of the range; of choices, 1 where they differ."""
    if parameter.choices is not None or isinstance(one, str) or isinstance(other, str):
        return float(one != other)
    low, high = parameter.low, parameter.high
    assert low is not None and high is not None, "a dimension without choices has a range"
    if low == high:
        return 0.0
    if parameter.log:
        return abs(math.log(one / other)) / math.log(high / low)
    return abs(one - other) / (high - low)


def _mean_difference(one: Sequence[float], other: Sequence[float]) -> float:
    return float(np.mean(np.abs(np.subtract(one, other))))
