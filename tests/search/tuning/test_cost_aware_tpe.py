"""The cost-aware TPE sampler and its model of training time."""

from __future__ import annotations

import math
from collections import Counter

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.study_state.optuna_attributes import SECONDS_ATTRIBUTE
from search.tuning.cost_aware_tpe import CostAwareTPESampler, TrainingTimeModel

CHEAP, EXPENSIVE = "cheap", "expensive"
COSTS = {CHEAP: 1.0, EXPENSIVE: 8.0}


def ended(backbone: str, seconds: float, epochs: int = 1, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    return create_trial(
        state=state,
        value=0.5,
        params={"backbone": backbone},
        distributions={"backbone": CategoricalDistribution((CHEAP, EXPENSIVE, "new"))},
        user_attrs={SECONDS_ATTRIBUTE: seconds},
        intermediate_values=dict.fromkeys(range(1, epochs + 1), 0.5),
    )


def test_costs_per_epoch_are_learnt_from_pruned_trials_too() -> None:
    cheap = [ended(CHEAP, 10.0, epochs=10) for _ in range(50)]
    expensive = [ended(EXPENSIVE, 16.0, epochs=2, state=TrialState.PRUNED) for _ in range(50)]
    model = TrainingTimeModel([*cheap, *expensive])
    assert math.exp(
        model.log_seconds({"backbone": EXPENSIVE}) - model.log_seconds({"backbone": CHEAP})
    ) == pytest.approx(8.0, rel=0.05)
    between = model.log_seconds({"backbone": "new"})
    assert model.log_seconds({"backbone": CHEAP}) < between < model.log_seconds({"backbone": EXPENSIVE}), "the mean"


def test_the_cost_of_a_single_trial_is_shrunk_to_the_mean() -> None:
    model = TrainingTimeModel([*[ended(CHEAP, 1.0)] * 50, ended(EXPENSIVE, 100.0)])
    assert model.log_seconds({"backbone": EXPENSIVE}) < math.log(100.0)


def test_larger_images_and_more_epochs_cost_more() -> None:
    model = TrainingTimeModel([])
    small = {"backbone": CHEAP, "image_size@cheap": 112, "epochs": 10}
    assert model.log_seconds({**small, "image_size@cheap": 224}) - model.log_seconds(small) == pytest.approx(
        math.log(4.0)
    )
    assert model.log_seconds({**small, "epochs": 20}) - model.log_seconds(small) == pytest.approx(math.log(2.0))


@pytest.mark.parametrize("attributes", [{}, {SECONDS_ATTRIBUTE: "long"}, {SECONDS_ATTRIBUTE: 0.0}])
def test_trials_without_seconds_are_ignored(attributes: dict[str, object]) -> None:
    trial = create_trial(value=0.5, user_attrs=attributes, intermediate_values={1: 0.5})
    assert TrainingTimeModel([trial]).log_seconds({"backbone": CHEAP}) == 0.0


def searched(sampler: optuna.samplers.BaseSampler, trials: int, better: float = 0.0) -> list[FrozenTrial]:
    """Trials of a search in which the expensive backbone scores higher by ``better``."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(trials):
        trial = study.ask()
        backbone = trial.suggest_categorical("backbone", (CHEAP, EXPENSIVE))
        rate = trial.suggest_float(f"optimizer.lr@{backbone}", 0.0, 1.0)
        value = -((rate - 0.3) ** 2) + better * (backbone == EXPENSIVE)
        trial.report(value, 1)
        trial.set_user_attr(SECONDS_ATTRIBUTE, COSTS[backbone])
        study.tell(trial, value)
    return study.get_trials(deepcopy=False)


def aware(seed: int, trials: int) -> CostAwareTPESampler:
    return CostAwareTPESampler(seed=seed, startup_trials=5, trials=trials)


def plain(seed: int) -> optuna.samplers.TPESampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=5, multivariate=True, group=True, constant_liar=True)


def share_of_expensive(trials: list[FrozenTrial]) -> float:
    counts = Counter(trial.params["backbone"] for trial in trials)
    return counts[EXPENSIVE] / len(trials)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_of_two_backbones_of_equal_quality_the_faster_one_is_tried_more_often() -> None:
    with_costs = [share_of_expensive(searched(aware(seed, 200), 30)[5:]) for seed in range(6)]
    without = [share_of_expensive(searched(plain(seed), 30)[5:]) for seed in range(6)]
    assert sum(with_costs) / 6 < 0.25 < sum(without) / 6


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_much_better_backbone_is_tried_at_any_cost() -> None:
    late = [share_of_expensive(searched(aware(seed, 60), 60, better=1.0)[-20:]) for seed in range(3)]
    assert sum(late) / 3 > 0.7


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_at_the_end_of_a_study_costs_do_not_count() -> None:
    at_end, without_costs = (searched(sampler, 20) for sampler in (aware(3, 1), plain(3)))
    assert [trial.params for trial in at_end] == [trial.params for trial in without_costs]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_without_parameters_that_change_the_cost_it_is_plain_tpe() -> None:
    def run(sampler: optuna.samplers.BaseSampler) -> list[dict[str, object]]:
        study = optuna.create_study(sampler=sampler)
        space = {"optimizer.lr": FloatDistribution(1e-4, 1.0, log=True), "batch_size": IntDistribution(8, 64)}
        for _ in range(15):
            trial = study.ask(space)
            study.tell(trial, trial.params["optimizer.lr"])
        return [trial.params for trial in study.trials]

    assert run(aware(1, 100)) == run(plain(1))
