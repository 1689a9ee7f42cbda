"""The driver, built once for all tests, and a way to run a scenario with it in a process of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fork_server import ForkServer
from tests.null_cuda.build import build, missing
from tests.null_cuda.gpu import LIBRARY_VARIABLE
from trainer.inference.resources import prepare_torch

ROOT = Path(__file__).parents[2]
TIMEOUT = 200  # seconds
MODULES = ("tests.null_cuda.scenarios", "timm.optim", "scipy.optimize")
"""With what a training imports when it needs it."""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver's library. Tests are skipped where it cannot be built."""
    lacking = missing()
    if lacking:
        pytest.skip(f"the driver of a GPU that is not there cannot be built: {lacking}")
    return build(tmp_path_factory.mktemp("null_cuda"))


@pytest.fixture(scope="session")
def servers(library: Path) -> Iterator[Callable[[str | None], ForkServer]]:
    """A process that has imported torch with the driver, by settings of the allocator, which torch reads once."""
    started: dict[str | None, ForkServer] = {}

    def server(settings: str | None) -> ForkServer:
        environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "LD_LIBRARY_PATH": str(library.parent),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "OMP_NUM_THREADS": "1",
            LIBRARY_VARIABLE: str(library),
        }
        if settings is not None:
            environment["PYTORCH_CUDA_ALLOC_CONF"] = settings
        prepare_torch(environment)
        return started.setdefault(settings, ForkServer(MODULES, environment))

    yield server
    for each in started.values():
        each.close()


@pytest.fixture
def play(servers: Callable[[str | None], ForkServer], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run a scenario of `tests.null_cuda.scenarios` on a GPU of 8 GiB, with the settings of a worker."""

    def run(scenario: str, *arguments: str, capability: int = 90, settings: str | None = None) -> dict[str, Any]:
        server = servers(settings)
        done = server.run(
            "tests.null_cuda.scenarios:main",
            ["scenarios", scenario, str(capability), *arguments],
            environment=server.environment,
            folder=ROOT,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run
