"""No trial gives low-rank adapters to a backbone without linear layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studies.errors import StudyError
from studies.load_study import load_study
from studies.resolve_backbones import check_backbones
from studies.space.dimension import choose
from studies.spec import StudySpec

Load = Callable[..., StudySpec]

CNN, OTHER_CNN, VIT, CONVNEXT = "test_resnet", "test_efficientnet", "test_vit", "test_convnext"
EACH = f"backbone = {[VIT, CNN, CONVNEXT, OTHER_CNN]!r}\n"


def test_backbones_without_linear_layers_are_refused_and_named(load: Load) -> None:
    with pytest.raises(StudyError) as error:
        check_backbones(load(f"title = 'mine'\n[space]\n{EACH}tune = ['all', 'lora']"))
    (problem,) = error.value.problems
    assert problem.startswith(
        f"mine, [space]: tune: low-rank adapters need linear layers, of which {CNN}, {OTHER_CNN} "
    )
    advice = problem.partition("only: ")[2]
    assert check_backbones(load(f"[space]\n{EACH}{advice}")).values_of("tune") == ["all", "lora"]


@pytest.mark.parametrize(
    "text",
    [
        f"[recipe]\nbackbone = {CNN!r}\ntune = 'lora'",
        f"[recipe]\nbackbone = {CNN!r}\n[space]\ntune = ['bias_norm', 'lora']",
    ],
)
def test_a_fixed_backbone_without_linear_layers_is_refused(load: Load, text: str) -> None:
    with pytest.raises(
        StudyError, match=f"{CNN} has none or few.*choose a transformer.*or set tune = bias_norm or all"
    ):
        check_backbones(load(text))


@pytest.mark.parametrize(
    "text",
    [
        f"{EACH}tune = {{ choices = ['all', 'lora'], when = {{ backbone = ['!*resnet*', '!*efficientnet*'] }} }}",
        f"{EACH}tune = {{ choices = ['all', 'lora'], when = {{ backbone = ['{VIT}', '{CONVNEXT}'] }} }}",
        f"backbone = {[VIT, CONVNEXT]!r}\ntune = ['all', 'lora']",
        "backbone = { match = 'test_*' }\n"
        "tune = { choices = ['all', 'lora'], when = { 'backbone.family' = 'transformer' } }",
    ],
)
def test_conditions_leave_them_out(load: Load, text: str) -> None:
    assert "lora" in check_backbones(load(f"[space]\n{text}")).values_of("tune")


def test_biases_and_norms_exist_everywhere(load: Load) -> None:
    spec = load(f"[space]\n{EACH}tune = ['all', 'bias_norm']")
    assert check_backbones(spec) == spec


def test_a_filter_is_checked_when_its_models_are_known(load: Load) -> None:
    spec = load("[space]\nbackbone = { match = 'test_*' }\ntune = ['all', 'lora']")
    with pytest.raises(StudyError, match=r"of which test_byobnet.r160_in1k, .* have none or few"):
        check_backbones(spec)


def test_full_adapts_transformers_only() -> None:
    spec = load_study("full")
    assert check_backbones(spec) == spec
    assert spec.default_recipe()["tune"] == "all"
    transformers = load_study("full", ["recipe.backbone=swin_tiny_patch4_window7_224.ms_in22k_ft_in1k"])
    assert transformers.values_of("tune") == ["all", "bias_norm", "lora"]
    assert load_study("full", ["recipe.backbone=tf_efficientnet_b2.ns_jft_in1k"]).values_of("tune") == ["all"]
    with pytest.raises(StudyError, match=r"tf_efficientnet_b2.ns_jft_in1k has none or few"):
        check_backbones(load_study("full", ["recipe.backbone=tf_efficientnet_b2.ns_jft_in1k", "recipe.tune=lora"]))


@st.composite
def spaces(draw: st.DrawFn) -> str:
    """Spaces in which ``tune`` depends on the backbone, its family or another field, which may depend on it too."""
    names = draw(st.lists(st.sampled_from([CNN, VIT, CONVNEXT]), min_size=1, unique=True))
    conditions = [
        "",
        f", when = {{ backbone = {draw(st.sampled_from(names))!r} }}",
        f", when = {{ backbone = '!{draw(st.sampled_from(names))}' }}",
        f", when = {{ 'backbone.family' = '{draw(st.sampled_from(['cnn', 'transformer']))}' }}",
    ]
    ema = draw(st.sampled_from(conditions))
    tune = draw(st.sampled_from([*conditions, ", when = { ema = 0.9 }"]))
    base = draw(st.sampled_from(["", "tune = 'lora'\n"]))
    return (
        f"[recipe]\n{base}[space]\nbackbone = {names!r}\nema = {{ choices = [0.0, 0.9]{ema} }}\n"
        f"tune = {{ choices = ['all', 'lora']{tune} }}"
    )


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=spaces(), data=st.data())
def test_no_trial_of_a_checked_study_adapts_a_network_of_convolutions(
    load: Load, text: str, data: st.DataObject
) -> None:
    try:
        spec = check_backbones(load(text))
    except StudyError:
        return
    params = choose(spec.space, spec.recipe, lambda dimension: data.draw(st.sampled_from(dimension.choices or ())))
    recipe = spec.assemble(params)
    assert (recipe["tune"], recipe["backbone"]) != ("lora", CNN)
