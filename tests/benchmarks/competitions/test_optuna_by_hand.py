"""Rivals on a tiny competition: their trainings equal Retable's, the time limit holds, the best trial is submitted."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch

from benchmarks.competitions.contest import (
    Contest,
    FinishedTrial,
    OutOfTimeError,
    best_result,
    open_contest,
    save_trial,
    time_is_up_after,
    train,
    with_clock,
)
from benchmarks.competitions.optuna_by_hand import Objective, collect, open_study
from benchmarks.training.jpeg_loader import JpegLoader
from search.tuning.suggest import sample
from studies.load_study import load_study
from tests.search.small_study import STUDY, TEST_IMAGES, write_competition
from trainer.batches.batch_loader import BatchLoader
from trainer.batches.batch_plan import plan_epoch
from trainer.recipe.recipe import Recipe

EPOCHS = 2


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Contest:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("contest")
    (folder / "study.toml").write_text(STUDY)
    spec = load_study(folder / "study.toml", [f"recipe.epochs={EPOCHS}"])
    (folder / "data").mkdir()
    return open_contest(write_competition(folder / "data"), spec, seed=3, work_dir=folder / "rivals", by_hand=False)


@pytest.fixture
def contest(opened: Contest, tmp_path: Path) -> Contest:
    return with_clock(opened, 60.0, tmp_path / "rival")


def test_each_fold_holds_out_its_images_and_no_others(contest: Contest) -> None:
    recipe = Recipe.from_flat(contest.spec.default_recipe())
    for fold in range(contest.num_folds):
        data = contest.data(recipe, fold)
        assert data.num_folds == 1
        assert data.held_out(0).tolist() == np.flatnonzero(contest.folds == fold).tolist()
        assert sorted([*data.held_out(0), *data.training_part(0)]) == list(range(len(contest.images.y)))


@pytest.mark.slow
def test_a_trials_value_is_the_mean_of_its_folds_and_the_best_is_submitted(contest: Contest) -> None:
    begun = datetime.now()
    study = open_study(contest, 0, prune=True)
    study.enqueue_trial(dict(contest.spec.default_params()))
    with BatchLoader() as loader:
        study.optimize(Objective(contest, loader, time_is_up_after(60.0)), n_trials=2)
        recipe = Recipe.from_flat(contest.spec.default_recipe())
        scores = [
            train(contest, recipe, fold, loader, time_is_up_after(60.0)).reports[-1].metric
            for fold in range(contest.num_folds)
        ]
    first = study.trials[0]
    assert first.value == pytest.approx(np.mean(scores))
    assert first.intermediate_values == pytest.approx({0: scores[0], 1: np.mean(scores)})
    outcome = collect(contest, begun)
    assert outcome.value == study.best_value
    assert outcome.recipe == sample(optuna.trial.FixedTrial(study.best_params), contest.spec).to_flat()  # type: ignore[arg-type]
    assert (outcome.trials, outcome.finished) == (2, 2)
    assert len(outcome.predicted) == TEST_IMAGES and set(outcome.predicted) <= set(contest.images.class_names)
    assert 0.0 < outcome.seconds < 60.0
    assert not list(contest.work_dir.glob("*.pt")), "weights are large"


def test_processes_share_one_study_and_propose_differently(contest: Contest) -> None:
    asked = [open_study(contest, process, prune=False).ask() for process in (0, 1)]
    recipes = [sample(trial, contest.spec) for trial in asked]
    assert [trial.number for trial in asked] == [0, 1]
    assert recipes[0] != recipes[1]


def test_a_trial_that_is_cut_off_is_lost(contest: Contest) -> None:
    study = open_study(contest, 0, prune=True)
    with BatchLoader() as loader:
        study.optimize(Objective(contest, loader, time_is_up_after(0.0)), n_trials=1, catch=(OutOfTimeError,))
        with pytest.raises(OutOfTimeError):
            train(contest, Recipe.from_flat(contest.spec.default_recipe()), None, loader, time_is_up_after(0.0))
    outcome = collect(contest, datetime.now())
    assert (outcome.value, outcome.predicted, outcome.trials, outcome.finished) == (None, (), 1, 0)


def test_the_models_of_the_best_trial_are_averaged(contest: Contest) -> None:
    recipe = Recipe.from_flat(contest.spec.default_recipe())
    with BatchLoader() as loader:
        models = train(contest, recipe, None, loader, time_is_up_after(60.0)).models
    one, other = ((model,) * len(models) for model in models)
    save_trial(contest, "worse", FinishedTrial(value=0.1, recipe=recipe.to_flat(), models=one))
    save_trial(contest, "better", FinishedTrial(value=0.2, recipe=recipe.to_flat(), models=other))
    best = best_result(contest, trials=2, seconds=1.0)
    save_trial(contest, "alone", FinishedTrial(value=0.0, recipe=recipe.to_flat(), models=other[:1]))
    assert best.value == 0.2
    assert best_result(contest, trials=1, seconds=1.0).predicted == best.predicted


@pytest.mark.parametrize("crop", [0.0, 0.3])
def test_by_hand_makes_the_same_batches_out_of_the_files(contest: Contest, crop: float) -> None:
    recipe = Recipe.from_flat({**contest.spec.default_recipe(), "augment.crop": crop, "augment.brightness": 0.2})
    data = contest.data(recipe, 0)
    plans = plan_epoch(data.training_part(0), data.y, batch_size=8, balance=0.0, seed=1, fold=0, epoch=1)
    source = data.training_source(recipe)
    made = []
    by_hand = JpegLoader(contest.images)
    by_hand.resize_as(recipe)
    for loader in (BatchLoader(), by_hand):
        with loader:
            stream = loader.stream(source, recipe.augment, recipe.image_size, [plans])
            made.append([batch.copy() for batch in stream])
            stream.close()
    assert len(made[0]) == len(plans)
    for ours, theirs in zip(*made, strict=True):
        assert np.array_equal(ours, theirs)
