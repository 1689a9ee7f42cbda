"""Trainings that drop or downweight suspicious labels: which rows, in which parts, and after an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.training.support import after, competition, run
from tests.trainer.training.test_resume import assert_same
from trainer.common.errors import BackboneError
from trainer.recipe.recipe import Recipe, RecipeError
from trainer.training import cross_validation as cross_validation_module
from trainer.training.results import ALWAYS_TRAINED, TrainingData, Verdict
from trainer.training.suspicious_labels import WEIGHTS, judge_training_parts

TUNED: dict[str, Any] = {"init": "shapes", "epochs": 2, "optimizer.lr": 1e-3}
PROBE: dict[str, Any] = {"init": "shapes", "method": "linear_probe", "epochs": 1}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def noisy() -> TrainingData:
    """Images of three things with 12 wrong labels of 120."""
    data = competition(n=120)
    y = data.y.copy()
    y[::10] = (y[::10] + 1) % 3
    return replace(data, y=y)


def judged(recipe: dict[str, Any], data: TrainingData, weights: Path) -> TrainingData:
    flat = Recipe.from_flat({"backbone": "test_resnet", "image_size": 32, **recipe})
    return judge_training_parts(
        flat, data, seed=0, device=torch.device("cpu"), weights_dir=weights, before_batch=lambda share: None
    )


def test_wrong_labels_leave_the_training_parts(noisy: TrainingData, weights: Path) -> None:
    found = judged({**TUNED, "suspicious_labels": "drop"}, noisy, weights)
    assert found.suspects is not None
    wrong = np.arange(0, 120, 10)
    for fold in range(3):
        rows = found.suspects[fold]
        assert np.isin(wrong[noisy.folds[wrong] != fold], rows).mean() > 0.5
        assert np.array_equal(found.training_part(fold), np.setdiff1d(noisy.training_part(fold), rows))
        assert np.array_equal(found.held_out(fold), noisy.held_out(fold)), "what is scored stays"
        assert set(found.y[found.training_part(fold)]) == {0, 1, 2}
    assert found.targets.y is noisy.y
    (share,) = found.judged_labels.values()
    assert share == np.mean([len(rows) for rows in found.suspects])


def test_rows_that_count_less_stay(noisy: TrainingData, weights: Path) -> None:
    found = judged({**TUNED, "suspicious_labels": "downweight"}, noisy, weights)
    assert found.suspects is not None
    for fold in range(3):
        row_weights = found.row_weights(fold)
        assert row_weights is not None
        assert np.array_equal(np.flatnonzero(row_weights == WEIGHTS["downweight"]), found.suspects[fold])
        assert np.array_equal(found.training_part(fold), noisy.training_part(fold))


@pytest.mark.parametrize(
    ("base", "way"),
    [({**TUNED, "head": "probe"}, "drop"), (TUNED, "downweight"), (PROBE, "drop"), (PROBE, "downweight")],
    ids=["LP-FT, drop", "fine-tuning, downweight", "linear probe, drop", "linear probe, downweight"],
)
def test_held_out_labels_change_nothing_of_what_is_predicted_for_them(
    noisy: TrainingData, weights: Path, base: dict[str, Any], way: str
) -> None:
    y = noisy.y.copy()
    rows = noisy.held_out(1)
    y[rows] = (y[rows] + 1) % 3
    recipe = {**base, "suspicious_labels": way, "epochs": 1}
    first, second = (run(recipe, one, weights_dir=weights, predict_test=False) for one in (noisy, replace(noisy, y=y)))
    assert np.array_equal(first.oof[rows], second.oof[rows])
    assert float(first.machine["suspicious_labels"]) > 4.0


@pytest.mark.parametrize("base", [TUNED, PROBE], ids=["fine-tuning", "linear probe"])
def test_each_way_trains_differently(noisy: TrainingData, weights: Path, base: dict[str, Any]) -> None:
    keep, drop, less = (
        run({**base, "epochs": 1, "suspicious_labels": way}, noisy, weights_dir=weights, predict_test=False)
        for way in ("keep", "drop", "downweight")
    )
    assert "suspicious_labels" not in keep.machine
    assert not np.allclose(keep.oof, drop.oof, atol=1e-3) and not np.allclose(drop.oof, less.oof, atol=1e-3)


def test_a_linear_probe_that_drops_wrong_labels_is_better_on_right_ones(weights: Path) -> None:
    """Scored on images whose labels are right, so that the score does not reward predicting the wrong ones."""
    clean = competition(n=150)
    y = clean.y.copy()
    y[::5] = (y[::5] + 1) % 3
    right = np.arange(150) % 5 != 0
    scores = {}
    for way in ("keep", "drop"):
        oof = run({**PROBE, "suspicious_labels": way}, replace(clean, y=y), weights_dir=weights).oof
        scores[way] = np.log(oof[np.arange(150), clean.y])[right].mean()
    assert scores["drop"] > scores["keep"]


def test_without_held_out_images_one_network_trains_on_what_is_left(noisy: TrainingData, weights: Path) -> None:
    everything = replace(noisy, folds=np.full(120, ALWAYS_TRAINED))
    found = judged({**TUNED, "suspicious_labels": "drop"}, everything, weights)
    assert found.suspects is not None and len(found.suspects) == 1
    assert len(found.training_part(0)) == 120 - len(found.suspects[0]) < 120


def test_a_resumed_training_judges_nothing_and_has_the_same_rows(
    noisy: TrainingData, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {**TUNED, "suspicious_labels": "drop"}
    undisturbed = run(recipe, noisy, weights_dir=weights)
    path = tmp_path / "trial.pt"
    stopped = run(recipe, noisy, weights_dir=weights, checkpoint=path, on_epoch=after(1, Verdict.STOP))
    assert stopped.status == "stopped"

    def refuse(*_: Any, **__: Any) -> TrainingData:
        raise AssertionError("the rows are those of the checkpoint")

    monkeypatch.setattr(cross_validation_module, "judge_training_parts", refuse)
    resumed = run(recipe, noisy, weights_dir=weights, checkpoint=path)
    assert_same(undisturbed, resumed)
    assert resumed.machine["suspicious_labels"] == undisturbed.machine["suspicious_labels"]


def test_a_training_may_be_left_while_labels_are_judged(noisy: TrainingData, weights: Path) -> None:
    for base in (TUNED, PROBE):
        result = run({**base, "suspicious_labels": "drop"}, noisy, weights_dir=weights, abandon=lambda: True)
        assert (result.status, len(result.reports)) == ("stopped", 0)


def test_random_weights_are_refused_at_once() -> None:
    for way in ("drop", "downweight"):
        with pytest.raises(RecipeError, match="judged by the features of trained weights"):
            Recipe.from_flat({"init": "scratch", "suspicious_labels": way})


def test_a_network_without_feature_vectors_is_named(
    noisy: TrainingData, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.training import suspicious_labels

    def no_vectors(*_: Any) -> None:
        raise BackboneError("its features are no vector for each image")

    monkeypatch.setattr(suspicious_labels, "frozen_features", no_vectors)
    with pytest.raises(BackboneError, match="no vector for each image; test_resnet needs suspicious_labels = keep"):
        run({**TUNED, "suspicious_labels": "drop"}, noisy, weights_dir=weights)


def test_suspects_of_other_folds_are_refused(noisy: TrainingData) -> None:
    with pytest.raises(ValueError, match="suspicious rows of 1 folds, but there are 3"):
        replace(noisy, suspects=(np.array([0]),))
