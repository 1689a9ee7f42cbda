"""No trial combines random weights with a setting that presupposes trained ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studies.errors import StudyError
from studies.file.catalog import bundled_studies
from studies.space.dimension import choose
from studies.spec import StudySpec, load_study
from trainer.recipe.recipe import TRAINED_ONLY, Recipe

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
@pytest.mark.parametrize("field", list(TRAINED_ONLY))
def test_a_study_that_could_combine_them_is_refused(refused: Refused, text: str, place: str, field: str) -> None:
    if field == "head":
        text = text.replace("norm", "head").replace("batch", "random").replace("frozen", "probe")
    (problem,) = refused(text)
    assert f"mine.toml, {place}: {field} = {TRAINED_ONLY[field]} excludes init = scratch: " in problem
    assert f"set {field} = {'random' if field == 'head' else 'batch'}, or init = pretrained" in problem


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
    assert {spec.recipe[field] for field in TRAINED_ONLY} == {"random", "batch"}
    assert not {dimension.field for dimension in spec.space} & TRAINED_ONLY.keys()


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
    spec = StudySpec.from_dict(stored, ["recipe.init=scratch"])
    assert [dimension.field for dimension in spec.space] == ["ema"]


FIELDS = {"init": ["pretrained", "scratch"], "ema": [0.0, 0.9], "norm": ["batch", "frozen"]}


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Studies that fix, sample or sample under a condition each of three fields."""
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


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts(), data=st.data())
def test_no_trial_of_a_study_that_is_read_combines_them(load: Load, text: str, data: st.DataObject) -> None:
    try:
        spec = load(text)
    except StudyError:
        return
    params = choose(spec.space, spec.recipe, lambda dimension: data.draw(st.sampled_from(dimension.choices or ())))
    Recipe.from_flat(spec.assemble(params))
