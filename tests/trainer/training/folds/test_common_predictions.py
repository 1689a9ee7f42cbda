"""Fold models with frozen layers predict together, and what they predict is what each of them predicts alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.training.support import competition, run
from trainer.inference.networks.common_layers import Together, joined
from trainer.networks.view_averaging import FLIPS
from trainer.training.folds import fold_predictor
from trainer.training.folds.fold_predictor import FoldPredictor
from trainer.training.results import ALWAYS_TRAINED, CVResult

FROZEN: dict[str, Any] = {"init": "shapes", "norm": "frozen", "freeze": 0.5, "epochs": 2}
WISE: dict[str, Any] = {**FROZEN, "head": "probe", "wise_ft": True}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights that have learned the shapes."""
    folder = tmp_path_factory.mktemp("weights")
    trained = run({"epochs": 1}, keep_models=True)
    torch.save({k: v for k, v in trained.models[0].items() if not k.startswith("fc.")}, folder / "shapes.pth")
    return folder


def trained(changes: dict[str, Any], weights: Path) -> CVResult:
    return run(changes, competition(36), weights_dir=weights, views=FLIPS, keep_models=True)


@contextmanager
def apart(networks: Sequence[torch.nn.Module], side: int) -> Iterator[None]:
    """In place of `joined`."""
    yield None


def assert_close(one: CVResult, other: CVResult) -> None:
    assert one.test is not None and other.test is not None
    np.testing.assert_allclose(one.test, other.test, atol=1e-6)
    np.testing.assert_allclose(one.oof, other.oof, atol=1e-6)
    assert one.test_views.keys() == other.test_views.keys()
    for view, proba in one.test_views.items():
        np.testing.assert_allclose(proba, other.test_views[view], atol=1e-6)
    assert one.average is not None and other.average is not None
    assert one.average.ambiguity == pytest.approx(other.average.ambiguity, abs=1e-6)
    assert one.machine.get("start_share") == other.machine.get("start_share")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("changes", [FROZEN, WISE, {**FROZEN, "ema": 0.9}, {**FROZEN, "freeze": 1.0}])
def test_together_they_predict_what_each_predicts_alone(
    changes: dict[str, Any], threads: int, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(threads)
    used: list[int] = []

    @contextmanager
    def noting(networks: Sequence[torch.nn.Module], side: int) -> Iterator[Together | None]:
        with joined(networks, side) as together:
            used.append(0 if together is None else len(networks))
            yield together

    monkeypatch.setattr(fold_predictor, "joined", noting)
    together = trained(changes, weights)
    assert used and all(used)
    monkeypatch.setattr(fold_predictor, "joined", apart)
    assert_close(together, trained(changes, weights))


def test_where_memory_runs_out_each_predicts_alone(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained(WISE, weights)
    alone: list[int] = []
    original = FoldPredictor._predict_chunk

    def scarce(self: FoldPredictor, network: Any, *rest: Any) -> Any:
        if isinstance(network, Together):
            raise torch.OutOfMemoryError("out of memory")
        alone.append(1)
        return original(self, network, *rest)

    monkeypatch.setattr(FoldPredictor, "_predict_chunk", scarce)
    assert_close(trained(WISE, weights), expected)
    assert alone


def test_a_single_network_has_nothing_in_common(weights: Path) -> None:
    data = replace(competition(36), folds=np.full(36, ALWAYS_TRAINED))
    result = run(WISE, data, weights_dir=weights, views=FLIPS)
    assert result.test is not None and np.isfinite(result.test).all()
