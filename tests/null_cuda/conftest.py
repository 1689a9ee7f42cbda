"""The driver, built once for all tests, and a way to run a scenario with it in a process of its own."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.null_cuda.build import build, missing
from tests.null_cuda.gpu import LIBRARY_VARIABLE
from trainer.inference.resources import prepare_torch

if TYPE_CHECKING:
    from tests.null_cuda.scenarios import Request  # needs the driver to be imported

ROOT = Path(__file__).parents[2]
TIMEOUT = 200  # seconds


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver's library. Tests are skipped where it cannot be built."""
    lacking = missing()
    if lacking:
        pytest.skip(f"the driver of a GPU that is not there cannot be built: {lacking}")
    return build(tmp_path_factory.mktemp("null_cuda"))


class Server:
    """A process that has imported torch with the driver, and forks for each scenario."""

    def __init__(self, library: Path, settings: str | None) -> None:
        """
        Args:
            settings: of torch's allocator; None: those of a worker.
        """
        environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "LD_LIBRARY_PATH": str(library.parent),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            LIBRARY_VARIABLE: str(library),
        }
        if settings is not None:
            environment["PYTORCH_CUDA_ALLOC_CONF"] = settings
        prepare_torch(environment)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.null_cuda.scenarios"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )

    def run(self, request: Request) -> int | None:
        """The exit code of a scenario; None: it takes longer than `TIMEOUT`, or the server has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        answers, _, _ = select.select([self._process.stdout], [], [], TIMEOUT)
        answer = self._process.stdout.readline() if answers else b""
        if not answer:
            self.close()
            return None
        return int(answer)

    def has_ended(self) -> bool:
        """Whether the process has ended, with `close` or by itself."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the server, and a scenario that still runs."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@pytest.fixture(scope="session")
def servers(library: Path) -> Iterator[Callable[[str | None], Server]]:
    """The server with given settings of torch's allocator, which torch reads once in a process."""
    started: dict[str | None, Server] = {}

    def server(settings: str | None) -> Server:
        if settings not in started or started[settings].has_ended():
            started[settings] = Server(library, settings)
        return started[settings]

    yield server
    for each in started.values():
        if not each.has_ended():
            each.close()


@pytest.fixture
def play(servers: Callable[[str | None], Server], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run a scenario of `tests.null_cuda.scenarios` on a GPU of 8 GiB, with the settings of a worker."""

    def run(scenario: str, *arguments: str, capability: int = 90, settings: str | None = None) -> dict[str, Any]:
        output, errors = tmp_path / "findings.json", tmp_path / "errors.txt"
        output.unlink(missing_ok=True)
        code = servers(settings).run(
            {
                "scenario": scenario,
                "arguments": list(arguments),
                "capability": capability,
                "output": str(output),
                "errors": str(errors),
            }
        )
        assert code == 0, errors.read_text()[-3000:] if errors.exists() else "the scenario has not begun"
        found: dict[str, Any] = json.loads(output.read_text())
        return found

    return run
