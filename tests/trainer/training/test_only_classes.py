"""Training on some classes alone: the training parts lack the other images, which are still held out and predicted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.training.support import after, competition, run
from tests.trainer.training.test_resume import assert_same
from trainer.evaluation.several_labels import has_several
from trainer.training.results import TrainingData, Verdict

CHOSEN = (0, 2)
TUNED: dict[str, Any] = {"epochs": 3}
PROBE: dict[str, Any] = {"method": "linear_probe", "epochs": 1, "init": "shapes"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def chosen_data() -> TrainingData:
    return competition().only_classes(CHOSEN)


def test_training_parts_lack_the_others_and_all_images_are_held_out() -> None:
    plain, data = competition(), chosen_data()
    for fold in range(3):
        part = data.training_part(fold)
        assert part.tolist() == [row for row in plain.training_part(fold) if plain.y[row] in CHOSEN]
        assert data.held_out(fold).tolist() == plain.held_out(fold).tolist()
        weights = data.row_weights(fold)
        assert weights is not None
        assert (
            np.flatnonzero(weights).tolist()
            == np.flatnonzero(np.isin(plain.y, CHOSEN) | (plain.folds == fold)).tolist()
        )
    lacking = np.mean([len(plain.training_part(fold)) - len(data.training_part(fold)) for fold in range(3)])
    assert data.judged_labels == {"left_out": pytest.approx(lacking)} and lacking > 0


def test_data_that_cannot_lack_classes() -> None:
    data = competition()
    with pytest.raises(ValueError, match="no row is left out"):
        chosen_data().only_classes((0,))
    several = replace(data, y=np.eye(3, dtype=np.int64)[data.y])
    assert has_several(several.y)
    with pytest.raises(ValueError, match="one label an image"):
        several.only_classes(CHOSEN)
    with pytest.raises(ValueError, match="fold 0 trains on 0 images"):
        replace(data, y=np.where(data.y == 1, 0, data.y)).only_classes((1,))


@pytest.mark.parametrize("base", [TUNED, {**TUNED, "balance": 0.7, "loss.class_weight": 0.5}, PROBE])
def test_the_other_images_change_no_network(base: dict[str, Any], weights: Path) -> None:
    """Other pixels of the images that are left out change their own predictions alone."""
    plain = competition()
    others = ~np.isin(plain.y, CHOSEN)
    images = np.array(plain.pixels.train)
    images[others] = 255 - images[others]
    changed = replace(plain, pixels=replace(plain.pixels, train=images))  # type: ignore[type-var]
    found = [run(base, data.only_classes(CHOSEN), weights_dir=weights) for data in (plain, changed)]
    assert found[0].status == found[1].status == "finished"
    np.testing.assert_array_equal(found[0].oof[~others], found[1].oof[~others])
    np.testing.assert_array_equal(found[0].test, found[1].test)
    assert found[0].oof.shape == (72, 3) and np.isfinite(found[0].oof).all()
    assert not np.array_equal(found[0].oof[others], found[1].oof[others])


def test_the_chosen_classes_are_told_apart() -> None:
    data = competition(n=180).only_classes(CHOSEN)
    result = run({"epochs": 8}, data)
    rows = np.isin(data.y, CHOSEN)
    pair = result.oof[rows][:, CHOSEN]
    right = np.array(CHOSEN)[pair.argmax(axis=1)] == data.y[rows]
    assert right.mean() > 0.8, "a square and a bar"
    assert result.oof[:, 1].mean() < 0.2, "a class that was never seen becomes improbable"


def test_an_interrupted_training_equals_an_undisturbed_one(tmp_path: Path) -> None:
    expected = run(TUNED, chosen_data())
    stopped = run(TUNED, chosen_data(), on_epoch=after(2, Verdict.STOP), checkpoint=tmp_path / "c.pt")
    assert stopped.status == "stopped"
    assert_same(run(TUNED, chosen_data(), checkpoint=tmp_path / "c.pt"), expected)


def test_a_checkpoint_of_all_classes_does_not_go_on_without_some(tmp_path: Path) -> None:
    run(TUNED, competition(), on_epoch=after(2, Verdict.STOP), checkpoint=tmp_path / "c.pt")
    assert_same(run(TUNED, chosen_data(), checkpoint=tmp_path / "c.pt"), run(TUNED, chosen_data()))
