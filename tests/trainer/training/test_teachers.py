"""Teachers of a training's own recipe: what they know, and that an interruption costs none of the finished ones."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.training.support import SMALL, competition, run
from tests.trainer.training.test_cross_validation import BreaksLater
from trainer.recipe.recipe import Recipe
from trainer.training.folds import fold_model
from trainer.training.results import EpochReport, TrainingData, Verdict
from trainer.training.teaching.soft_targets import LABEL_SHARE
from trainer.training.teaching.teachers import Teaching, train_teachers

PAIRS = 3  # of three folds


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Watch:
    """Records the epochs of the teachers as (finished teachers, epoch), and stops after a number of them."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.seen: list[tuple[int, int]] = []
        self._stop_after = stop_after

    def __call__(self, done: int, report: EpochReport) -> Verdict:
        self.seen.append((done, report.epoch))
        return Verdict.STOP if len(self.seen) == self._stop_after else Verdict.CONTINUE


def teach(
    data: TrainingData, watch: Watch | None = None, changes: dict[str, Any] | None = None, **options: Any
) -> Teaching:
    recipe = Recipe.from_flat({**SMALL, "epochs": 2, **(changes or {})})
    given = {"metric": "accuracy", "seed": 0, "device": "cpu", "folder": None, **options}
    return train_teachers(recipe, data, on_epoch=watch or Watch(), **given)


def predicted(teaching: Teaching, data: TrainingData) -> np.ndarray:
    """The teachers' part of the targets: (K, n, C)."""
    assert teaching.targets is not None
    return (teaching.targets - LABEL_SHARE * np.eye(3)[data.y]) / (1.0 - LABEL_SHARE)


def test_held_out_labels_are_in_no_teacher() -> None:
    """Other labels in a fold change no bit of what its student learns from the teachers."""
    data = competition(n=36)
    first = data.folds == 0
    changed = replace(data, y=np.where(first, (data.y + 1) % 3, data.y))
    before, after = (predicted(teach(each), each) for each in (data, changed))
    np.testing.assert_array_equal(after[0, ~first], before[0, ~first])
    for fold in (1, 2):
        others = ~first & (data.folds != fold)
        assert not np.array_equal(after[fold, others], before[fold, others]), "other students' teachers know them"


def test_stopped_and_continued_teachers_give_the_same_targets(tmp_path: Path) -> None:
    data = competition(n=36)
    whole, watch = teach(data), Watch()
    for stop_after in (1, 1, 3):  # within the first teacher, after its last epoch, within the third
        part = Watch(stop_after)
        teaching = teach(data, part, folder=tmp_path)
        assert teaching.targets is None and teaching.ended is not None and teaching.ended.status == "stopped"
        assert np.isnan(teaching.ended.oof).all() and not teaching.ended.reports
        watch.seen += part.seen
    rest = Watch()
    continued = teach(data, rest, folder=tmp_path)
    assert watch.seen + rest.seen == [(done, epoch) for done in range(PAIRS) for epoch in (1, 2)], "each epoch once"
    assert whole.targets is not None and continued.targets is not None and continued.earlier_seconds > 0.0
    assert whole.targets.tobytes() == continued.targets.tobytes() and whole.earlier_seconds == 0.0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"teacher-{pair}-predictions.pt" for pair in ("0-1", "0-2", "1-2")
    ]
    again = Watch()
    assert teach(data, again, folder=tmp_path).targets is not None and again.seen == []


def test_files_that_are_not_of_these_teachers_are_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, changes = competition(n=36), {"epochs": 1}
    before = teach(data, changes=changes, folder=tmp_path)
    files = sorted(tmp_path.iterdir())
    files[0].write_bytes(files[0].read_bytes()[:-40])
    files[1].write_bytes(files[2].read_bytes())
    watch = Watch()
    with caplog.at_level(logging.WARNING):
        again = teach(data, watch, changes, folder=tmp_path)
    assert watch.seen == [(0, 1), (1, 1)] and "damaged" in caplog.text and "belongs to another" in caplog.text
    assert again.targets is not None and before.targets is not None
    np.testing.assert_array_equal(again.targets, before.targets)
    other_seed = Watch()
    assert teach(data, other_seed, changes, folder=tmp_path, seed=1).targets is not None
    assert len(other_seed.seen) == PAIRS


def test_an_abandoned_teacher_writes_nothing(tmp_path: Path) -> None:
    teaching = teach(competition(n=36), folder=tmp_path, abandon=lambda: True)
    assert teaching.targets is None and teaching.ended is not None and teaching.ended.status == "stopped"
    assert list(tmp_path.iterdir()) == []


def test_a_diverged_teacher_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_model, "create_backbone", lambda *a, **k: BreaksLater(0))
    teaching = teach(competition(n=36))
    assert teaching.targets is None and teaching.ended is not None and teaching.ended.status == "diverged"
    assert teaching.ended.reason.startswith("the teacher without folds 0 and 1 (the first is 0): the loss became nan")


def test_two_folds_are_too_few() -> None:
    with pytest.raises(ValueError, match="3 folds"):
        teach(competition(n=24, folds=2))


def test_students_learn_several_labels_from_teachers() -> None:
    data = competition(n=48)
    labels = np.eye(3, dtype=np.int64)[data.y]
    labels[::4, 0] = 1
    several = replace(data, y=labels)
    teaching = teach(several, metric="lrap")
    assert teaching.targets is not None and teaching.targets.shape == (3, 48, 3)
    assert not np.allclose(teaching.targets.sum(axis=-1), 1.0, atol=0.01)
    oof = run({"epochs": 1}, replace(several, soft_targets=teaching.targets), metric="lrap").oof
    assert oof.shape == (48, 3) and np.isfinite(oof).all()
