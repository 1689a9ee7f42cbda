"""GPUs of a host without NVML (ROCm, Jetson, some containers), as torch lists them in a process of its own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from search.runtime.errors import SearchError

TIMEOUT = 180.0  # seconds; the import of torch from a cold network disk, and the start of CUDA on eight GPUs

NVIDIA = ("/dev/nvidiactl", "/dev/nvmap", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg")
AMD = ("/dev/kfd", "/dev/dxg")
"""Files that exist where a driver for GPUs is loaded. Without one, torch is not asked: its import takes seconds."""
HIP = "HIP_VISIBLE_DEVICES"

_PROGRAM = ("-P", "-m", "search.runtime.gpus.torch_report")  # -P: as in `search.engines.process`


class NoAnswer(SearchError):
    """The program did not end as it should; the message says how."""


def ask_torch(visible: str | None, *arguments: str) -> str:
    """What `search.runtime.gpus.torch_report` prints.

    Args:
        visible: ``CUDA_VISIBLE_DEVICES`` of the program; None: unset, it sees all GPUs.

    Raises:
        NoAnswer: torch or CUDA fails or hangs at its start.
    """
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    try:
        done = subprocess.run(
            [sys.executable, *_PROGRAM, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NoAnswer(f"torch has not started on it within {TIMEOUT:.0f} s") from error
    if done.returncode:
        last = next(reversed(done.stderr.strip().splitlines()), "") or f"exit code {done.returncode}"
        raise NoAnswer(f"torch fails at its start: {last}")
    return done.stdout.splitlines()[-1]


def names_by_torch() -> Sequence[str]:
    """The name of each GPU in torch's order; empty where no driver is loaded, or torch is no build for it.

    Raises:
        NoAnswer: see `ask_torch`.
    """
    if not driver_is_loaded(_torch_version()):
        return ()
    names: list[str] = json.loads(ask_torch(None, "list"))
    return names


def driver_is_loaded(torch_version: str) -> bool:
    """Whether there is a driver that this release of torch, such as ``2.9.0+rocm6.4``, was built for."""
    build = torch_version.partition("+")[2]
    if build.startswith("cpu"):
        return False
    files = [*(() if build.startswith("rocm") else NVIDIA), *(() if build.startswith("cu") else AMD)]
    return any(Path(file).exists() for file in files)


def _torch_version() -> str:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return "+cpu"


def use_cuda_names(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let ``CUDA_VISIBLE_DEVICES`` say which AMD GPUs are visible.

    ROCm reads it as well, but only without ``HIP_VISIBLE_DEVICES``.
    """
    if HIP in environment and Path(AMD[0]).exists():
        environment["CUDA_VISIBLE_DEVICES"] = environment.pop(HIP)
