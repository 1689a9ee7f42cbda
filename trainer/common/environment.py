"""The environment of a process: installed libraries, their versions, whether torch and torchvision fit, CPU cores."""

from __future__ import annotations

import importlib
import os
import platform
import re
from importlib import metadata
from pathlib import Path

from trainer.common.errors import TrainerError

RECORDED = ("retable", "torch", "torchvision", "timm", "albumentations", "numpy", "pillow", "safetensors")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where a container reads its limit: microseconds of CPU time in each period, and the period."""


class EnvironmentProblem(TrainerError):
    """The installed libraries cannot work together; the message holds the command that mends it."""


def library_versions() -> dict[str, str]:
    """Versions of `RECORDED` and "python" by distribution name; missing libraries are left out. Imports nothing."""
    versions = {"python": platform.python_version()}
    for name in RECORDED:
        version = _version(name)
        if version is not None:
            versions[name] = version
    return versions


def cpu_name() -> str:
    """The processor's model on Linux; its architecture on other systems."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def usable_cores(quota: Path = CPU_QUOTA) -> int:
    """Number of CPU cores that this process may use.

    That is its affinity (``taskset``, Slurm), limited by the CPU share of its container (Kubernetes limits).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        share, period = quota.read_text().split()
        return min(cores, max(1, int(share) // int(period)))
    except (OSError, ValueError):
        # No such file, or no limit: it reads "max 100000" then.
        return cores


def thread_limit() -> int | None:
    """The number of threads that ``OMP_NUM_THREADS`` allows; None: it is not set, or holds no number from 1 to 9999.

    OpenMP also takes a list such as ``4,2``, one number for each level of nested parallelism. The first one counts.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if re.fullmatch(r"0*[1-9][0-9]{0,3}", first) else None


def check_torch_pair(*, thorough: bool = False) -> None:
    """Check that torchvision was built for the installed torch; call it before the import of timm.

    The installed versions show in milliseconds whether a mismatch is possible. Only in that case is torchvision
    imported; the import decides.

    Args:
        thorough: import torchvision in any case, as for a worker, which needs it anyway.

    Raises:
        EnvironmentProblem: torch or torchvision is missing, or they do not fit: releases that are no pair, or builds of
            different package indexes. torchvision then fails with "operator torchvision::nms does not exist".
    """
    torch_version, vision_version = _version("torch"), _version("torchvision")
    if torch_version is None or vision_version is None:
        missing = " and ".join(name for name in ("torch", "torchvision") if _version(name) is None)
        raise EnvironmentProblem(f"not installed: {missing}; install both together: pip install torch torchvision")
    requirements = metadata.requires("torchvision") or []
    if not (thorough or looks_unpaired(torch_version, vision_version, requirements)):
        return
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError, AttributeError) as error:  # each occurs with mismatched builds
        raise EnvironmentProblem(
            f"torch {torch_version} and torchvision {vision_version} do not fit each other ({error}). "
            "They must be releases of one pair and come from the same package index. To repair it:\n"
            "    pip install --force-reinstall torch torchvision"
        ) from error


def looks_unpaired(torch_version: str, vision_version: str, vision_requires: list[str]) -> bool:
    """Whether two version strings and torchvision's requirements suggest a mismatch.

    ``2.6.0+cpu`` and ``0.21.0`` are builds of different package indexes, and a torchvision that requires
    ``torch==2.6.0`` cannot use another release. Locally compiled builds may look mismatched and still work.
    """
    torch_release, _, torch_build = torch_version.partition("+")
    vision_build = vision_version.partition("+")[2]
    pins = [match[1] for text in vision_requires if (match := re.match(r"torch\s*\(?==\s*([\w.]+)", text))]
    return torch_build != vision_build or any(pin != torch_release for pin in pins)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
