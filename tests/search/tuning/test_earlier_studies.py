"""The choice of recipes from earlier studies: distance of data sets, order, near-duplicates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.statistics.ranking import Candidate
from search.tuning.earlier_studies import (
    TRIALS_PER_STUDY,
    DatasetTraits,
    EarlierStudy,
    EarlierTrial,
    best_trials,
    distance,
    is_near,
    remembered_recipes,
    traits_of,
)
from studies.load_study import load_study
from trainer.data.image_statistics import ImageStatistics

SPEC = load_study("quickstart")
DEFAULT = SPEC.default_recipe()

image_statistics = st.builds(
    ImageStatistics,
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0, 0.5)] * 3),
    side=st.floats(8, 4000),
)
traits = st.builds(
    DatasetTraits,
    fingerprint=st.uuids().map(str),
    images=st.integers(1, 10**6),
    classes=st.integers(2, 1000),
    imbalance=st.floats(1, 1000),
    image_statistics=image_statistics,
)


@given(traits, traits)
def test_distance_is_symmetric_and_zero_for_the_same_images(one: DatasetTraits, other: DatasetTraits) -> None:
    assert distance(one, one) == 0.0
    assert distance(one, other) == pytest.approx(distance(other, one))
    assert distance(one, other) >= 0.0
    assert distance(one, replace(other, fingerprint=one.fingerprint)) == 0.0, "the same images"


def test_more_similar_data_sets_are_nearer() -> None:
    statistics = ImageStatistics(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), side=224.0)
    here = DatasetTraits(fingerprint="a", images=600, classes=10, imbalance=4.0, image_statistics=statistics)
    similar = replace(here, fingerprint="b", images=700)
    for unlike in (
        replace(similar, images=60_000),
        replace(similar, classes=200),
        replace(similar, imbalance=100.0),
        replace(similar, image_statistics=replace(statistics, mean=(0.1, 0.1, 0.1))),
        replace(similar, image_statistics=replace(statistics, side=28.0)),
    ):
        assert distance(here, similar) < distance(here, unlike)
    factor_of_ten = replace(here, fingerprint="b", images=6000)
    assert distance(here, factor_of_ten) == pytest.approx(1 / 6), "one of six traits"


def test_traits_come_from_the_labels() -> None:
    statistics = ImageStatistics(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), side=224.0)
    found = traits_of("a", np.array([0, 0, 0, 0, 1, 2, 2]), 3, statistics)
    assert (found.images, found.classes, found.imbalance) == (7, 3, 4.0)


def trial(number: int, value: float, error: float = 0.01, **changes: Any) -> EarlierTrial:
    recipe = {**DEFAULT, **{name.replace("__", "."): value for name, value in changes.items()}}
    result = Candidate(number=number, value=value, standard_error=error, averaged=value, brier=0.5, objective=value)
    return EarlierTrial(result=result, recipe=recipe)


def study(name: str, distance_to_new: float, *trials: EarlierTrial) -> EarlierStudy:
    return EarlierStudy(name=name, same_data=name == "same", distance=distance_to_new, metric="accuracy", trials=trials)


def remembered(*studies: EarlierStudy) -> list[tuple[str, int]]:
    return [
        (found.study.name, found.trial.result.number) for found in remembered_recipes(studies, SPEC.space, SPEC.recipe)
    ]


def test_the_best_recipe_of_every_study_comes_before_second_best_ones_and_the_nearest_study_first() -> None:
    far = study("far", 2.0, trial(0, 0.9), trial(1, 0.95))
    near = study("near", 0.5, trial(0, 0.805), trial(7, 0.81), trial(3, 0.5))
    same, similar = study("same", 0.0, trial(4, 0.4)), study("similar", 0.0, trial(5, 0.4))
    assert remembered(similar, same)[0] == ("same", 4), "the same images come before other images at distance 0"
    assert remembered(far, near, same) == [("same", 4), ("near", 7), ("far", 1), ("near", 0)]
    assert [found.result.number for found in best_trials(near.trials)] == [7, 0], "within a standard error of the best"
    assert remembered() == remembered(study("empty", 0.0)) == []
    many = study("many", 1.0, *(trial(number, 0.8) for number in range(9)))
    assert len(remembered(many)) == TRIALS_PER_STUDY


def test_only_recipes_that_the_new_study_can_sample_are_remembered() -> None:
    outside = trial(0, 0.9, optimizer__lr=0.3)
    other_branch = trial(1, 0.895, optimizer__name="sgd", optimizer__lr=0.03)
    unknown_choice = trial(2, 0.894, optimizer__name="lion")
    assert remembered(study("s", 0.0, outside, other_branch, unknown_choice)) == [("s", 1)]
    fixed_elsewhere = trial(3, 0.9, backbone="resnet18", batch_size=128, optimizer__lr=0.002)
    (found,) = remembered_recipes([study("s", 0.0, fixed_elsewhere)], SPEC.space, SPEC.recipe)
    recipe = SPEC.assemble(found.params)
    assert (recipe["backbone"], recipe["batch_size"], recipe["optimizer.lr"]) == ("test_resnet", 32, 0.002)
    off = trial(4, 0.9, optimizer__weight_decay=0.0)
    (found,) = remembered_recipes([study("s", 0.0, off)], SPEC.space, SPEC.recipe)
    assert found.params["optimizer.weight_decay.on"] is False


def test_near_duplicates_are_judged_relative_to_the_ranges() -> None:
    params = SPEC.default_params()

    def changed(**changes: Any) -> dict[str, Any]:
        return {**params, **{name.replace("__", "."): value for name, value in changes.items()}}

    assert is_near(SPEC.space, params, params)
    assert is_near(SPEC.space, params, changed(augment__rotate=5.5))
    assert not is_near(SPEC.space, params, changed(augment__rotate=6.0)), "of 15 degrees"
    rate = {**params, "optimizer.lr@adamw": 3e-3}
    assert is_near(SPEC.space, rate, {**rate, "optimizer.lr@adamw": 3.4e-3}), "5 % of the logarithm's range"
    assert not is_near(SPEC.space, rate, {**rate, "optimizer.lr@adamw": 4e-3})
    without = {name: value for name, value in params.items() if name != "optimizer.weight_decay"}
    assert not is_near(SPEC.space, params, {**without, "optimizer.weight_decay.on": False})
