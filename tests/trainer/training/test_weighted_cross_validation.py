"""Image weights change the scores of a cross-validation, but not its training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.training.support import after, competition, run
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets, mean_over
from trainer.training.results import ALWAYS_TRAINED, EpochReport, Verdict

WEIGHTS = np.where(np.arange(72) % 4 == 0, 3.0, 1.0 / 3.0)


@pytest.mark.slow
def test_reports_are_weighted_and_the_predictions_are_the_same() -> None:
    plain = competition()
    data = replace(plain, image_weights=WEIGHTS)
    data.folds[:6] = ALWAYS_TRAINED
    weighted, unweighted = run({"epochs": 2}, data), run({"epochs": 2}, replace(data, image_weights=None))
    assert weighted.oof.tobytes() == unweighted.oof.tobytes()
    last, before = weighted.reports[-1], unweighted.reports[-1]
    known = np.isfinite(weighted.oof[:, 0])
    assert (
        last.metric == score("accuracy", Targets(data.y[known], WEIGHTS[known]), weighted.oof[known]) != before.metric
    )
    assert (
        last.mean_true_probability == mean_over(last.true_class[known], WEIGHTS[known]) != before.mean_true_probability
    )
    first = data.folds == 0
    assert last.fold_metrics[0] == score("accuracy", Targets(data.y[first], WEIGHTS[first]), weighted.oof[first])
    assert (last.true_class[known] == before.true_class[known]).all()


@pytest.mark.slow
def test_a_checkpoint_of_other_weights_is_not_used(tmp_path: Path) -> None:
    data, file = replace(competition(), image_weights=WEIGHTS), tmp_path / "checkpoint"
    stop = after(1, Verdict.STOP)
    assert run(data=data, on_epoch=stop, checkpoint=file).status == "stopped"
    kept = file.read_bytes()
    for other, epochs in ((data, [2]), (replace(data, image_weights=WEIGHTS[::-1].copy()), [1, 2])):
        seen: list[int] = []

        def on_epoch(report: EpochReport, seen: list[int] = seen) -> Verdict:
            seen.append(report.epoch)
            return after(2, Verdict.PRUNE)(report)

        run(data=other, on_epoch=on_epoch, checkpoint=file)
        assert seen == epochs
        file.write_bytes(kept)


@pytest.mark.parametrize("weights", [np.ones(71), np.zeros(72), np.full(72, np.inf)])
def test_invalid_image_weights_are_refused(weights: np.ndarray) -> None:
    with pytest.raises(ValueError, match="72 finite weights above 0"):
        replace(competition(), image_weights=weights)
