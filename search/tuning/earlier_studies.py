"""The choice of recipes from earlier studies that a new study tries early (meta-learning). Pure functions.

Data sets are compared by traits that are known before any training. The best recipes of the studies on the nearest data
sets are tried first (Feurer, Springenberg and Hutter 2015, "Initializing Bayesian Hyperparameter Optimization via
Meta-Learning").
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
from trainer.evaluation.several_labels import class_counts
from trainer.recipe.recipe import Scalar

TRIALS_PER_STUDY = 3
"""Maximum number of recipes from one earlier study."""

NEAR = 0.05
"""Two recipes are near-duplicates if no parameter differs by more than this share of its range."""

COLOUR_MEAN = 0.2
"""Difference of channel means (0 to 1) that counts 1 in `distance`, like a factor of ten in the number of images."""
COLOUR_SPREAD = 0.1
"""Difference of channel standard deviations that counts 1."""
SIDE = 4.0
"""Factor between image sides that counts 1."""


@dataclass(frozen=True, kw_only=True)
class DatasetTraits:
    """Traits of a data set that are known before any training."""

    fingerprint: str
    images: int
    classes: int
    imbalance: float
    """Number of images of the largest class divided by that of the smallest, at least 1."""
    image_statistics: ImageStatistics


@dataclass(frozen=True, kw_only=True)
class EarlierTrial:
    """A finished trial of another study."""

    result: Candidate
    recipe: Mapping[str, Scalar]
    """Flat, complete and valid."""


@dataclass(frozen=True, kw_only=True)
class EarlierStudy:
    """Another study in the same database."""

    name: str
    same_data: bool
    """Whether it has the same images as the new study."""
    distance: float
    """Distance of its data set from the new study's, see `distance`."""
    metric: str
    trials: Sequence[EarlierTrial]
    """Finished trials, in any order."""


@dataclass(frozen=True, kw_only=True)
class RememberedRecipe:
    """A recipe of an earlier study, as parameters of the new study."""

    params: Mapping[str, Scalar]
    study: EarlierStudy
    trial: EarlierTrial


def traits_of(fingerprint: str, y: NDArray[np.int64], classes: int, image_statistics: ImageStatistics) -> DatasetTraits:
    """Traits of a data set with class indices ``y``, int64 ``(n,)``."""
    counts = class_counts(y, classes)
    imbalance = float(counts.max()) / max(1.0, float(counts.min())) if len(counts) else 1.0
    return DatasetTraits(
        fingerprint=fingerprint,
        images=len(y),
        classes=classes,
        imbalance=max(1.0, imbalance),
        image_statistics=image_statistics,
    )


def distance(one: DatasetTraits, other: DatasetTraits) -> float:
    """Distance of two data sets, at least 0: the mean difference of their traits; 0 for the same images.

    Counts are compared by their decimal logarithms, image statistics on the scales `COLOUR_MEAN`, `COLOUR_SPREAD` and
    `SIDE`. The scales are fixed, so that a distance does not depend on the other data sets in the database.
    """
    if one.fingerprint == other.fingerprint:
        return 0.0
    terms = [
        abs(math.log10(max(1, one.images) / max(1, other.images))),
        abs(math.log10(max(1, one.classes) / max(1, other.classes))),
        abs(math.log10(one.imbalance / other.imbalance)),
        _mean_difference(one.image_statistics.mean, other.image_statistics.mean) / COLOUR_MEAN,
        _mean_difference(one.image_statistics.std, other.image_statistics.std) / COLOUR_SPREAD,
        abs(math.log(one.image_statistics.side / other.image_statistics.side, SIDE)),
    ]
    return float(np.mean(terms))


def remembered_recipes(
    studies: Iterable[EarlierStudy], space: Sequence[Dimension], fixed: Mapping[str, Scalar]
) -> Iterator[RememberedRecipe]:
    """Recipes of earlier studies that the new study's space contains.

    First come the best recipes of all studies, that of the nearest study at the head. Then come the second best, and so
    on.

    Settings that the new study fixes replace those of a recipe.

    Args:
        studies: earlier studies; the order counts among studies at the same distance.
        space, fixed: of the new study, see `studies.space.fit_recipe.starting_at`.
    """
    nearest_first = sorted(studies, key=lambda study: (not study.same_data, study.distance))
    recipes_of_studies = [list(_recipes_of(study, space, fixed)) for study in nearest_first]
    for place in range(max(map(len, recipes_of_studies), default=0)):
        yield from (recipes[place] for recipes in recipes_of_studies if place < len(recipes))


def best_trials(trials: Sequence[EarlierTrial]) -> list[EarlierTrial]:
    """The best trial of a study and those within its standard error, best first."""
    by_number = {trial.result.number: trial for trial in trials}
    ranking = rank(trial.result for trial in trials)
    return [
        by_number[result.number]
        for result in ranking
        if result is ranking[0] or result.value >= ranking[0].value - ranking[0].standard_error
    ]


def is_near(space: Sequence[Dimension], one: Mapping[str, Scalar], other: Mapping[str, Scalar]) -> bool:
    """Whether two samples, values by parameter name, are near-duplicates: equal choices, and numbers within `NEAR`."""
    if one.keys() != other.keys():
        return False
    parameters = {parameter.name: parameter for dimension in space for parameter in dimension.parameters}
    return all(_relative_difference(parameters[name], one[name], other[name]) <= NEAR for name in one)


def _recipes_of(
    study: EarlierStudy, space: Sequence[Dimension], fixed: Mapping[str, Scalar]
) -> Iterator[RememberedRecipe]:
    """The best recipes of a study that the space contains unchanged, `TRIALS_PER_STUDY` at most."""
    left = TRIALS_PER_STUDY
    for trial in best_trials(study.trials):
        moved_space, lost_fields = starting_at(space, fixed, trial.recipe)
        if not lost_fields and left:
            left -= 1
            yield RememberedRecipe(params=choose(moved_space, fixed, default_of), study=study, trial=trial)


def _relative_difference(parameter: Dimension, one: Scalar, other: Scalar) -> float:
    """Difference of two values as a share of the parameter's range; 1 for different choices."""
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
