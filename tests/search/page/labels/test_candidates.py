"""Candidates for a review: by which predictions labels are judged, and which labels are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from search.page.labels.candidates import MOST_TRIALS, NothingToJudge, find_candidates
from storage.stores import Stores
from storage.values import TrialStatus
from tests.search.page.made_up import end_badly, end_trials, lay_study, noisy
from trainer.common.arrays import Float32Array
from trainer.evaluation.label_errors.one_label import find_label_errors
from trainer.evaluation.several_labels import Labels
from trainer.formats.label_tables import Correction

NAMES = ("red", "green", "blue")


def sure_of(wrong: tuple[int, ...], n: int = 60, seed: int = 0, classes: int = 3) -> Float32Array:
    """Probabilities that are right, but for the images ``wrong``, which are taken for the next class."""
    y, rng = np.arange(n) % classes, np.random.default_rng(seed)
    sure = 0.8 + 0.02 * rng.random(n)
    sure[list(wrong)] += 0.1
    proba = np.repeat((1.0 - sure)[:, None] / (classes - 1), classes, axis=1)
    predicted = y.copy()
    predicted[list(wrong)] = (y[list(wrong)] + 1) % classes
    proba[np.arange(n), predicted] = sure
    return proba.astype(np.float32)


def test_the_labels_that_all_trials_contradict_come_first(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    end_trials(stores, study, 2, lambda number, _: sure_of((4, 7, 20 + number), seed=number), probes=1)
    found = find_candidates(stores, study)
    assert len(found.averaged) == 3
    assert {each.row for each in found.candidates[:2]} == {4, 7}, "each trial is alone with its third"
    assert found.expected >= 2 and found.predicted == "predict 97% of the labels"
    first = {row.id: row for row in found.rows()}["image-0004"]
    assert (first.given, first.proposed, first.decision) == ("green", "blue", "")
    means = np.mean([stores.trials.prediction(record.id, "oof") for record in found.averaged], axis=0)
    assert float(first.confidence) == pytest.approx(means[4].max(), abs=1e-4)


def test_one_probe_is_enough(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    end_trials(stores, study, 0, lambda number, _: sure_of((4,)), probes=1)
    (record,) = find_candidates(stores, study).averaged
    assert record.is_probe
    expected = find_label_errors(np.arange(60) % 3, sure_of((4,)))
    assert [each.row for each in find_candidates(stores, study).candidates] == expected.rows.tolist()


def test_the_best_of_many_trials_are_averaged(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path, budget=MOST_TRIALS + 3)
    quality = np.random.default_rng(0).permutation(np.linspace(0.5, 1.0, MOST_TRIALS + 2))
    end_trials(stores, study, MOST_TRIALS + 2, lambda number, _: noisy(np.arange(60) % 3, 3, quality[number], number))
    found = find_candidates(stores, study)
    kept = [record.mean_true_probability or 0.0 for record in found.averaged]
    every = [r.mean_true_probability or 0.0 for r in stores.trials.records(study.id)]
    assert kept == sorted(every, reverse=True)[:MOST_TRIALS]


def test_nothing_is_judged_without_a_finished_trial(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    end_badly(stores, study, TrialStatus.PRUNED)
    with pytest.raises(NothingToJudge, match="no finished trial or probe yet"):
        find_candidates(stores, study)


def test_predictions_that_say_nothing_judge_nothing(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    end_trials(stores, study, 1, lambda number, _: noisy(np.arange(60) % 3, 3, 1 / 3, number))
    with pytest.raises(NothingToJudge, match="no more about the labels than the class frequencies"):
        find_candidates(stores, study)


def test_a_class_of_one_fold_is_not_judged(stores: Stores, tmp_path: Path) -> None:
    """No network has seen the only image of the class, so every prediction of it is wrong."""
    study = lay_study(stores, tmp_path, names=(*NAMES, "gold"), per_class=1)
    assert len(stores.datasets.get(study.fingerprint).y) == 4
    big = lay_study(stores, tmp_path, name="big")
    end_trials(stores, big, 1, lambda number, _: sure_of((4,)))
    assert find_candidates(stores, big).judged == 60
    end_trials(stores, study, 1, lambda number, _: np.full((4, 4), 0.25, np.float32))
    with pytest.raises(NothingToJudge):
        find_candidates(stores, study)


def test_decided_labels_are_left_out(stores: Stores, tmp_path: Path) -> None:
    study = lay_study(stores, tmp_path)
    end_trials(stores, study, 1, lambda number, _: sure_of((4, 7, 9)))
    found = find_candidates(stores, study)
    corrections = [
        Correction(id="image-0004", given="green", label="green", fingerprint=""),
        Correction(id="image-0007", given="blue", label="green", fingerprint=""),  # image 7 was blue before
        Correction(id="image-0009", given="green", label="blue", fingerprint=""),  # another label of image 9
    ]
    left = found.without(corrections)
    assert [row.id for row in left.rows()] == ["image-0009"]
    assert len(found.candidates) == 3


FLIPPED = {4: 0, 7: 1, 9: 2, 12: 0}
"""Images with several labels, and which of their labels is wrong."""


def several(n: int = 60, classes: int = 3) -> tuple[Labels, Float32Array]:
    """Labels of images that may have several, some of them wrong, and probabilities that know the right ones."""
    truth = np.random.default_rng(0).integers(0, 2, (n, classes))
    truth[[4, 9]], truth[[7, 12, -1]] = 1, 0
    y = truth.copy()
    for row, label in FLIPPED.items():
        y[row, label] = 1 - y[row, label]
    return y, np.where(truth == 1, 0.9, 0.1).astype(np.float32)


def test_labels_that_images_have_or_lack_are_candidates(stores: Stores, tmp_path: Path) -> None:
    y, proba = several()
    study = lay_study(stores, tmp_path, metric="mean_f1", y=y)
    end_trials(stores, study, 2, lambda number, _: proba - 0.02 * np.float32(number))
    found = find_candidates(stores, study)
    assert sorted(each.row for each in found.candidates) == sorted(FLIPPED)
    assert found.several_labels and found.judged == 60 and found.expected == 4 and not found.unjudged
    assert found.predicted == "predict 98% of the labels that images have and 2% of those they lack"
    rows = {row.id: row for row in found.rows()}
    assert (rows["image-0004"].given, rows["image-0004"].proposed) == ("green|blue", "red|green|blue")
    assert (rows["image-0007"].given, rows["image-0007"].proposed) == ("green", "[]")
    assert float(rows["image-0004"].confidence) == pytest.approx(0.89, abs=1e-4)
    assert float(rows["image-0007"].confidence) == pytest.approx(0.91, abs=1e-4)
    (first,) = [each for each in found.candidates if each.row == 4]
    assert [each.disputed for each in first.proposed] == [True, False, False]
    assert not any(each.disputed for each in first.given)
    assert [each.probability for each in first.given] == pytest.approx([0.89, 0.89], abs=1e-4)
    decided = [
        Correction(id="image-0004", given="blue|green", label="red", fingerprint=""),
        Correction(id="image-0007", given="blue", label="green", fingerprint=""),
    ]
    assert sorted(each.row for each in found.without(decided).candidates) == [9, 12]


def test_labels_that_nothing_predicts_are_not_judged(stores: Stores, tmp_path: Path) -> None:
    y, proba = several()
    proba[:, 2] = y[:, 2].mean()
    study = lay_study(stores, tmp_path, metric="mean_f1", y=y)
    end_trials(stores, study, 1, lambda number, _: proba)
    found = find_candidates(stores, study)
    assert found.unjudged == ("blue",) and {each.row for each in found.candidates} == {4, 7, 12}
    other = lay_study(stores, tmp_path, metric="mean_f1", y=y, name="other")
    end_trials(stores, other, 1, lambda number, _: np.full_like(proba, 0.5))
    with pytest.raises(NothingToJudge, match="no more about the labels than the class frequencies"):
        find_candidates(stores, other)
