"""What several files of tests about trainings share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trainer.training.support import competition, run


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``shapes``, trained weights of the tests' network, without a classifier."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("weights")
    trained = run({"epochs": 3}, competition(n=120, seed=5), keep_models=True)
    body = {name: tensor for name, tensor in trained.models[0].items() if not name.startswith("fc.")}
    torch.save(body, folder / "shapes.pth")
    return folder
