"""What a study file means: forms of writing, defaults, conditions, branches."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable

import pytest

from studies.catalog import bundled_studies, check_name
from studies.space import assemble
from studies.spec import StudyError, StudySpec, load_study
from trainer.recipe import FIELDS, Recipe

Load = Callable[..., StudySpec]


@pytest.mark.parametrize("name", bundled_studies())
def test_every_bundled_study_loads_and_its_first_trial_is_a_recipe(name: str) -> None:
    spec = load_study(name)
    assert spec.is_resolved
    assert Recipe.from_flat(spec.default_recipe()).to_flat() == spec.default_recipe()
    assert StudySpec.from_dict(spec.to_dict()) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert spec.title == bundled_studies()[name]


def test_the_promised_studies_are_there() -> None:
    assert list(bundled_studies()) == ["aug_tuning", "backbone_sweep", "full", "imbalance", "quickstart"]


def test_a_study_is_checked_without_torch_and_timm() -> None:
    code = (
        "import sys\nfrom studies.spec import load_study\nload_study('full')\n"
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


def test_dimensions_come_after_what_they_depend_on(load: Load) -> None:
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


def test_what_no_range_covers_takes_the_fixed_value(load: Load) -> None:
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


def test_the_hash_ignores_only_what_may_change_while_a_study_runs() -> None:
    spec = load_study("quickstart")
    free = load_study("quickstart", ["title=Other words", "search.trials=9", "final.seeds=5"])
    assert free != spec
    assert free.spec_hash == spec.spec_hash
    for binding in ("recipe.drop=0.1", "protocol.folds=4", "search.seed=1", "space.drop=[0.1]", "data.sample=digits"):
        changed = load_study("quickstart", [binding])
        assert (changed.spec_hash == spec.spec_hash) == (changed == spec), binding


@pytest.mark.parametrize("name", ["a", "backbone_sweep", "2nd-try", "a.confirm"])
def test_sane_names_are_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "x" * 65, "a\n", "é"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(StudyError, match="cannot be called"):
        check_name(name)
