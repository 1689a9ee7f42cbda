"""``--set FIELD=VALUE`` overrides any setting of a study file."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from studies.file.overrides import data_settings, merged, parse_value
from studies.load_study import load_study
from studies.settings import DataSettings
from studies.spec import StudyError, StudySpec
from studies.stored_spec import spec_from_dict

Load = Callable[..., StudySpec]
Refused = Callable[..., tuple[str, ...]]

STUDY = """
title = "one"
[recipe]
backbone = "resnet18"
"optimizer.lr" = 0.02
[space]
"optimizer.name" = ["adamw", "sgd"]
"optimizer.lr" = { low = 0.01, high = 0.1, when = { "optimizer.name" = "sgd" } }
drop = { low = 0.0, high = 0.5 }
"""


def test_every_table_can_be_changed(load: Load) -> None:
    spec = load(
        STUDY,
        "title=Two words",
        "protocol.metric=qwk",
        "protocol.folds=3",
        "recipe.image_size = 64",
        "recipe.optimizer.momentum=0.5",
        'recipe."schedule.warmup"=0.2',
        "search.trials=7",
        "final.epochs=30",
        "final.tta=false",
        "data.label_column=2021",
        "data.skip_bad=true",
    )
    assert spec.title == "Two words"
    assert (spec.protocol.metric, spec.protocol.folds) == ("qwk", 3)
    assert spec.recipe["image_size"] == 64
    assert spec.recipe["optimizer.momentum"] == 0.5
    assert spec.recipe["schedule.warmup"] == 0.2
    assert spec.search_settings.trials == 7
    assert (spec.final.epochs, spec.final.tta) == (30, False)
    assert (spec.data.label_column, spec.data.skip_bad) == ("2021", True)


def test_a_command_without_a_study_takes_settings_of_the_data_alone() -> None:
    settings = data_settings(["data.label_column=2021", "data.table=a.csv", "data.skip_bad=true"])
    assert (settings.label_column, settings.table, settings.skip_bad) == ("2021", "a.csv", True)
    assert data_settings([]) == DataSettings()
    with pytest.raises(StudyError, match=r"--set recipe[.]epochs=2: .*settings of \[data\] only"):
        data_settings(["data.table=a.csv", "recipe.epochs=2"])
    with pytest.raises(StudyError, match="did you mean"):
        data_settings(["data.label_colum=dx"])
    with pytest.raises(StudyError, match="skip_bad is true or false"):
        data_settings(["data.skip_bad=7"])


def test_of_two_overrides_of_a_setting_the_later_counts() -> None:
    earlier = ["recipe.epochs=3", 'recipe."optimizer.lr"=0.1', "final.seeds=2"]
    assert merged(earlier, ["recipe.epochs = 5", "title=x"]) == [*earlier[1:], "recipe.epochs = 5", "title=x"]
    assert merged(earlier, ["recipe.optimizer.lr=0.2"]) == [earlier[0], earlier[2], "recipe.optimizer.lr=0.2"]
    assert merged(earlier, []) == earlier


def test_fixing_a_sampled_field_ends_its_sampling(load: Load) -> None:
    spec = load(STUDY, "recipe.drop=0.3")
    assert [d.name for d in spec.space] == ["optimizer.name", "optimizer.lr"]
    assert spec.default_recipe()["drop"] == 0.3


def test_ranges_that_an_override_excludes_are_left_out(load: Load) -> None:
    assert [d.name for d in load(STUDY, "recipe.optimizer.name=adamw").space] == ["drop"]
    assert [d.name for d in load(STUDY, "space.optimizer.name=['adamw', 'lion']").space] == ["optimizer.name", "drop"]
    (_, rate, _) = load(STUDY, "recipe.optimizer.name=sgd", "space.batch_size=[8]").space[:3]
    assert load(STUDY, "recipe.optimizer.name=sgd").space[0].when == ()
    assert rate.name == "drop"


def test_a_range_is_changed_whole_or_by_one_key(load: Load) -> None:
    whole = load(STUDY, "space.drop={ low = 0.1, high = 0.2 }", "space.augment.sepia=[0.0, 0.5]")
    assert [(d.low, d.high) for d in whole.space if d.name == "drop"] == [(0.1, 0.2)]
    assert [d.choices for d in whole.space if d.name == "augment.sepia"] == [(0.0, 0.5)]
    part = load(STUDY, "space.drop.high=0.4", "space.optimizer.name.default=sgd")
    assert [(d.low, d.high) for d in part.space if d.name == "drop"] == [(0.0, 0.4)]
    assert part.default_params()["optimizer.name"] == "sgd"


def test_off_is_added_to_a_range(load: Load) -> None:
    spec = load(STUDY, "space.drop.low=0.1", "space.drop.off=0")
    assert [(d.low, d.off) for d in spec.space if d.name == "drop"] == [(0.1, 0.0)]
    assert spec.default_params()["drop.on"] is False
    assert "drop.on" not in load(STUDY, "space.drop.off=0", "recipe.drop=0.1").default_params()


def test_truth_values_are_overridden(load: Load) -> None:
    assert load(STUDY, "recipe.freeze_embed=true").recipe["freeze_embed"] is True
    sampled = load(STUDY, "space.freeze_embed=[false, true]").space[-1]
    assert (sampled.name, sampled.choices) == ("freeze_embed", (False, True))


def test_the_later_override_wins(load: Load) -> None:
    assert load(STUDY, "recipe.drop=0.1", "recipe.drop=0.2").recipe["drop"] == 0.2
    assert [d.name for d in load(STUDY, "recipe.drop=0.1", "space.drop=[0.1, 0.2]").space][-1] == "drop"


def test_one_backbone_in_place_of_a_sweep_leaves_the_ranges_of_its_family() -> None:
    spec = load_study("full", ["recipe.backbone=test_vit", "recipe.init=scratch"])
    rates = [d.name for d in spec.space if d.field == "optimizer.lr"]
    assert rates == ["optimizer.lr@adamw/radam", "optimizer.lr@sgd"]
    assert spec.default_recipe()["optimizer.lr"] == 1e-4, "the rate for transformers"
    assert not any(d.field in ("backbone", "drop") for d in spec.space)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("recipe.drop", "give FIELD=VALUE"),
        ("recipe.drop=", "give FIELD=VALUE"),
        ("recipe.lr=1", "there is no setting 'recipe.lr'; did you mean recipe.optimizer.lr?"),
        ("recipe.dorp=1", "there is no setting 'recipe.dorp'; did you mean recipe.drop"),
        ("optimizer.lr=1", "did you mean recipe.optimizer.lr?"),
        ("protocol.fold=3", "did you mean protocol.folds"),
        ("colour=3", "there is no setting 'colour'"),
        ("space.dorp.low=3", "there is no recipe field 'dorp.low'"),
        ("recipe.drop=2", "--set recipe.drop=2: drop = 2 is outside its range"),
        ("space.drop.high=2", "--set space.drop.high=2: drop: high: drop = 2 is outside its range"),
        ("space.drop.hihg=0.1", "there is no key 'hihg'; did you mean high?"),
        ("protocol.folds=many", "--set protocol.folds=many: folds takes a number, not 'many'"),
        ("space.drop=0.1", "--set space.drop=0.1: drop = 0.1 is one value"),
        ("recipe.freeze_embed=1", "--set recipe.freeze_embed=1: freeze_embed is true or false, not 1"),
        ("space.drop.off=7", "--set space.drop.off=7: drop: off: drop = 7 is outside its range"),
        ("search.trials=-1", "trials = -1 is outside its range"),
        ("protocol.folds=99999999999999999999", "folds = 99999999999999999999 is outside its range 2 .. 50"),
        ("protocol.folds=1e400", "folds = inf is outside its range 2 .. 50"),
        ("confirm.share=-1e400", "share = -inf is outside its range 0 .. 0.9"),
        ("recipe.drop=99999999999999999999", "drop = 99999999999999999999 is outside its range 0 .. 0.95"),
        ("space.drop.high=99999999999999999999", "is outside its range 0 .. 0.95"),
    ],
)
def test_an_error_names_the_override(override: str, expected: str, refused: Refused) -> None:
    (problem,) = refused(STUDY, override)
    assert problem.startswith("--set ")
    assert expected in problem


def test_all_unknown_overrides_are_listed(refused: Refused) -> None:
    assert len(refused(STUDY, "recipe.dorp=1", "protocol.fold=3", "x")) == 3


def test_one_key_of_several_ranges_is_ambiguous() -> None:
    with pytest.raises(StudyError, match=r"optimizer\.lr has 2 ranges"):
        load_study("quickstart", ["space.optimizer.lr.low=1e-5"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-4", 1e-4),
        ("true", True),
        ('["a", "b"]', ["a", "b"]),
        ("{ low = 1, high = 2 }", {"low": 1, "high": 2}),
        ("resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("[1, 2", "[1, 2"),
        ("1\nother = 2", "1\nother = 2"),
        ('"quoted"', "quoted"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_values_are_toml_or_text(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize(
    "override",
    ["recipe.epochs=3", "space.augment.hflip=[0.0, 0.5]", "space.augment.rotate.high=25.0", "search.trials=7"],
)
def test_an_override_of_a_stored_study_is_one_of_its_file(override: str) -> None:
    stored = load_study("aug_tuning").to_dict()
    assert spec_from_dict(stored, [override]) == load_study("aug_tuning", [override])
    with pytest.raises(StudyError, match=r"recipe\.epochs"):
        spec_from_dict(stored, [override, "recipe.epochs=0"])
