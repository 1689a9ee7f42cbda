"""Which images a finished training predicts, and in which precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.training.support import competition, run
from trainer.training import final_predictions, lockstep
from trainer.training.folds.fold_group import FoldGroup

Predicted = list[tuple[int, torch.dtype | None]]
SAMPLE = 5  # test images
FOLDS = 3


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> Predicted:
    """Test images and precision of each prediction of them, one for each fold."""
    found: Predicted = []
    original = FoldGroup.predict

    def predict(self: FoldGroup, model: Any, images: Any, rows: Any, views: Any, precision: Any = None) -> Any:
        if images is DATA.pixels.test:
            found.append((len(rows), precision))
        return original(self, model, images, rows, views, precision)

    monkeypatch.setattr(FoldGroup, "predict", predict)
    return found


DATA = competition(36)
ALL = len(DATA.pixels.test)


@pytest.mark.parametrize("kept", [False, True])
def test_a_sample_ranks_and_all_test_images_are_for_what_is_kept(
    kept: bool, predicted: Predicted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(final_predictions, "AMBIGUITY_IMAGES", SAMPLE)
    monkeypatch.setattr("trainer.evaluation.ambiguity.LEAST_IMAGES", SAMPLE)
    monkeypatch.setattr(lockstep, "training_precision", lambda device: torch.bfloat16)
    result = run({"epochs": 1}, DATA, predict_test="if kept", worth_keeping=lambda report, average: kept)
    assert result.average is not None and result.average.ambiguity > 0.0
    assert predicted == [(SAMPLE, torch.bfloat16)] * FOLDS + [(ALL, None)] * FOLDS * kept
    if not kept:
        assert result.test is None
        return
    whole = run({"epochs": 1}, DATA)
    assert result.test is not None and whole.test is not None
    assert result.test.tobytes() == whole.test.tobytes(), "nothing of the sample stays"


@pytest.mark.parametrize("kept", [False, True])
def test_few_test_images_in_full_precision_are_predicted_once(kept: bool, predicted: Predicted) -> None:
    result = run({"epochs": 1}, DATA, predict_test="if kept", worth_keeping=lambda report, average: kept)
    assert predicted == [(ALL, None)] * FOLDS
    assert result.test is not None and np.isfinite(result.test).all()


def test_what_is_predicted_in_any_case_is_predicted_once(predicted: Predicted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(final_predictions, "AMBIGUITY_IMAGES", SAMPLE)
    monkeypatch.setattr(lockstep, "training_precision", lambda device: torch.bfloat16)
    run({"epochs": 1}, DATA, predict_test=True)
    assert predicted == [(ALL, None)] * FOLDS
