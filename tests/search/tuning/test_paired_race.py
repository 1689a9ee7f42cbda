"""The paired race: who is clearly behind, and who is never asked."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from search.tuning.paired_race import PairedRace, errors_behind
from trainer.training.results import EpochReport

PROBABILITIES = arrays(np.float32, 40, elements=st.floats(0.0, 1.0, width=32))


def report(true_class: np.ndarray, epoch: int = 1, epochs: int = 4) -> EpochReport:
    return EpochReport(
        epoch=epoch,
        epochs=epochs,
        true_class=true_class.astype(np.float32),
        metric=0.5,
        mean_true_probability=float(np.nanmean(true_class)),
        fold_metrics=(0.5, 0.5),
        train_loss=1.0,
        seconds=1.0,
    )


def trials(count: int) -> list[optuna.Trial]:
    study = optuna.create_study()
    return [study.ask() for _ in range(count)]


@pytest.fixture
def images() -> np.ndarray:
    """How easy each of 200 images is: far more different than recipes are."""
    return np.random.default_rng(0).uniform(0.0, 0.9, 200)


def test_a_small_difference_on_every_image_is_seen_where_the_means_alone_show_nothing(images: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(0.0, 0.02, 200)
    race = PairedRace(lambda epoch, epochs: images + 0.02, margin=3.0)
    worse, alike = images + noise, images + 0.02 + noise
    mean_error = np.std(worse) / np.sqrt(200)
    assert images.mean() + 0.02 - worse.mean() < 2.0 * mean_error, "unpaired, it is within the noise"
    _, trial = trials(2)
    assert race.gives_up(trial, report(worse))
    assert not race.gives_up(trial, report(alike))


def test_trial_zero_the_last_epoch_and_the_first_ones_are_not_judged(images: np.ndarray) -> None:
    race = PairedRace(lambda epoch, epochs: images + 0.1, margin=1.0, min_epochs=2)
    default, trial = trials(2)
    noisy = images + np.random.default_rng(1).normal(0.0, 0.01, 200)
    assert not race.gives_up(default, report(noisy, epoch=3))
    assert [race.gives_up(trial, report(noisy, epoch=epoch)) for epoch in (1, 2, 3, 4)] == [False, True, True, False]


def test_without_a_leader_of_its_length_a_trial_goes_on(images: np.ndarray) -> None:
    asked: list[tuple[int, int]] = []

    def leader_at(epoch: int, epochs: int) -> np.ndarray | None:
        asked.append((epoch, epochs))
        return None

    assert not PairedRace(leader_at, margin=1.0).gives_up(trials(2)[1], report(images * 0.0, epoch=2, epochs=9))
    assert asked == [(2, 9)]


@given(PROBABILITIES, PROBABILITIES)
def test_being_behind_is_mutual(own: np.ndarray, leader: np.ndarray) -> None:
    assert errors_behind(own, leader) == pytest.approx(-errors_behind(leader, own))


@given(PROBABILITIES)
def test_nobody_is_behind_itself(own: np.ndarray) -> None:
    assert errors_behind(own, own) == 0.0


def test_images_without_a_prediction_do_not_count() -> None:
    own, leader = np.array([0.1, 0.2, np.nan, 0.4]), np.array([0.3, 0.5, 0.9, np.nan])
    assert errors_behind(own, leader) == pytest.approx(errors_behind(own[:2], leader[:2]))
    assert errors_behind(own[1:3], leader[1:3]) == 0.0
