"""What students learn from: never from a prediction that knows their held-out labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.statistics.blending.cross_fitting import CrossFitted
from search.workflow.single.distil import (
    CannotTeach,
    Trained,
    choose_student,
    read_oof,
    score_students,
    teach,
    trainings_of,
)
from search.workflow.single.nested_scores import NestedScores
from tests.trainer.training.support import SMALL, competition, go_on
from trainer.inference.blend import Blend
from trainer.recipe.recipe import Recipe
from trainer.training.cross_validation import cross_validate
from trainer.training.results import ALWAYS_TRAINED, TrainingData
from trainer.training.teaching.soft_targets import soft_targets


def scores_of(data: TrainingData) -> NestedScores:
    """Scores without a label rule, of an ensemble that is always right."""
    blends = (Blend(weights=(1.0,)),) * data.num_folds
    return NestedScores(
        metric="accuracy",
        targets=data.targets,
        ensemble=np.eye(data.num_classes)[data.y],
        rule=CrossFitted(folds=data.folds, blends=blends),
    )


class Recorder:
    """Stands in for training: predicts by a fixed rule, and remembers what each network trained on."""

    def __init__(self) -> None:
        self.calls: list[TrainingData] = []

    def __call__(self, data: TrainingData, keep: bool) -> Trained:
        self.calls.append(data)
        oof = np.full((len(data.y), data.num_classes), np.nan, dtype=np.float32)
        # The number of the training is in its predictions, so that a student's targets name their teacher.
        share = len(self.calls) / 100
        oof[data.folds == 0] = [1.0 - share, share, 0.0]
        return Trained(oof=oof, state={} if keep else None)


def test_teachers_saw_neither_what_they_teach_nor_what_their_student_holds_out() -> None:
    data, train = competition(n=24, folds=4), Recorder()
    oof = score_students(data, train)
    assert np.isfinite(oof).all()
    assert len(train.calls) + 1 == trainings_of(4) == 11
    teachers, students = train.calls[:6], train.calls[6:]
    assert all(teacher.soft_targets is None for teacher in teachers)
    for fold, student in enumerate(students):
        held_out = data.folds == fold
        assert (student.folds == np.where(held_out, 0, ALWAYS_TRAINED)).all()
        assert student.soft_targets is not None
        labels = np.eye(3)[data.y]
        prediction = (student.soft_targets - 0.5 * labels) / 0.5
        for row in np.flatnonzero(~held_out):
            teacher = teachers[round(float(prediction[row, 1]) * 100) - 1]
            assert teacher.folds[row] == 0, "it did not train on the image that it teaches"
            assert (teacher.folds[held_out] == 0).all(), "nor on any that the student holds out"


def test_the_last_network_is_taught_by_the_ensemble_on_all_images() -> None:
    data, train = competition(n=24, folds=3), Recorder()
    ensemble = np.full((24, 3), 1 / 3, dtype=np.float32)
    state, taught = teach(data, ensemble, train, scores_of(data))
    assert state == {} and taught is not None and taught.images == 24
    assert taught.ensemble == 1.0 and taught.gain.mean == taught.single - 1.0 < 0.0
    final = train.calls[-1]
    assert (final.folds == ALWAYS_TRAINED).all() and final.soft_targets is not None
    np.testing.assert_allclose(final.soft_targets, soft_targets(data, ensemble))
    np.testing.assert_allclose(final.soft_targets[np.arange(24), data.y], 0.5 + 0.5 / 3)


def test_two_folds_leave_nothing_to_score_students_by() -> None:
    data, train = competition(n=24, folds=2), Recorder()
    _, taught = teach(data, np.full((24, 3), 1 / 3, np.float32), train, scores_of(data))
    assert taught is None and len(train.calls) == trainings_of(2) == 1


def test_a_network_learns_its_soft_targets() -> None:
    """Trained toward the same shares for every image, it predicts these shares."""
    shares = np.array([0.7, 0.2, 0.1], dtype=np.float32)
    data = competition(n=72)
    data = replace(
        data,
        folds=np.where(data.folds == 0, 0, ALWAYS_TRAINED),
        soft_targets=np.tile(shares, (72, 1)),
    )
    recipe = Recipe.from_flat({**SMALL, "epochs": 4})
    result = cross_validate(
        recipe, data, metric="accuracy", seed=0, device="cpu", on_epoch=go_on, checkpoint=None, predict_test=False
    )
    np.testing.assert_allclose(result.oof[data.folds == 0].mean(axis=0), shares, atol=0.12)


def test_one_hot_soft_targets_change_no_bit() -> None:
    data = competition(n=36)
    recipe = Recipe.from_flat({**SMALL, "epochs": 1, "augment.mix": "mixup"})
    found = [
        cross_validate(recipe, each, metric="accuracy", seed=0, device="cpu", on_epoch=go_on, checkpoint=None).oof
        for each in (data, replace(data, soft_targets=np.eye(3, dtype=np.float32)[data.y]))
    ]
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("wrong", [np.zeros((72, 3)), np.full((72, 2), 0.5), np.full((72, 3), np.nan)])
def test_targets_that_are_no_shares_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no shares of 3 classes"):
        replace(competition(n=72), soft_targets=wrong.astype(np.float32))


def test_a_linear_probe_cannot_be_taught() -> None:
    recipe = Recipe.from_flat({**SMALL, "method": "linear_probe"})
    data = competition(n=36)
    data = replace(data, soft_targets=np.eye(3, dtype=np.float32)[data.y])
    with pytest.raises(ValueError, match="soft targets"):
        cross_validate(recipe, data, metric="accuracy", seed=0, device="cpu", on_epoch=go_on, checkpoint=None)


def test_the_student_has_the_first_recipe_that_is_fine_tuned() -> None:
    probe, tuned = (Recipe.from_flat({"method": method}) for method in ("linear_probe", "fine_tune"))
    assert choose_student((probe, tuned)) == 1
    with pytest.raises(CannotTeach, match="--leader"):
        choose_student((probe, probe))


def test_out_of_fold_predictions_are_averaged_over_trainings(tmp_path: Path) -> None:
    path = tmp_path / "oof.csv"
    rows = ["a,0,0,x,x,0.8,0.2", "b,1,0,y,y,0.1,0.9", "a,0,1,x,x,0.6,0.4", "b,1,1,y,y,0.3,0.7"]
    path.write_text("\n".join(["image_id,fold,seed,y_true,y_pred,p_x,p_y", *rows]) + "\n")
    np.testing.assert_allclose(read_oof(path, ("a", "b"), 2), [[0.7, 0.3], [0.2, 0.8]], atol=1e-6)
    for ids in (("b", "a"), ("a", "b", "c")):
        with pytest.raises(CannotTeach, match="not those of the training images"):
            read_oof(path, ids, 2)
    path.write_text(path.read_text().replace("0.8", "nan"))
    with pytest.raises(CannotTeach, match="no probabilities"):
        read_oof(path, ("a", "b"), 2)
    with pytest.raises(CannotTeach, match="--full-data"):
        read_oof(tmp_path / "none.csv", ("a", "b"), 2)
