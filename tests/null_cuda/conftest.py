"""The driver, built once for all tests, and a way to run a scenario with it in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.null_cuda.build import build, missing
from tests.null_cuda.gpu import LIBRARY_VARIABLE
from trainer.inference.resources import prepare_torch

ROOT = Path(__file__).parents[2]
TIMEOUT = 200  # seconds


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver's library. Tests are skipped where it cannot be built."""
    lacking = missing()
    if lacking:
        pytest.skip(f"the driver of a GPU that is not there cannot be built: {lacking}")
    return build(tmp_path_factory.mktemp("null_cuda"))


@pytest.fixture
def play(library: Path) -> Callable[..., dict[str, Any]]:
    """Run a scenario of `tests.null_cuda.scenarios` on a GPU of 8 GiB, with the settings of a worker."""

    def run(scenario: str, *arguments: str, capability: int = 90, settings: str | None = None) -> dict[str, Any]:
        environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "LD_LIBRARY_PATH": str(library.parent),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "NULL_GPU_CAPABILITY": str(capability),
            LIBRARY_VARIABLE: str(library),
        }
        if settings is not None:
            environment["PYTORCH_CUDA_ALLOC_CONF"] = settings
        prepare_torch(environment)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.null_cuda.scenarios", scenario, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=ROOT,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run
