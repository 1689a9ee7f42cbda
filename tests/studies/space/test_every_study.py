"""Property-based tests on generated studies: conditions on fields and family, branches, gaps, all kinds of ranges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from studies.errors import StudyError
from studies.explain import differences, explain
from studies.space.dimension import FAMILY, Dimension, choose
from studies.stored_spec import spec_from_dict
from trainer.networks.backbones import family_of
from trainer.recipe.recipe import FIELDS, FieldInfo, Recipe, Scalar

made_up = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])

CHOICES: dict[str, list[Any]] = {
    "backbone": ["resnet18.a1_in1k", "convnext_tiny", "vit_tiny_patch16_224", "maxvit_tiny_tf_224.in1k"],
    "optimizer.name": ["adamw", "sgd", "lion"],
    "augment.mix": ["none", "mixup", "cutmix"],
    "batch_size": [8, 16, 32],
    "optimizer.layer_decay": [1.0, 0.9, 0.75],
    "freeze_embed": [False, True],
}
"""Fields of conditions; each may depend on the fields before it."""

RANGES = ("optimizer.lr", "augment.sepia", "augment.mix_alpha", "drop", "image_size", "loss.focal_gamma")
FAMILIES = ["cnn", "transformer", "hybrid"]


@st.composite
def stored_studies(draw: st.DrawFn) -> dict[str, Any]:
    """Generated input of `spec_from_dict`."""
    space: list[dict[str, Any]] = []
    for field in (*CHOICES, *RANGES):
        if draw(st.booleans()):
            space += draw(_entries(field, [entry["field"] for entry in space]))
    some_fixed = {"optimizer.momentum": st.floats(0, 0.9), "epochs": st.integers(1, 99)}
    return {
        "title": draw(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30)),
        "protocol": {"metric": draw(st.sampled_from(["accuracy", "qwk"])), "folds": draw(st.integers(2, 10))},
        "recipe": draw(st.fixed_dictionaries({}, optional=some_fixed)),
        "space": space,
        "search": {"trials": draw(st.integers(1, 500)), "sampler": draw(st.sampled_from(["tpe", "random", "gp"]))},
        "final": {"epochs": draw(st.none() | st.integers(1, 50)), "tta": draw(st.booleans())},
        "data": {"id_column": draw(st.none() | st.just("image id"))},
        "confirm": {},
        "portfolio": [],
        "begun_from": "",
    }


@st.composite
def _entries(draw: st.DrawFn, field: str, before: list[str]) -> list[dict[str, Any]]:
    askable = [name for name in dict.fromkeys(before) if name in CHOICES]
    if not askable or draw(st.booleans()):
        return [_domain(draw, field)]
    asked = draw(st.sampled_from(askable))
    values = CHOICES[asked]
    by_family = asked == "backbone" and draw(st.booleans())
    if by_family:
        asked, values = "backbone.family", FAMILIES
    values = draw(st.permutations(values))
    # One or two branches; what neither names is a gap.
    cut = draw(st.integers(1, len(values) - 1))
    end = draw(st.integers(cut, len(values)))
    parts = [part for part in (values[:cut], values[cut:end]) if part]
    if asked == "backbone" and draw(st.booleans()):
        stem = values[0].partition("_")[0]
        parts = [[f"{stem}*"], [f"!{stem}*"]][: draw(st.integers(1, 2))]
    return [_domain(draw, field) | {"when": {asked: part}} for part in parts]


def _domain(draw: st.DrawFn, field: str) -> dict[str, Any]:
    if field in CHOICES:
        # Complete, in any order: so every condition on the field can hold.
        return {"field": field, "choices": draw(st.permutations(CHOICES[field]))}
    info = FIELDS[field]
    low, high = _bounds(draw, info)
    entry: dict[str, Any] = {"field": field, "low": low, "high": high}
    kind = draw(st.sampled_from(["plain", "log", "step"]))
    if kind == "log" and low > 0:
        entry["log"] = True
    elif kind == "step" and high > low:
        entry["step"] = (high - low) if info.type is int else (high - low) / draw(st.integers(1, 7))
    if draw(st.booleans()):
        # Most often outside the range, sometimes within: both are allowed.
        entry["off"] = draw(st.sampled_from([int(info.low) if info.type is int else info.low, low, info.high]))
        if draw(st.booleans()):
            entry["default"] = draw(st.sampled_from([low, high, entry["off"]]))
    return entry


def _bounds(draw: st.DrawFn, info: FieldInfo) -> tuple[Any, Any]:
    if info.type is int:
        numbers = st.integers(int(info.low), int(info.high))
    else:
        numbers = st.floats(info.low, info.high, allow_subnormal=False)  # type: ignore[assignment]
    low, high = sorted((draw(numbers), draw(numbers)))
    return low, high


def pick(data: st.DataObject, dimension: Dimension) -> Scalar:
    """Any value that Optuna could suggest for the dimension."""
    if dimension.choices is not None:
        return data.draw(st.sampled_from(dimension.choices), label=dimension.name)
    low, high = dimension.low, dimension.high
    assert low is not None and high is not None
    if dimension.step is not None:
        steps = data.draw(st.integers(0, round((high - low) / dimension.step)), label=dimension.name)
        value = min(low + steps * dimension.step, high)
        return int(value) if dimension.integer else value
    if dimension.integer:
        return data.draw(st.integers(int(low), int(high)), label=dimension.name)
    return data.draw(st.floats(low, high), label=dimension.name)


def holds(dimension: Dimension, flat: Mapping[str, Scalar]) -> bool:
    """Independent implementation of conditions."""
    for field, values in dimension.when:
        actual = family_of(str(flat["backbone"])) if field == FAMILY else flat[field]
        if actual not in values and (field != "backbone" or not _fits(str(actual), [str(value) for value in values])):
            return False
    return True


def _fits(name: str, patterns: list[str]) -> bool:
    """Patterns of the form ``start*`` and ``!start*``, as `_entries` makes them."""
    unwanted = [pattern[1:-1] for pattern in patterns if pattern.startswith("!")]
    wanted = [pattern[:-1] for pattern in patterns if pattern.endswith("*") and not pattern.startswith("!")]
    return not name.startswith(tuple(unwanted)) if unwanted else name.startswith(tuple(wanted))


@pytest.mark.slow
@made_up
@given(stored_studies())
def test_a_study_survives_the_database(stored: dict[str, Any]) -> None:
    spec = spec_from_dict(stored)
    again = spec_from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.spec_hash == spec.spec_hash
    assert differences(spec, again) == []
    assert list(again.to_dict()["space"]) == list(spec.to_dict()["space"])


@pytest.mark.slow
@made_up
@given(stored_studies(), st.data())
def test_every_sampled_assignment_is_a_recipe(stored: dict[str, Any], data: st.DataObject) -> None:
    spec = spec_from_dict(stored)
    params = choose(spec.space, spec.recipe, lambda dimension: pick(data, dimension))
    flat = spec.assemble(params)
    assert Recipe.from_flat(flat).to_flat() == flat
    sampled = [dimension for dimension in spec.space if holds(dimension, flat)]
    assert len({dimension.field for dimension in sampled}) == len(sampled), "one field sampled twice"
    for dimension in sampled:
        if dimension.off is not None and not params.pop(f"{dimension.name}.on"):
            assert flat[dimension.field] == dimension.off
            event("off")
        else:
            assert flat[dimension.field] == params.pop(dimension.name)
        assert dimension.contains(flat[dimension.field])
    assert not params, "sampled without need"
    for path in set(FIELDS) - {dimension.field for dimension in sampled}:
        assert flat[path] == spec.recipe[path]


@pytest.mark.slow
@made_up
@given(stored_studies())
def test_trial_zero_lies_inside_the_active_dimensions(stored: dict[str, Any]) -> None:
    spec = spec_from_dict(stored)
    params, flat = spec.default_params(), spec.default_recipe()
    active = [dimension for dimension in spec.space if holds(dimension, flat)]
    for dimension in active:
        assert flat[dimension.field] == dimension.default
        assert all(p.contains(params[p.name]) for p in dimension.parameters if p.name in params)
    assert params.keys() <= {parameter.name for dimension in active for parameter in dimension.parameters}
    assert all(dimension.contains(dimension.default) for dimension in spec.space)
    assert Recipe.from_flat(flat)
    assert len(explain(spec).sampled) == len(spec.space)


@pytest.mark.slow
@made_up
@given(stored_studies(), st.data())
def test_values_outside_the_space_are_refused(stored: dict[str, Any], data: st.DataObject) -> None:
    spec = spec_from_dict(stored)
    params = spec.default_params()
    for name in params:
        with pytest.raises(StudyError, match="no value for"):
            spec.assemble({key: value for key, value in params.items() if key != name})
        with pytest.raises(StudyError, match="cannot be"):
            spec.assemble({**params, name: "nothing that a recipe knows"})
    for parameter in (parameter for dimension in spec.space for parameter in dimension.parameters):
        if parameter.name not in params:
            with pytest.raises(StudyError, match="not sampled under these settings"):
                spec.assemble({**params, parameter.name: pick(data, parameter)})


@pytest.mark.slow
@made_up
@given(stored_studies(), stored_studies())
def test_differences_are_listed_exactly_where_the_hash_differs(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = spec_from_dict(one), spec_from_dict(other)
    assert bool(differences(first, second)) == (first.spec_hash != second.spec_hash)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(stored_studies(), st.data())
def test_a_damaged_study_is_refused_in_words(stored: dict[str, Any], data: st.DataObject) -> None:
    """Any value is replaced by any other: the result is a study, or `StudyError` is raised."""
    places = list(_places(stored))
    container, key = data.draw(st.sampled_from(places), label="place")
    container[key] = data.draw(JSON, label="value")
    try:
        spec = spec_from_dict(stored)
    except StudyError as error:
        assert error.problems
        assert all("the stored study" in problem for problem in error.problems)
    else:
        assume(spec.is_resolved)
        assert Recipe.from_flat(spec.default_recipe())


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
