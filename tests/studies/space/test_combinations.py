"""No trial combines settings that exclude each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studies.errors import StudyError
from studies.file.catalog import bundled_studies
from studies.load_study import load_study
from studies.space.dimension import choose
from studies.spec import StudySpec
from studies.stored_spec import spec_from_dict
from trainer.recipe.exclusions import EXCLUSIONS, TRAINED_ONLY, Exclusion
from trainer.recipe.recipe import FIELDS as RECIPE_FIELDS
from trainer.recipe.recipe import Recipe

Load = Callable[..., StudySpec]
Refused = Callable[..., tuple[str, ...]]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[recipe]\ninit = 'scratch'\nnorm = 'frozen'", "[recipe]"),
        ("[recipe]\ninit = 'scratch'\n[space]\nnorm = ['batch', 'frozen']", "[space]"),
        ("[recipe]\nnorm = 'frozen'\n[space]\ninit = ['pretrained', 'scratch']", "[recipe]"),
        ("[space]\ninit = ['pretrained', 'scratch']\nnorm = ['batch', 'frozen']", "[space]"),
        (
            "[recipe]\nnorm = 'frozen'\n[space]\ninit = ['pretrained', 'scratch']\n"
            "norm = { choices = ['batch', 'frozen'], when = { init = 'pretrained' } }",
            "[space]",
        ),
        (
            "[space]\nema = [0.0, 0.9]\ninit = { choices = ['pretrained', 'scratch'], when = { ema = 0.9 } }\n"
            "norm = { choices = ['batch', 'frozen'], when = { ema = [0.9] } }",
            "[space]",
        ),
    ],
)
@pytest.mark.parametrize(
    ("field", "value", "instead"),
    [("norm", "frozen", "batch"), ("head", "probe", "random"), ("tune", "bias_norm", "all"), ("tune", "lora", "all")],
)
def test_a_study_that_could_combine_them_is_refused(
    refused: Refused, text: str, place: str, field: str, value: str, instead: str
) -> None:
    text = text.replace("norm =", f"{field} =").replace("batch", instead).replace("frozen", value)
    (problem,) = refused(text)
    assert f"mine.toml, {place}: {field} = {value} excludes init = scratch: " in problem
    assert f"set {field} = {instead}, or init = pretrained" in problem


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[recipe]\ntune = 'lora'\nfreeze = 1", "[recipe]"),
        ("[recipe]\ntune = 'lora'\n[space]\nfreeze = [0.0, 1.0]", "[recipe]"),
        ("[space]\nfreeze = { low = 0.5, high = 1.0 }\ntune = ['all', 'lora']", "[space]"),
    ],
)
def test_a_part_of_the_weights_of_frozen_layers_is_refused(refused: Refused, text: str, place: str) -> None:
    (problem,) = refused(text)
    assert f"mine.toml, {place}: tune = lora excludes freeze = 1.0: only the classifier would learn; " in problem
    assert "set tune = all, or freeze below 1" in problem


def test_an_override_that_freezes_everything_leaves_partial_tuning_out(load: Load) -> None:
    text = (
        "[space]\ntune = ['all', 'lora']\nlora_rank = { choices = [4, 8], when = { tune = 'lora' } }\nema = [0.0, 0.9]"
    )
    spec = load(text, "recipe.freeze=1.0")
    assert [dimension.field for dimension in spec.space] == ["ema"]
    assert (spec.recipe["tune"], spec.recipe["freeze"]) == ("all", 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "[recipe]\nnorm = 'frozen'\nhead = 'probe'",
        "[space]\nnorm = ['batch', 'frozen']\nhead = ['random', 'probe']\ninit = ['pretrained', 'mine']",
        "[recipe]\ninit = 'scratch'\n[space]\nnorm = { choices = ['batch', 'frozen'], when = { init = 'pretrained' } }",
        "[space]\ninit = ['pretrained', 'scratch']\n"
        "norm = { choices = ['batch', 'frozen'], when = { init = 'pretrained' } }",
        "[recipe]\nnorm = 'frozen'\n[space]\ninit = ['pretrained', 'scratch']\n"
        "norm = [{ choices = ['batch'], when = { init = 'scratch' } }, "
        "{ choices = ['frozen'], when = { init = 'pretrained' } }]",
        "[space]\nema = [0.0, 0.9]\ninit = { choices = ['scratch'], when = { ema = 0.9 } }\n"
        "norm = { choices = ['batch', 'frozen'], when = { ema = 0.0 } }",
        "[recipe]\nnorm = 'frozen'\n[space]\nbackbone = { match = 'resnet18*' }",
    ],
)
def test_a_study_that_cannot_is_read(load: Load, text: str) -> None:
    load(text)


@pytest.mark.parametrize("name", bundled_studies())
def test_every_shipped_study_can_begin_from_random_weights(name: str) -> None:
    spec = load_study(name, ["recipe.init=scratch"])
    assert all(spec.recipe[field] == RECIPE_FIELDS[field].default for field in TRAINED_ONLY)
    assert not {dimension.field for dimension in spec.space} & set(TRAINED_ONLY)


@pytest.mark.parametrize("exclusion", EXCLUSIONS, ids=lambda exclusion: str(exclusion.pair))
def test_the_values_of_exclusions_exist(exclusion: Exclusion) -> None:
    for field, value in exclusion.pair.items():
        assert RECIPE_FIELDS[field].check(value) == value
    assert RECIPE_FIELDS[exclusion.field].default != exclusion.value
    default = RECIPE_FIELDS[exclusion.field].default
    in_toml = str(default).lower() if isinstance(default, bool) else default
    assert f"set {exclusion.field} = {in_toml}" in str(exclusion)


def test_begun_from_a_recipe_with_random_weights_a_study_leaves_them_out(load: Load, tmp_path: Path) -> None:
    load("[space]\nnorm = ['batch', 'frozen']\nema = [0.0, 0.9]")
    spec = load_study(tmp_path / "mine.toml", recipe=Recipe.from_flat({"init": "scratch"}).to_flat())
    assert [dimension.field for dimension in spec.space] == ["ema"]


@pytest.mark.parametrize("override", ["recipe.norm=frozen", "space.norm=['frozen']"])
def test_an_override_of_both_is_refused(refused: Refused, override: str) -> None:
    (problem,) = refused("[recipe]\nnorm = 'frozen'", "recipe.init=scratch", override)
    assert problem.startswith(f"--set {override}: norm = frozen excludes init = scratch")


def test_a_stored_study_takes_random_weights_too(load: Load) -> None:
    stored = load("[space]\nnorm = ['batch', 'frozen']\nema = [0.0, 0.9]").to_dict()
    spec = spec_from_dict(stored, ["recipe.init=scratch"])
    assert [dimension.field for dimension in spec.space] == ["ema"]


FIELDS = {
    "init": ["pretrained", "scratch"],
    "ema": [0.0, 0.9],
    "norm": ["batch", "frozen"],
    "freeze": [0.0, 1.0],
    "tune": ["all", "lora"],
}


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Studies that fix, sample or sample under a condition each of these fields."""
    recipe, space, before = [], [], dict[str, list[object]]()
    for field in draw(st.permutations(list(FIELDS))):
        values = FIELDS[field]
        if draw(st.booleans()):
            recipe.append(f"{field} = {draw(st.sampled_from(values))!r}")
        if draw(st.booleans()):
            subset = draw(st.lists(st.sampled_from(values), min_size=1, unique=True))
            when = ""
            if before and draw(st.booleans()):
                asked = draw(st.sampled_from(list(before)))
                when = f", when = {{ {asked} = {draw(st.sampled_from(before[asked]))!r} }}"
            space.append(f"{field} = {{ choices = {subset!r}{when} }}")
            before[field] = subset
    return "\n".join(["[recipe]", *recipe, "[space]", *space])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts(), data=st.data())
def test_no_trial_of_a_study_that_is_read_combines_them(load: Load, text: str, data: st.DataObject) -> None:
    try:
        spec = load(text)
    except StudyError:
        return
    params = choose(spec.space, spec.recipe, lambda dimension: data.draw(st.sampled_from(dimension.choices or ())))
    Recipe.from_flat(spec.assemble(params))
