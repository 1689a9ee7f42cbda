"""A sampler that asks what a suggestion costs."""

from __future__ import annotations

import math
from collections import Counter

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.study_state.optuna_attributes import SECONDS
from search.tuning.cost_aware_tpe import CostAwareTPESampler, EpochCosts

CHEAP, DEAR = "cheap", "dear"
COSTS = {CHEAP: 1.0, DEAR: 8.0}


def ended(backbone: str, seconds: float, epochs: int = 1, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    return create_trial(
        state=state,
        value=0.5,
        params={"backbone": backbone},
        distributions={"backbone": CategoricalDistribution((CHEAP, DEAR, "new"))},
        user_attrs={SECONDS: seconds},
        intermediate_values=dict.fromkeys(range(1, epochs + 1), 0.5),
    )


def test_an_epoch_costs_what_it_took_in_trials_that_were_given_up_too() -> None:
    cheap = [ended(CHEAP, 10.0, epochs=10) for _ in range(50)]
    dear = [ended(DEAR, 16.0, epochs=2, state=TrialState.PRUNED) for _ in range(50)]
    costs = EpochCosts([*cheap, *dear])
    assert math.exp(costs.of({"backbone": DEAR}) - costs.of({"backbone": CHEAP})) == pytest.approx(8.0, rel=0.05)
    between = costs.of({"backbone": "new"})
    assert costs.of({"backbone": CHEAP}) < between < costs.of({"backbone": DEAR}), "nobody knows: the mean"


def test_one_trial_is_not_believed_as_much_as_many() -> None:
    costs = EpochCosts([*[ended(CHEAP, 1.0)] * 50, ended(DEAR, 100.0)])
    assert costs.of({"backbone": DEAR}) < math.log(100.0)


def test_larger_images_and_more_epochs_cost_more() -> None:
    costs = EpochCosts([])
    small = {"backbone": CHEAP, "image_size@cheap": 112, "epochs": 10}
    assert costs.of({**small, "image_size@cheap": 224}) - costs.of(small) == pytest.approx(math.log(4.0))
    assert costs.of({**small, "epochs": 20}) - costs.of(small) == pytest.approx(math.log(2.0))


@pytest.mark.parametrize("attributes", [{}, {SECONDS: "long"}, {SECONDS: 0.0}])
def test_trials_without_seconds_teach_nothing(attributes: dict[str, object]) -> None:
    trial = create_trial(value=0.5, user_attrs=attributes, intermediate_values={1: 0.5})
    assert EpochCosts([trial]).of({"backbone": CHEAP}) == 0.0


def searched(sampler: optuna.samplers.BaseSampler, trials: int, better: float = 0.0) -> list[FrozenTrial]:
    """A search where the dear backbone scores ``better``."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(trials):
        trial = study.ask()
        backbone = trial.suggest_categorical("backbone", (CHEAP, DEAR))
        rate = trial.suggest_float(f"optimizer.lr@{backbone}", 0.0, 1.0)
        value = -((rate - 0.3) ** 2) + better * (backbone == DEAR)
        trial.report(value, 1)
        trial.set_user_attr(SECONDS, COSTS[backbone])
        study.tell(trial, value)
    return study.get_trials(deepcopy=False)


def aware(seed: int, trials: int) -> CostAwareTPESampler:
    return CostAwareTPESampler(seed=seed, startup_trials=5, trials=trials)


def plain(seed: int) -> optuna.samplers.TPESampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=5, multivariate=True, group=True, constant_liar=True)


def share_of_dear(trials: list[FrozenTrial]) -> float:
    counts = Counter(trial.params["backbone"] for trial in trials)
    return counts[DEAR] / len(trials)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_of_two_that_promise_the_same_the_quicker_one_is_tried() -> None:
    with_costs = [share_of_dear(searched(aware(seed, 200), 30)[5:]) for seed in range(6)]
    without = [share_of_dear(searched(plain(seed), 30)[5:]) for seed in range(6)]
    assert sum(with_costs) / 6 < 0.25 < sum(without) / 6


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_what_is_far_better_is_tried_whatever_it_costs() -> None:
    late = [share_of_dear(searched(aware(seed, 60), 60, better=1.0)[-20:]) for seed in range(3)]
    assert sum(late) / 3 > 0.7


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_at_the_end_seconds_count_nothing() -> None:
    ends, same = (searched(sampler, 20) for sampler in (aware(3, 1), plain(3)))
    assert [trial.params for trial in ends] == [trial.params for trial in same]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_space_in_which_all_costs_the_same_is_searched_as_ever() -> None:
    def run(sampler: optuna.samplers.BaseSampler) -> list[dict[str, object]]:
        study = optuna.create_study(sampler=sampler)
        space = {"optimizer.lr": FloatDistribution(1e-4, 1.0, log=True), "batch_size": IntDistribution(8, 64)}
        for _ in range(15):
            trial = study.ask(space)
            study.tell(trial, trial.params["optimizer.lr"])
        return [trial.params for trial in study.trials]

    assert run(aware(1, 100)) == run(plain(1))
