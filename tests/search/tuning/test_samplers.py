"""Sampling of recipes with Optuna's samplers."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from search.tuning.samplers import SAMPLERS, make_sampler
from search.tuning.suggest import sample
from studies.load_study import load_study
from studies.spec import StudySpec
from trainer.recipe.recipe import Recipe

TEXT = """
[recipe]
backbone = "test_resnet"
[space]
"optimizer.name" = ["adamw", "sgd"]
"optimizer.weight_decay" = [
    { low = 1e-5, high = 1e-1, log = true, off = 0.0, default = 1e-2, when = { "optimizer.name" = "adamw" } },
    { low = 1e-6, high = 1e-3, log = true, off = 0.0, when = { "optimizer.name" = "sgd" } },
]
"augment.sepia" = { low = 0.1, high = 0.5, off = 0.0 }
"augment.policy_ops" = { low = 2, high = 5, off = 1 }
freeze_embed = [false, true]
"loss.focal_gamma" = { low = 1.0, high = 2.0, when = { freeze_embed = true } }
[search]
trials = 60
"""


@pytest.fixture
def spec(tmp_path: Path) -> StudySpec:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT, encoding="utf-8")
    return load_study(path)


def value_of(recipe: Recipe) -> float:
    """An objective whose optimum has sepia off."""
    return -recipe.augment.strengths["sepia"] - recipe.optimizer.lr


def search(spec: StudySpec, sampler: optuna.samplers.BaseSampler, trials: int) -> tuple[optuna.Study, list[Recipe]]:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(spec.default_params())
    recipes = []
    for _ in range(trials):
        trial = study.ask()
        recipes.append(sample(trial, spec))
        study.tell(trial, value_of(recipes[-1]))
    return study, recipes


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_range_that_can_be_off_is_sampled_off_and_on(spec: StudySpec, name: str) -> None:
    study, recipes = search(spec, SAMPLERS[name](1, 10, 24), 24)
    assert recipes[0].to_flat() == spec.default_recipe()
    sepia = [recipe.augment.strengths["sepia"] for recipe in recipes]
    assert 0.0 in sepia
    assert any(strength > 0.0 for strength in sepia)
    assert all(strength == 0.0 or 0.1 <= strength <= 0.5 for strength in sepia)
    assert {recipe.augment.policy_ops for recipe in recipes} >= {1, 2}
    assert {recipe.freeze_embed for recipe in recipes} == {False, True}
    decays = {recipe.optimizer.weight_decay for recipe in recipes}
    assert 0.0 in decays
    assert all(decay == 0.0 or decay >= 1e-6 for decay in decays)
    for trial, recipe in zip(study.trials, recipes, strict=True):
        assert spec.assemble(trial.params) == recipe.to_flat()


@pytest.mark.slow
def test_tpe_models_switches_and_their_ranges(spec: StudySpec, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = make_sampler(spec.search_settings, 3, 60)
    independent: list[str] = []
    original = sampler.sample_independent

    def note(study: optuna.Study, trial: optuna.trial.FrozenTrial, name: str, distribution: object) -> object:
        if trial.number >= 20:  # every parameter has been sampled before
            independent.append(name)
        return original(study, trial, name, distribution)  # type: ignore[arg-type]

    monkeypatch.setattr(sampler, "sample_independent", note)
    _, recipes = search(spec, sampler, 60)
    assert independent == []
    off = [recipe.augment.strengths["sepia"] == 0.0 for recipe in recipes]
    assert sum(off[30:]) > 20, "the sampler learns that off is best"


def test_an_inactive_parameter_has_the_fixed_value_even_if_trial_0_samples_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        [space]
        "optimizer.name" = ["adamw", "sgd"]
        "optimizer.clip_grad" = { low = 1.0, high = 2.0, default = 2.0, when = { "optimizer.name" = "adamw" } }
        """,
        encoding="utf-8",
    )
    spec = load_study(path)
    assert spec.default_recipe()["optimizer.clip_grad"] == 2.0
    study = optuna.create_study()
    study.enqueue_trial({"optimizer.name": "sgd"})
    assert sample(study.ask(), spec).optimizer.clip_grad == 0.0
