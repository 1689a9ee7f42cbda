"""Ranking backbones by their probes, and the sampler that follows it."""

from __future__ import annotations

import math
import warnings
from collections import Counter

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from search.study_state.optuna_attributes import PROBE_ATTRIBUTE
from search.tuning.probing.backbones import LEAST_KEPT, ProbedBackbone, kept_backbones, rank_backbones
from search.tuning.probing.sampler import ProbedSampler
from search.tuning.samplers import make_sampler
from studies.settings import SearchSettings

NAMES = ["a", "b", "c", "d", "e", "f"]


def probe(quality: float, n: int = 200, seed: int = 0) -> np.ndarray:
    """Probabilities of the true class; the noise of the images is that of all probes."""
    images = np.random.default_rng(0).normal(0.0, 0.1, n)
    own = np.random.default_rng(seed).normal(0.0, 0.05, n)
    return np.clip(quality + images + own, 0.0, 1.0)


def backbone(name: str, behind: float) -> ProbedBackbone:
    return ProbedBackbone(name=name, score=0.9 - 0.01 * behind, behind=behind)


def test_a_difference_that_most_images_share_is_clear() -> None:
    ranked = rank_backbones([("poor", probe(0.6, seed=1)), ("best", probe(0.7, seed=2)), ("tied", probe(0.7, seed=3))])
    assert {ranked[0].name, ranked[1].name} == {"best", "tied"}
    assert ranked[0].behind == 0.0
    assert ranked[1].behind < 3.0
    assert ranked[2].behind > 10.0


def test_a_backbone_counts_by_its_best_probe() -> None:
    ranked = rank_backbones([("a", probe(0.5)), ("b", probe(0.7)), ("a", probe(0.8))])
    assert [found.name for found in ranked] == ["a", "b"]
    assert ranked[0].score == pytest.approx(0.8, abs=0.02)


def test_images_that_are_never_held_out_are_left_out() -> None:
    with_gaps, other = probe(0.7), probe(0.6, seed=1)
    with_gaps[:50] = other[:50] = np.nan
    ranked = rank_backbones([("a", with_gaps), ("b", other)])
    assert np.isfinite([found.score for found in ranked]).all()
    assert np.isfinite(ranked[1].behind)


@given(st.lists(st.floats(0.0, 50.0), min_size=1, max_size=12), st.floats(0.0, 10.0))
def test_the_best_are_always_kept(behind: list[float], keep: float) -> None:
    ranked = [backbone(f"b{number}", distance) for number, distance in enumerate(sorted(behind))]
    kept = kept_backbones(ranked, keep)
    assert ranked[: len(kept)] == kept
    assert len(kept) >= min(LEAST_KEPT, len(ranked))
    assert all(found.behind > keep for found in ranked[len(kept) :])


def study_with_probes(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """A study whose probes have scores that no trained recipe reaches."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = {
        "backbone": optuna.distributions.CategoricalDistribution(NAMES),
        "lr": optuna.distributions.FloatDistribution(0, 1),
    }
    for name in NAMES:
        study.add_trial(
            optuna.create_trial(
                params={"backbone": name, "lr": 0.0},
                distributions=space,
                value=100.0,
                user_attrs={PROBE_ATTRIBUTE: True},
            )
        )
    return study


def run_trials(study: optuna.Study, count: int) -> None:
    for _ in range(count):
        trial = study.ask()
        trial.suggest_categorical("backbone", NAMES)
        study.tell(trial, trial.suggest_float("lr", 0.0, 1.0))


@pytest.mark.parametrize("name", ["tpe", "random", "gp"])
def test_backbones_that_are_not_kept_are_never_sampled(name: str) -> None:
    settings = SearchSettings(sampler=name)
    distances = {**dict.fromkeys(NAMES, math.inf), "b": 0.0, "d": 1.0}
    del distances["e"]  # not probed
    sampler = ProbedSampler(make_sampler(settings, 1, 15), lambda: distances, seed=1)
    study = study_with_probes(sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_trials(study, 15)
    sampled = [trial for trial in study.trials if PROBE_ATTRIBUTE not in trial.user_attrs]
    assert {trial.params["backbone"] for trial in sampled} <= {"b", "d", "e"}


def test_probes_are_no_observations_of_the_sampler() -> None:
    """With lr = 0 at 100 the model would propose small rates; the trained trials say the opposite."""
    sampler = ProbedSampler(make_sampler(SearchSettings(), 1, 30), dict, seed=1)
    study = study_with_probes(sampler)
    run_trials(study, 30)
    rates = [trial.params["lr"] for trial in study.trials if PROBE_ATTRIBUTE not in trial.user_attrs]
    assert np.mean(rates[-10:]) > 0.6


def test_the_better_the_probe_the_more_random_trials() -> None:
    distances = {name: float(number) if number < 3 else math.inf for number, name in enumerate(NAMES)}
    sampler = ProbedSampler(optuna.samplers.RandomSampler(seed=0), lambda: distances, seed=0)
    study = optuna.create_study(sampler=sampler)
    counts = Counter(study.ask().suggest_categorical("backbone", NAMES) for _ in range(300))
    assert counts["a"] > 1.5 * counts["b"] > 1.5 * 1.5 * counts["c"] > 0


def test_without_probes_every_backbone_may_be_sampled() -> None:
    sampler = ProbedSampler(optuna.samplers.RandomSampler(seed=0), dict, seed=0)
    study = optuna.create_study(sampler=sampler)
    assert {study.ask().suggest_categorical("backbone", NAMES) for _ in range(100)} == set(NAMES)
    assert all(trial.state is TrialState.RUNNING for trial in study.trials)


def test_a_backbone_that_could_not_be_probed_may_still_be_sampled() -> None:
    distances = {name: 0.0 for name in NAMES if name != "e"}
    sampler = ProbedSampler(optuna.samplers.RandomSampler(seed=0), lambda: distances, seed=0)
    study = optuna.create_study(sampler=sampler)
    assert "e" in {study.ask().suggest_categorical("backbone", NAMES) for _ in range(100)}
