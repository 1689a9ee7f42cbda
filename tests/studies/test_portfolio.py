"""``[[portfolio]]`` of a study file: recipes of entries, errors, and the effect of overrides and backbone filters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.explain import differences, explain
from studies.file.catalog import bundled_studies
from studies.load_study import load_study
from studies.resolve_backbones import check_backbones
from studies.space.fit_recipe import fit, starting_at
from studies.spec import StudyError, StudySpec
from studies.stored_spec import spec_from_dict
from trainer.recipe.recipe import Recipe

Load = Callable[..., StudySpec]
Refused = Callable[..., tuple[str, ...]]

STUDY = """
[recipe]
batch_size = 16

[space]
backbone = ["resnet18.a1_in1k", "convnext_tiny.in12k_ft_in1k", "vit_tiny_patch16_224.augreg_in21k"]
"optimizer.name" = ["adamw", "sgd"]
"optimizer.lr" = [
    { low = 1e-4, high = 1e-2, log = true, default = 1e-3, when = { "optimizer.name" = "adamw" } },
    { low = 1e-2, high = 1e-1, log = true, when = { "optimizer.name" = "sgd" } },
]
"augment.sepia" = { low = 0.1, high = 0.5, off = 0.0 }
"augment.mix" = ["none", "mixup"]
"augment.mix_alpha" = { low = 0.2, high = 1.0, when = { "augment.mix" = "mixup" } }
"""


def entry(text: str, source: str = "a paper") -> str:
    return f'{STUDY}\n[[portfolio]]\nsource = "{source}"\n{text}\n'


def recipes(spec: StudySpec) -> list[dict[str, Any]]:
    return [spec.assemble(params) for _, params in spec.portfolio_params()]


def test_settings_that_an_entry_omits_are_those_of_the_default_recipe(load: Load) -> None:
    spec = load(entry('"optimizer.name" = "sgd"\n"optimizer.lr" = 5e-2\n"augment.sepia" = 0.2'))
    (recipe,) = recipes(spec)
    changed = {field for field, value in recipe.items() if value != spec.default_recipe()[field]}
    assert changed == {"optimizer.name", "optimizer.lr", "augment.sepia"}
    ((_, params),) = spec.portfolio_params()
    assert (params["optimizer.lr@sgd"], params["augment.sepia.on"], params["augment.sepia"]) == (5e-2, True, 0.2)


def test_nested_tables_mean_the_same(load: Load) -> None:
    dotted = load(entry('"optimizer.name" = "sgd"\n"optimizer.lr" = 5e-2'))
    nested = load(entry('optimizer = { lr = 5e-2, name = "sgd" }'))
    assert nested.portfolio == dotted.portfolio


@pytest.mark.parametrize(
    ("when", "backbone"),
    [
        ("", "resnet18.a1_in1k"),
        ('when = { family = "cnn" }', "resnet18.a1_in1k"),
        ('when = { "backbone.family" = ["transformer", "hybrid"] }', "vit_tiny_patch16_224.augreg_in21k"),
        ('when = { backbone = "convnext*" }', "convnext_tiny.in12k_ft_in1k"),
        ('when = { backbone = "!resnet*", family = "cnn" }', "convnext_tiny.in12k_ft_in1k"),
    ],
)
def test_an_entry_is_tried_with_the_first_backbone_it_is_for(load: Load, when: str, backbone: str) -> None:
    (recipe,) = recipes(load(entry(f'{when}\n"optimizer.lr" = 2e-3')))
    assert (recipe["backbone"], recipe["optimizer.lr"]) == (backbone, 2e-3)


def test_a_condition_on_another_field_chooses_it(load: Load) -> None:
    (recipe,) = recipes(load(entry('when = { "optimizer.name" = "sgd" }\n"optimizer.lr" = 5e-2')))
    assert (recipe["optimizer.name"], recipe["optimizer.lr"]) == ("sgd", 5e-2)


def test_equal_entries_are_tried_once(load: Load) -> None:
    twice = entry('"augment.sepia" = 0.2') + '[[portfolio]]\nsource = "another"\n"augment.sepia" = 0.2\n'
    spec = load(twice + '[[portfolio]]\nsource = "the default again"\n"optimizer.lr" = 1e-3\n')
    assert len(spec.portfolio) == 3
    assert len(recipes(spec)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"optimizer.lr" = 5.0', "optimizer.lr = 5.0 is not among 0.0001 .. 0.01, log"),
        ('"optimizer.lr" = 5e-2', "optimizer.lr = 0.05 is not among 0.0001 .. 0.01, log"),
        ("batch_size = 32", "batch_size = 32 is not sampled, but 16 in every trial"),
        (
            '"augment.mix_alpha" = 0.5',
            "augment.mix_alpha = 0.5 is sampled only when augment.mix = mixup; here it is 0.4",
        ),
        ('"optimizer.rate" = 1e-3', "no recipe field 'optimizer.rate'; did you mean optimizer.name"),
        ('"augment.sepia" = "much"', "augment.sepia takes a number"),
        ("", "names no field"),
        ('when = { family = "mlp" }\n"optimizer.lr" = 2e-3', "when backbone.family = mlp: no recipe of this study"),
        ('when = { family = "birds" }\n"optimizer.lr" = 2e-3', "there is no backbone family 'birds'"),
        ('"optimizer.lr" = 2e-3\noptimizer = { lr = 3e-3 }', "names one field twice"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused_by_name(refused: Refused, text: str, said: str) -> None:
    (problem,) = (problem for problem in refused(entry(text)) if said in problem)
    assert "mine.toml, [portfolio]: entry 1 (a paper)" in problem


def test_every_recipe_has_a_source(refused: Refused) -> None:
    (problem,) = refused(f"{STUDY}\n[[portfolio]]\n'augment.sepia' = 0.2\n")
    assert "entry 1: source" in problem
    (problem,) = refused(f"{STUDY}\n[portfolio]\nsource = 'x'\n")
    assert "portfolio is an array of tables, each [[portfolio]]" in problem


def test_overrides_remove_entries_that_no_longer_fit(load: Load) -> None:
    text = entry('"optimizer.name" = "sgd"\n"optimizer.lr" = 5e-2')
    assert recipes(load(text, "recipe.optimizer.lr=0.001")) == []
    assert len(recipes(load(text, "recipe.optimizer.name=sgd"))) == 1, "what is fixed agrees"
    assert load(text, "recipe.optimizer.name=adamw").portfolio == ()
    assert load(text, "portfolio=[]").portfolio == ()
    for_vit = entry('when = { family = "transformer" }\n"optimizer.lr" = 2e-3')
    assert load(for_vit, "recipe.backbone=resnet18").portfolio == ()
    assert len(load(for_vit, "recipe.backbone=vit_tiny_patch16_224").portfolio) == 1


def test_a_condition_that_a_fixed_value_excludes_is_no_error(load: Load) -> None:
    fixed = '[recipe]\nbackbone = "resnet18"\n[space]\n"optimizer.lr" = { low = 1e-4, high = 1e-2 }\n'
    for_others = '[[portfolio]]\nsource = "x"\nwhen = { family = "transformer" }\n"optimizer.lr" = 1e-3\n'
    assert load(fixed + for_others).portfolio == ()


FILTERED = """
[space]
backbone = { match = "resnet18.*" }
"optimizer.lr" = [
    { low = 1e-4, high = 1e-2, log = true, when = { backbone = "resnet*" } },
    { low = 1e-6, high = 1e-5, log = true, when = { backbone = "!resnet*" } },
]
[[portfolio]]
source = "found"
when = { backbone = "resnet18.a1*" }
"optimizer.lr" = 1e-3
[[portfolio]]
source = "not found"
when = { backbone = "vit*" }
"optimizer.lr" = 1e-3
"""


def test_a_filter_decides_once_it_is_resolved(load: Load, refused: Refused) -> None:
    spec = check_backbones(load(FILTERED), lenient=False)
    assert [entry.source for entry in spec.portfolio] == ["found"]
    assert [recipe["backbone"] for recipe in recipes(spec)] == ["resnet18.a1_in1k"]
    (problem,) = refused(FILTERED.replace('"optimizer.lr" = 1e-3\n[[', '"optimizer.lr" = 1.0\n[['))
    assert "entry 1 (found): optimizer.lr = 1.0 is not among 0.0001 .. 0.01, log or 1e-06 .. 1e-05, log" in problem
    elsewhere = load(FILTERED.replace('"optimizer.lr" = 1e-3\n[[', '"optimizer.lr" = 5e-6\n[['))
    with pytest.raises(StudyError, match="is not among"):
        check_backbones(elsewhere, lenient=False)
    assert check_backbones(elsewhere).portfolio == ()


@pytest.mark.parametrize("name", [name for name in bundled_studies() if name != "probe_backbones"])
def test_every_entry_of_a_bundled_study_is_tried(name: str) -> None:
    file = load_study(name)
    spec = check_backbones(file, lenient=False)
    tried = recipes(spec)
    assert len(tried) == len(file.portfolio) > 0
    assert all(Recipe.from_flat(recipe).to_flat() == recipe for recipe in tried)


def test_a_portfolio_is_stored_and_does_not_change_the_hash(load: Load) -> None:
    with_it, without = load(entry('when = { family = "cnn" }\n"augment.sepia" = 0.2')), load(STUDY)
    stored = json.loads(json.dumps(with_it.to_dict()))
    assert spec_from_dict(stored) == with_it
    assert with_it.spec_hash == without.spec_hash
    assert differences(with_it, without) == []
    (row,) = explain(with_it).portfolio
    assert (row.source, row.settings, row.when) == ("a paper", "augment.sepia=0.2", "backbone.family = cnn")


def test_a_damaged_stored_study_is_refused(load: Load) -> None:
    stored = load(STUDY).to_dict()
    with pytest.raises(StudyError, match="the stored study is a table of"):
        spec_from_dict({**stored, "surprise": 1})
    for broken in ("a:", "../a:1", 7, None):
        with pytest.raises(StudyError, match="begun_from is STUDY:TRIAL"):
            spec_from_dict({**stored, "begun_from": broken})


def test_a_study_starts_from_another_recipe(load: Load) -> None:
    other = load(STUDY.replace("batch_size = 16", "batch_size = 64\nepochs = 3"))
    given = {"backbone": "convnext_tiny.in12k_ft_in1k", "optimizer.name": "sgd", "optimizer.lr": 0.05, "drop": 0.3}
    recipe = {**other.default_recipe(), **given, "augment.sepia": 0.9}
    overrides = ["recipe.image_size=96", "space.augment.mix.default=mixup"]
    spec = load(entry('"augment.sepia" = 0.3'), *overrides)
    begun, lost = spec.begun_at("other:4", recipe, overrides)
    assert lost == ["augment.sepia"]
    default = begun.default_recipe()
    assert {field: default[field] for field in given if field != "drop"} == {
        field: value for field, value in given.items() if field != "drop"
    }
    assert (default["augment.mix"], default["image_size"]) == ("mixup", 96), "what --set says wins"
    assert spec_from_dict(begun.to_dict()) == begun
    assert explain(begun).begun_from == "other:4"


def test_all_that_is_not_sampled_is_fixed_to_the_recipe(load: Load, tmp_path: Any) -> None:
    recipe = load("").default_recipe() | {
        "batch_size": 64,
        "epochs": 3,
        "backbone": "vit_tiny_patch16_224",
        "drop": 0.3,
    }
    load(STUDY + '\ndrop_path = { low = 0.0, high = 0.1, when = { family = "transformer" } }')
    spec = load_study(tmp_path / "mine.toml", ["recipe.backbone=resnet18", "recipe.epochs=5"], recipe=recipe)
    fixed = (spec.recipe["batch_size"], spec.recipe["epochs"], spec.recipe["drop"], spec.recipe["backbone"])
    assert fixed == (64, 5, 0.3, "resnet18")
    assert "drop_path" not in {dimension.field for dimension in spec.space}, "conditions are decided by what holds now"
    assert "optimizer.lr" in {dimension.field for dimension in spec.space}


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "optimizer.name": st.sampled_from(["adamw", "sgd", "lion"]),
            "optimizer.lr": st.floats(1e-5, 1.0),
            "augment.sepia": st.floats(0.0, 0.6) | st.just(0.0),
            "augment.mix": st.sampled_from(["none", "mixup"]),
            "augment.mix_alpha": st.floats(0.1, 1.0),
        },
    )
)
def test_a_fitted_recipe_equals_the_wanted_one_except_for_its_misfits(wanted: dict[str, Any]) -> None:
    spec = _STUDY
    found = fit(spec.space, spec.recipe, wanted)
    assert found is not None
    if not found.misfits:
        assert spec.assemble(found.params) == found.settings
        assert all(found.settings[field] == value for field, value in wanted.items())
    else:
        assert {misfit.partition(" ")[0] for misfit in found.misfits} <= wanted.keys()
    recipe = {**spec.default_recipe(), **wanted}
    moved, lost = starting_at(spec.space, spec.recipe, recipe)
    begun = replace(spec, space=moved)
    assert all(dimension.contains(dimension.default) for dimension in moved)
    for dimension in moved:
        if dimension.is_active(begun.default_recipe()):
            kept = begun.default_recipe()[dimension.field] == recipe[dimension.field]
            assert kept == (dimension.field not in lost)


_STUDY = spec_from_dict(
    {
        **load_study("quickstart").to_dict(),
        "portfolio": [],
        "space": [
            {"field": "optimizer.name", "choices": ["adamw", "sgd"]},
            {"field": "optimizer.lr", "low": 1e-4, "high": 1e-2, "log": True, "when": {"optimizer.name": "adamw"}},
            {"field": "optimizer.lr", "low": 1e-2, "high": 1e-1, "log": True, "when": {"optimizer.name": "sgd"}},
            {"field": "augment.sepia", "low": 0.1, "high": 0.5, "off": 0.0},
            {"field": "augment.mix", "choices": ["none", "mixup"]},
            {"field": "augment.mix_alpha", "low": 0.2, "high": 1.0, "when": {"augment.mix": "mixup"}},
        ],
    }
)
