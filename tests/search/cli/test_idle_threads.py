"""The threads of torch sleep while they wait, in every process of Retable: OpenMP itself reports its settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.engines.interface import WorkerCommand
from search.engines.local import LocalFleet
from search.runtime.gpus.placement import Placement
from search.study_state.study import Study
from trainer.inference.resources import PASSIVE_WAITING

pytestmark = pytest.mark.slow

REPORT = {"OMP_DISPLAY_ENV": "VERBOSE"}
"""OpenMP prints its settings on standard error when it is loaded; each library may bring its own."""


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PASSIVE_WAITING:
        monkeypatch.delenv(name, raising=False)


def spin_counts(text: str) -> set[str]:
    """How often threads look again before they sleep, in all reports of a text."""
    return set(re.findall(r"GOMP_SPINCOUNT = '(\w+)'", text))


def from_command_line(cwd: Path, **variables: str) -> set[str]:
    """The spin counts of a command that imports torch."""
    done = subprocess.run(
        [sys.executable, "-m", "search.cli", "backbones", "test_resnet"],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **REPORT, **variables},
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return spin_counts(done.stderr)


def test_a_command_that_imports_torch_does_not_spin(tmp_path: Path) -> None:
    assert from_command_line(tmp_path) == {"0"}


def test_what_the_user_has_set_stays_in_force(tmp_path: Path) -> None:
    assert from_command_line(tmp_path, GOMP_SPINCOUNT="77") == {"77"}


def test_a_worker_does_not_spin(
    tmp_path: Path, url: str, stored: Study, competition_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_DISPLAY_ENV", "VERBOSE")
    command = WorkerCommand(study=stored.name, storage_url=url, data=competition_folder, home=tmp_path / "home")
    log = tmp_path / "logs" / "worker-0.log"
    deadline = time.monotonic() + 200.0
    with LocalFleet(command, Placement(gpus=(None,), threads=2), log.parent) as fleet:
        while "training images" not in log.read_text():
            assert fleet.poll() and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
    assert spin_counts(log.read_text()) == {"0"}
