"""Pseudo-labelled rows: in the training parts of their fold alone, and in no score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.trainer.training.support import after, competition, run
from tests.trainer.training.test_resume import assert_same
from trainer.batches.pixel_cache import Pixels
from trainer.batches.repeated_pixels import with_repeated
from trainer.common.errors import DataError
from trainer.training.results import ALWAYS_TRAINED, TrainingData, Verdict
from trainer.training.teaching.pseudo_rows import pseudo_rows, with_pseudo_rows, without_pseudo_rows

LABELS = np.full((3, 12), -1, np.int64)
LABELS[:, 0] = 2  # in all folds
LABELS[0, 1] = LABELS[1, 1] = 0
LABELS[2, 1] = 1  # another class in the last fold
LABELS[1, 5] = 1  # in one fold alone

PROBE: dict[str, Any] = {"method": "linear_probe", "epochs": 1}
TUNED: dict[str, Any] = {"epochs": 2, "augment.crop": 0.5}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def stored(folder: Path, size: int = 32) -> tuple[TrainingData, Pixels]:
    """The small competition with its images in a file, as the pixel cache has them."""
    data = competition(size=size)
    folder.mkdir(exist_ok=True)
    np.save(folder / f"images{size}.npy", np.concatenate([data.pixels.train, data.pixels.test]))
    pixels = Pixels(path=folder / f"images{size}.npy", n_train=72, n_test=12, size=size)
    return replace(data, pixels=pixels), pixels


def taught(folder: Path, labels: NDArray[np.int64] = LABELS, *, crops: bool = False) -> TrainingData:
    data, pixels = stored(folder)
    cropped = stored(folder, 40)[1] if crops else None
    return with_pseudo_rows(replace(data, cropped=cropped), labels, pixels, cropped, folder)


def test_each_fold_trains_on_its_own_labels(tmp_path: Path) -> None:
    plain, pixels = stored(tmp_path)
    data = taught(tmp_path)
    rows = [(0, 2), (1, 0), (1, 1), (5, 1)]
    assert [(int(r), int(c)) for r, c in zip(*pseudo_rows(LABELS)[:2], strict=True)] == rows
    assert data.y[72:].tolist() == [label for _, label in rows]
    assert np.array_equal(data.pixels.train[72:], pixels.test[[image for image, _ in rows]])
    assert np.array_equal(data.pixels.train[:72], pixels.train) and np.array_equal(data.pixels.test, pixels.test)
    assert (data.folds[72:] == ALWAYS_TRAINED).all() and data.num_folds == 3
    for fold, own in enumerate(([0, 1], [0, 1, 3], [0, 2])):
        assert data.training_part(fold).tolist() == [*plain.training_part(fold), *(72 + row for row in own)]
        assert np.array_equal(data.held_out(fold), plain.held_out(fold))
        weights = data.row_weights(fold)
        assert weights is not None and np.flatnonzero(weights == 0.0).tolist() == sorted(
            {72, 73, 74, 75} - {72 + r for r in own}
        )
    assert data.judged_labels == {"pseudo_labels": pytest.approx(7 / 3)}


@pytest.mark.parametrize(
    "base", [TUNED, {**TUNED, "head": "probe", "balance": 0.5}, PROBE], ids=["tuned", "LP-FT", "probe"]
)
def test_labels_of_other_folds_change_nothing(tmp_path: Path, weights: Path, base: dict[str, Any]) -> None:
    crops = "augment.crop" in base
    other = LABELS[[0, 2, 1]]  # the same rows, so that features are computed in the same batches
    found = [
        run({"init": "shapes", **base}, taught(tmp_path, labels, crops=crops), weights_dir=weights)
        for labels in (LABELS, other)
    ]
    folds = competition().folds
    first, second = (without_pseudo_rows(result, 72) for result in found)
    assert np.array_equal(first.oof[folds == 0], second.oof[folds == 0])
    assert not np.array_equal(first.oof[folds == 1], second.oof[folds == 1]), "they train on their own"


def test_no_pseudo_row_is_scored(tmp_path: Path) -> None:
    wrong = np.stack([(np.arange(12) + 1) % 3] * 3).astype(np.int64)
    data = taught(tmp_path, wrong)
    result = run({"epochs": 2}, data)
    assert np.isnan(result.oof[72:]).all() and all(np.isnan(report.true_class[72:]).all() for report in result.reports)
    cut = without_pseudo_rows(result, 72)
    assert cut.oof.shape == (72, 3) and np.isfinite(cut.oof).all()
    assert [report.true_class.shape for report in cut.reports] == [(72,), (72,)]
    y = data.y[:72]
    assert result.reports[-1].metric == (cut.oof.argmax(axis=1) == y).mean()
    assert result.machine["pseudo_labels"] == 12.0


def test_an_interrupted_training_continues_with_the_same_rows(tmp_path: Path) -> None:
    data, file = taught(tmp_path), tmp_path / "checkpoint"
    whole = run({}, data)
    run({}, data, checkpoint=file, on_epoch=after(1, Verdict.STOP))
    assert_same(run({}, data, checkpoint=file), whole)
    other = LABELS.copy()
    other[0, 7] = 1
    run({}, data, checkpoint=tmp_path / "second", on_epoch=after(1, Verdict.STOP))
    resumed = run({}, taught(tmp_path, other), checkpoint=tmp_path / "second")
    assert len(resumed.reports) == 3 and not np.array_equal(resumed.oof[:72], whole.oof[:72])


def test_labels_that_do_not_fit_are_refused(tmp_path: Path, weights: Path) -> None:
    data, pixels = stored(tmp_path)
    with pytest.raises(ValueError, match=r"not \(3, 12\)"):
        with_pseudo_rows(data, LABELS[:2], pixels, None, tmp_path)
    with pytest.raises(ValueError, match="plain labels"):
        with_pseudo_rows(taught(tmp_path), LABELS, pixels, None, tmp_path)
    with pytest.raises(ValueError, match="beside pseudo-labels"):
        run({"init": "shapes", "suspicious_labels": "drop"}, taught(tmp_path), weights_dir=weights)
    with pytest.raises(ValueError, match="left out of 2 folds"):
        replace(data, left_out=(np.zeros(0, np.int64),) * 2)


def test_copies_are_made_once_and_again_if_damaged(tmp_path: Path) -> None:
    _, pixels = stored(tmp_path)
    rows = np.array([3, 3, 0], np.int64)
    copied = with_repeated(pixels, rows, tmp_path)
    assert np.array_equal(copied.train[72:], pixels.test[rows])
    made = copied.path.stat().st_ino
    assert with_repeated(pixels, rows, tmp_path).path.stat().st_ino == made
    assert with_repeated(pixels, rows[:2], tmp_path).path != copied.path
    del copied
    path = with_repeated(pixels, rows, tmp_path).path
    path.write_bytes(path.read_bytes()[:-1])
    assert np.array_equal(with_repeated(pixels, rows, tmp_path).train[72:], pixels.test[rows])
    with pytest.raises(DataError, match="cannot be written"):
        with_repeated(pixels, rows, path / "a file is no folder")
