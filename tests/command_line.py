"""The command line in processes of its own, without the seconds in which a new process imports torch and timm."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.fork_server import ForkServer
from trainer.inference.resources import prepare_torch

ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("RETABLE_")},
    "OMP_NUM_THREADS": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "COLUMNS": "120",
}
MODULES = (
    *("search.cli.app", "search.workflow.start", "search.workflow.replay", "search.workflow.export.export_best"),
    *("search.report.checks.check", "search.report.status", "search.report.study_list", "search.worker.run_worker"),
    *("trainer.inference.predict", "storage.stores", "timm.optim", "scipy.optimize", "sklearn.metrics"),
)
"""What commands import when they need it."""


class CommandLine:
    """The program ``search``."""

    def __init__(self) -> None:
        environment = dict(ENVIRONMENT)
        prepare_torch(environment)  # as `main` does, before torch is imported
        self._server = ForkServer(MODULES, environment)

    def run(
        self,
        *arguments: str | Path,
        cwd: Path,
        environment: Mapping[str, str] = ENVIRONMENT,
        timeout: float = 240.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``search`` with arguments to its end.

        Args:
            timeout: seconds.
        """
        return self._server.run(
            "search.cli.app:main",
            ["search", *map(str, arguments)],
            environment=environment,
            folder=cwd,
            timeout=timeout,
        )

    def close(self) -> None:
        """End the process that runs commands."""
        self._server.close()
