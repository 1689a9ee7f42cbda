"""Expected averages in recorded tables: they are read, choose winners, and are compared with the true scores."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.replays.curve_tables import CurveTable, CurveTableError, calibrated_soft, load_table
from benchmarks.replays.regret import FIRST, prepare, selection_scores_of
from benchmarks.replays.score_honesty import replay
from trainer.evaluation.ambiguity import expected_average
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import scale_temperature

R, S, K, N, M, C = 16, 2, 3, 900, 600, 4
STEADY, RESTLESS = 0.3, 0.7
"""Standard deviation of a network's logits around the mean logits of its recipe."""


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float32)


def recorded() -> dict[str, Any]:
    """A table whose odd recipes are as good as the even ones of a network alone, and better as an average: what their
    networks have in common is better, and they differ more.
    """
    generator = np.random.default_rng(0)
    y, test_y = generator.integers(0, C, N), generator.integers(0, C, M)
    arrays: dict[str, list[Any]] = {
        name: [] for name in ("oof", "fold_test", "ens_test", "ens_hits", "brier", "ambiguity", "temperature")
    }
    for recipe in range(R):
        noise, skill = (RESTLESS, 1.65) if recipe % 2 else (STEADY, 1.4)
        rows: dict[str, list[Any]] = {name: [] for name in arrays}
        hard, test_hard = generator.normal(0.0, 0.8, (N, C)), generator.normal(0.0, 0.8, (M, C))
        for _ in range(S):
            own = skill * np.eye(C)[y] + hard + noise * generator.normal(0.0, 1.0, (N, C))
            tests = skill * np.eye(C)[test_y] + test_hard + noise * generator.normal(0.0, 1.0, (K, M, C))
            oof, by_fold = softmax(own), softmax(tests)
            hits = by_fold.mean(axis=0).argmax(axis=1) == test_y
            rows["oof"].append(oof)
            rows["fold_test"].append((by_fold.argmax(axis=2) == test_y).mean(axis=1))
            rows["ens_test"].append(hits.mean())
            rows["ens_hits"].append(hits)
            for name, value in asdict(expected_average(Targets(y), oof, list(by_fold))).items():
                rows[name].append(value)
        for name, values in rows.items():
            arrays[name].append(values)
    first = np.array(arrays["oof"])[:, 0]
    folds = np.arange(N) % K
    hits = first.argmax(axis=2) == y
    return {
        **{name: np.array(values) for name, values in arrays.items()},
        "true_class": first[:, None, np.arange(N), y],
        "metric": hits.mean(axis=1)[:, None],
        "fold_metrics": np.stack([hits[:, folds == fold].mean(axis=1) for fold in range(K)], axis=1)[:, None],
        "seconds": np.ones((R, 1)),
        "folds": np.stack([folds] * S),
        "y": y,
        "weights": np.full(M, 1.0 / M),
        "recipes": "[" + ", ".join(["{}"] * R) + "]",
    }


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> CurveTable:
    path = tmp_path_factory.mktemp("curves") / "averages.npz"
    np.savez_compressed(path, **recorded())
    return load_table(path)


def test_expected_averages_are_read(curves: CurveTable) -> None:
    arrays = recorded()
    assert curves.average(3, 1).brier == pytest.approx(arrays["brier"][3, 1])
    assert curves.average(3, 1).ambiguity == pytest.approx(arrays["ambiguity"][3, 1])
    assert curves.only(np.array([4, 3])).average(1, 1) == curves.average(3, 1)


@pytest.mark.parametrize("damage", [np.full((R, S), np.nan), np.zeros((R, S + 1))], ids=["nan", "shape"])
def test_damaged_averages_are_refused(damage: NDArray[np.float64], tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "damaged.npz", **{**recorded(), "brier": damage})
    with pytest.raises(CurveTableError, match="brier"):
        load_table(tmp_path / "damaged.npz")


def test_winners_are_chosen_by_their_average(curves: CurveTable) -> None:
    selection_scores, exported = selection_scores_of(curves), prepare(curves, of_averages=True).truth
    assert (
        np.corrcoef(selection_scores[FIRST], exported)[0, 1]
        > np.corrcoef(selection_scores["as one network"], exported)[0, 1] + 0.1
    )
    assert selection_scores[FIRST].argmax() % 2 == 1, "one whose networks differ"
    assert prepare(curves).truth == pytest.approx(curves.truth)


def test_the_forecast_includes_the_averaging_gain(curves: CurveTable) -> None:
    generator = np.random.default_rng(0)
    searches = [replay(curves, generator) for _ in range(30)]
    # Networks that differ by noise alone gain less by averaging than their ambiguity says: 6 points, not 9.
    assert 0.0 < np.mean([one.averaging for one in searches]) < 4.0
    assert abs(np.mean([one.forecast for one in searches])) < 4.0
    assert abs(np.mean([one.honest for one in searches])) < 1.5
    assert np.mean([one.covered for one in searches]) > 0.75


def test_the_calibrated_score_does_not_depend_on_confidence() -> None:
    generator = np.random.default_rng(0)
    proba = generator.dirichlet(np.full(5, 0.7), 2000)
    y = np.array([generator.choice(5, p=row) for row in proba], dtype=np.int64)
    scores = [calibrated_soft(y, scale_temperature(proba, t)) for t in (0.5, 1.0, 2.0)]
    assert scores == pytest.approx([scores[1]] * 3, abs=2e-3)
    raw = [float(scale_temperature(proba, t)[np.arange(len(y)), y].mean()) for t in (0.5, 2.0)]
    assert raw[0] - raw[1] > 0.05, "uncalibrated, it does"
