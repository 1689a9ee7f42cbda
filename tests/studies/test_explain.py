"""Explanation of a study as text, and differences between two studies."""

from __future__ import annotations

from studies.explain import differences, explain
from studies.load_study import load_study


def test_an_explanation_lists_fixed_and_sampled_settings() -> None:
    explained = explain(load_study("quickstart", ["recipe.drop=0.2"]))
    settings = dict(explained.settings)
    assert settings["protocol.folds"] == "3"
    assert settings["data.sample"] == "digits"
    assert "data.id_column" not in settings
    fixed = {row.field: row.value for row in explained.fixed}
    assert fixed["init"] == "scratch"
    assert fixed["drop"] == 0.2
    assert "augment.sepia" not in fixed, "at the product's default"
    (rate,) = (row for row in explained.sampled if row.name == "optimizer.lr@sgd")
    assert (rate.values, rate.when, rate.default) == ("0.01 .. 0.2, log", "optimizer.name = sgd", 0.05)
    assert not {row.field for row in explained.fixed} & {row.name.partition("@")[0] for row in explained.sampled}


def test_differences_name_the_setting_and_both_values() -> None:
    old = load_study("quickstart")
    changes = [
        "protocol.metric=macro_f1",
        "recipe.image_size=24",
        "space.optimizer.weight_decay.high=0.5",
        "space.augment.scale.default=0.1",
        "recipe.augment.shift=0.1",
        "data.id_column=id",
    ]
    assert differences(old, load_study("quickstart", changes)) == [
        "protocol.metric: accuracy -> macro_f1",
        "data.id_column: not given -> id",
        "image_size: 32 -> 24",
        "optimizer.weight_decay: "
        "sampled from 0.0001 .. 0.1, log, or off (0.0) -> sampled from 0.0001 .. 0.5, log, or off (0.0)",
        "augment.shift: sampled from 0.0 .. 0.15 -> 0.1",
        "augment.scale in trial 0: 0.0 -> 0.1",
    ]


def test_differences_of_long_lists_are_added_and_removed_values() -> None:
    names = [str(name) for d in load_study("full").space if d.field == "backbone" for name in d.choices or ()]
    changed = [*names[:-1], "caformer_s36.sail_in1k"]
    (line,) = differences(load_study("full"), load_study("full", [f"space.backbone={changed}"]))
    assert line == f"backbone: -{names[-1]} +caformer_s36.sail_in1k"


def test_a_range_that_can_be_off_is_one_row() -> None:
    explained = explain(load_study("aug_tuning"))
    (sepia,) = (row for row in explained.sampled if row.name.startswith("augment.sepia"))
    assert (sepia.name, sepia.values, sepia.default) == ("augment.sepia", "0.1 .. 0.5, or off (0.0)", 0.0)


def test_a_change_of_off_is_a_difference() -> None:
    (line,) = differences(load_study("aug_tuning"), load_study("aug_tuning", ["space.augment.crop.off=0.05"]))
    assert line == "augment.crop: sampled from 0.1 .. 0.75, or off (0.0) -> sampled from 0.1 .. 0.75, or off (0.05)"


def test_truth_values_are_written_as_in_a_study_file() -> None:
    changes = ["space.freeze_embed=[false, true]", "space.drop={low = 0.1, high = 0.2, when = {freeze_embed = true}}"]
    rows = {row.name: row for row in explain(load_study("quickstart", changes)).sampled}
    assert rows["freeze_embed"].values == "false, true"
    assert rows["drop"].when == "freeze_embed = true"
