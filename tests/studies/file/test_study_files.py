"""Meaning of a study file: notations, defaults, conditions, branches."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from studies.file.catalog import bundled_studies, check_name
from studies.load_study import load_study
from studies.resolve_backbones import check_backbones
from studies.space.dimension import assemble
from studies.spec import StudyError, StudySpec
from studies.stored_spec import spec_from_dict
from trainer.recipe.recipe import FIELDS, Recipe

Load = Callable[..., StudySpec]


@pytest.mark.parametrize("name", bundled_studies())
def test_every_bundled_study_loads_and_its_first_trial_is_a_recipe(name: str, tmp_path: Path) -> None:
    for at_hand in ("convnext_tiny.in12k_ft_in1k", "mixer_b16_224.goog_in21k", "resnet18.a1_in1k"):
        (tmp_path / f"{at_hand}.safetensors").touch()
    spec = check_backbones(load_study(name), weights=tmp_path)
    assert Recipe.from_flat(spec.default_recipe()).to_flat() == spec.default_recipe()
    assert spec_from_dict(spec.to_dict()) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert spec.title == bundled_studies()[name]


def test_the_documented_studies_ship() -> None:
    assert list(bundled_studies()) == [
        "aug_tuning",
        "backbone_sweep",
        "full",
        "imbalance",
        "probe_backbones",
        "quickstart",
    ]


@pytest.mark.slow
def test_a_study_is_checked_without_torch_and_timm() -> None:
    code = (
        "import sys\nfrom studies.load_study import load_study\nload_study('full')\n"
        "print(*{'torch', 'timm', 'albumentations', 'sklearn', 'optuna', 'sqlalchemy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_an_empty_file_fixes_everything_at_its_default(load: Load) -> None:
    spec = load("")
    assert spec.title == "mine"
    assert spec.space == ()
    assert spec.default_recipe() == {path: info.default for path, info in FIELDS.items()}


def test_nested_tables_mean_the_same_as_dotted_keys(load: Load) -> None:
    dotted = load(
        """
        [recipe]
        "optimizer.momentum" = 0.8
        [space]
        "optimizer.name" = ["adamw", "sgd"]
        "optimizer.lr" = { low = 0.1, high = 0.2, when = { "optimizer.name" = "sgd" } }
        drop = { low = 0.0, high = 0.5, when = { "backbone.family" = "cnn" } }
        backbone = ["resnet18", "vit_tiny_patch16_224"]
        """
    )
    nested = load(
        """
        [recipe.optimizer]
        momentum = 0.8
        [space]
        backbone = { choices = ["resnet18", "vit_tiny_patch16_224"] }
        drop = { low = 0.0, high = 0.5, when = { backbone = { family = ["cnn"] } } }
        [space.optimizer]
        name = { choices = ["adamw", "sgd"] }
        lr = { low = 0.1, high = 0.2, when = { optimizer = { name = "sgd" } } }
        """
    )
    assert {d.name: d for d in nested.space} == {d.name: d for d in dotted.space}
    assert nested.recipe == dotted.recipe


def test_dimensions_come_after_the_dimensions_of_their_conditions(load: Load) -> None:
    spec = load(
        """
        [space]
        drop = { low = 0.0, high = 0.5, when = { "augment.mix" = "mixup" } }
        "augment.mix" = { choices = ["none", "mixup"], when = { "optimizer.name" = "sgd" } }
        "optimizer.name" = ["adamw", "sgd"]
        "augment.sepia" = { low = 0.0, high = 0.5 }
        """
    )
    assert [d.name for d in spec.space] == ["optimizer.name", "augment.mix", "drop", "augment.sepia"]


BRANCHES = """
[space]
"optimizer.name" = ["adamw", "sgd", "lion"]
backbone = ["resnet18", "vit_tiny_patch16_224"]
"optimizer.lr" = [
    { low = 1e-4, high = 1e-2, log = true, when = { "optimizer.name" = "adamw", "backbone.family" = "cnn" } },
    { low = 1e-5, high = 1e-3, log = true, when = { "optimizer.name" = ["adamw"], family = ["transformer"] } },
    { low = 1e-2, high = 1e-1, when = { "optimizer.name" = "sgd" } },
]
"""


def test_each_range_of_a_field_is_a_parameter_of_its_own(load: Load) -> None:
    spec = load(BRANCHES)
    names = [d.name for d in spec.space if d.field == "optimizer.lr"]
    assert names == ["optimizer.lr@adamw+cnn", "optimizer.lr@adamw+transformer", "optimizer.lr@sgd"]
    flat = spec.assemble({"optimizer.name": "sgd", "backbone": "resnet18", "optimizer.lr@sgd": 0.02})
    assert flat["optimizer.lr"] == 0.02


def test_a_case_without_a_range_takes_the_fixed_value(load: Load) -> None:
    spec = load(BRANCHES + "[recipe]\n'optimizer.lr' = 5e-5\n")
    flat = spec.assemble({"optimizer.name": "lion", "backbone": "resnet18"})
    assert flat["optimizer.lr"] == 5e-5


def test_a_fixed_field_decides_its_conditions(load: Load) -> None:
    fixed = load(
        "[recipe]\n'optimizer.name' = 'adamw'\n" + BRANCHES.replace('"optimizer.name" = ["adamw", "sgd", "lion"]', "")
    )
    assert [d.name for d in fixed.space] == ["backbone", "optimizer.lr@cnn", "optimizer.lr@transformer"]
    both = load(
        "[recipe]\n'optimizer.name' = 'sgd'\n" + BRANCHES.replace('"optimizer.name" = ["adamw", "sgd", "lion"]', "")
    )
    (rate,) = (d for d in both.space if d.field == "optimizer.lr")
    assert (rate.name, rate.when) == ("optimizer.lr", ())


@pytest.mark.parametrize(
    ("recipe", "entry", "expected"),
    [
        ("drop = 0.3", "{ low = 0.1, high = 0.5, default = 0.2 }", 0.2),
        ("drop = 0.3", "{ low = 0.1, high = 0.5 }", 0.3),
        ("", "{ low = 0.0, high = 0.5 }", 0.0),  # the recipe's own default
        ("", "{ low = 0.1, high = 0.5 }", 0.3),  # the arithmetic middle
        ("", "{ low = 1e-3, high = 0.1, log = true }", 0.01),  # the geometric one
        ("", "{ low = 0.1, high = 0.4, step = 0.1 }", 0.2),  # on the grid
        ("", "[0.5, 0.2]", 0.5),
    ],
)
def test_trial_zero_takes_the_first_default_that_is_given(load: Load, recipe: str, entry: str, expected: float) -> None:
    spec = load(f"[recipe]\n{recipe}\n[space]\ndrop = {entry}")
    assert spec.default_params() == {"drop": pytest.approx(expected)}


def test_a_fixed_value_is_the_default_of_the_range_that_holds_it(load: Load) -> None:
    spec = load("[recipe]\n'optimizer.lr' = 0.05\n" + BRANCHES)
    defaults = {d.name: d.default for d in spec.space if d.field == "optimizer.lr"}
    assert defaults == {
        "optimizer.lr@adamw+cnn": 0.001,
        "optimizer.lr@adamw+transformer": 0.0001,
        "optimizer.lr@sgd": 0.05,
    }


def test_whole_numbers_stay_whole(load: Load) -> None:
    spec = load(
        "[space]\nimage_size = { low = 32, high = 64, step = 8 }\nbatch_size = { low = 2, high = 64, log = true }"
    )
    size, batch = spec.space
    assert (size.integer, size.default, type(size.default)) == (True, 48, int)
    assert (batch.integer, batch.default) == (True, 32)
    assert size.contains(40)
    assert not size.contains(41)
    assert not size.contains(40.5)
    with pytest.raises(StudyError, match=r"image_size cannot be 41; it is sampled from 32 \.\. 64, step 8"):
        assemble(spec.space, {"image_size": 41, "batch_size": 4}, spec.recipe)


OFF = """
[recipe]
"optimizer.weight_decay" = 0.0
[space]
"optimizer.name" = ["adamw", "sgd"]
"augment.sepia" = { low = 0.1, high = 0.5, off = 0.0 }
"optimizer.weight_decay" = [
    { low = 1e-5, high = 1e-1, log = true, off = 0.0, default = 1e-2, when = { "optimizer.name" = "adamw" } },
    { low = 1e-6, high = 1e-3, log = true, off = 0.0, when = { "optimizer.name" = "sgd" } },
]
"""


def test_a_range_with_off_is_a_switch_and_a_range(load: Load) -> None:
    spec = load(OFF)
    adamw = {"optimizer.name": "adamw", "augment.sepia.on": False}
    assert spec.default_params() == {
        **adamw,
        "optimizer.weight_decay@adamw.on": True,
        "optimizer.weight_decay@adamw": 0.01,
    }
    on = spec.assemble(
        {
            "optimizer.name": "sgd",
            "augment.sepia.on": True,
            "augment.sepia": 0.2,
            "optimizer.weight_decay@sgd.on": False,
        }
    )
    assert (on["augment.sepia"], on["optimizer.weight_decay"]) == (0.2, 0.0)
    with pytest.raises(StudyError, match=r"no value for augment\.sepia, which is sampled here"):
        spec.assemble({**spec.default_params(), "augment.sepia.on": True})
    with pytest.raises(StudyError, match=r"augment\.sepia is not sampled under these settings"):
        spec.assemble({**spec.default_params(), "augment.sepia": 0.2})
    with pytest.raises(StudyError, match=r"augment\.sepia\.on cannot be 1; it is sampled from false, true"):
        spec.assemble({**spec.default_params(), "augment.sepia.on": 1})
    assert spec_from_dict(spec.to_dict()) == spec
    assert next(d for d in spec.space if d.name == "augment.sepia").parameters[1].off is None


@pytest.mark.parametrize(
    ("recipe", "entry", "expected"),
    [
        ("", "{ low = 0.1, high = 0.5, off = 0.0 }", {"drop.on": False}),  # what the recipe says by itself
        ("drop = 0.2", "{ low = 0.1, high = 0.5, off = 0.0 }", {"drop.on": True, "drop": 0.2}),
        ("", "{ low = 0.1, high = 0.5, off = 0.9 }", {"drop.on": True, "drop": 0.3}),  # the middle
        ("drop = 0.2", "{ low = 0.1, high = 0.5, off = 0.0, default = 0.0 }", {"drop.on": False}),
        ("", "{ low = 0.0, high = 0.5, off = 0.0, default = 0.4 }", {"drop.on": True, "drop": 0.4}),
    ],
)
def test_off_may_be_trial_zero(load: Load, recipe: str, entry: str, expected: dict[str, object]) -> None:
    assert load(f"[recipe]\n{recipe}\n[space]\ndrop = {entry}").default_params() == expected


def test_booleans_are_fixed_sampled_and_used_in_conditions(load: Load) -> None:
    assert load("[recipe]\nfreeze_embed = true").default_recipe()["freeze_embed"] is True
    spec = load(
        """
        [space]
        freeze_embed = [false, true]
        drop = [
            { low = 0.1, high = 0.2, when = { freeze_embed = true } },
            { low = 0.3, high = 0.4, when = { freeze_embed = false } },
        ]
        """
    )
    assert [d.name for d in spec.space] == ["freeze_embed", "drop@true", "drop@false"]
    assert spec.assemble({"freeze_embed": True, "drop@true": 0.15})["drop"] == 0.15
    assert spec_from_dict(spec.to_dict()) == spec
    with pytest.raises(StudyError, match="freeze_embed cannot be 1; it is sampled from false, true"):
        spec.assemble({"freeze_embed": 1, "drop@true": 0.15})


def test_a_checkpoint_is_named_beside_the_other_starts(load: Load) -> None:
    spec = load("[space]\ninit = ['pretrained', 'wikiart-2']")
    assert spec.assemble({"init": "wikiart-2"})["init"] == "wikiart-2"


PATTERNS = """
[space]
backbone = ["resnet18", "convnext_tiny", "convnextv2_atto", "vit_tiny_patch16_224"]
"optimizer.lr" = [
    { low = 1e-4, high = 1e-2, when = { backbone = "!convnext*", family = "cnn" } },
    { low = 1e-5, high = 1e-3, when = { backbone = ["convnext*"] } },
    { low = 1e-6, high = 1e-4, when = { backbone = ["vit*"] } },
]
"""


def test_conditions_may_name_backbones_by_pattern(load: Load) -> None:
    spec = load(PATTERNS)
    names = ["optimizer.lr@not-convnext+cnn", "optimizer.lr@convnext", "optimizer.lr@vit"]
    assert [d.name for d in spec.space][1:] == names
    for backbone, name in (
        ("resnet18", names[0]),
        ("convnext_tiny", names[1]),
        ("convnextv2_atto", names[1]),
        ("vit_tiny_patch16_224", names[2]),
    ):
        low = next(d.low for d in spec.space if d.name == name)
        assert spec.assemble({"backbone": backbone, name: low})["optimizer.lr"] == low
    assert spec_from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize(
    ("backbone", "low"), [("resnet50", 1e-4), ("convnext_base", 1e-5), ("vit_base_patch16_224", 1e-6)]
)
def test_a_fixed_backbone_decides_about_patterns(load: Load, backbone: str, low: float) -> None:
    (rate,) = load(PATTERNS, f"recipe.backbone={backbone}").space
    assert (rate.low, rate.when, rate.name) == (low, (), "optimizer.lr")


def test_the_hash_ignores_only_what_may_change_while_a_study_runs() -> None:
    spec = load_study("quickstart")
    free = load_study("quickstart", ["title=Other words", "search.trials=9", "final.seeds=5"])
    assert free != spec
    assert free.spec_hash == spec.spec_hash
    for binding in ("recipe.drop=0.1", "protocol.folds=4", "search.seed=1", "space.drop=[0.1]", "data.sample=digits"):
        changed = load_study("quickstart", [binding])
        assert (changed.spec_hash == spec.spec_hash) == (changed == spec), binding


@pytest.mark.parametrize("name", ["a", "backbone_sweep", "2nd-try", "a.confirm"])
def test_valid_names_are_accepted(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "x" * 65, "a\n", "é", "きのこ"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(StudyError, match=r"cannot be called .* ASCII letters"):
        check_name(name)
