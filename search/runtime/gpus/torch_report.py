"""What the installed torch can do with the GPUs that it sees.

Run as a program, so that CUDA starts in a process of its own: ``python -m search.runtime.gpus.torch_report``. It
prints a JSON object: ``cuda``, why torch can use no GPU at all, and ``gpus``, for each GPU why torch cannot use that
one. Empty strings mean that it can. With the argument ``list`` it prints a JSON list of the names of the GPUs.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from typing import TYPE_CHECKING

from trainer.common.memory_errors import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence


def no_cuda() -> str:
    """Why torch cannot use any GPU here; empty: it can use some."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `is_available` warns where `init` raises the same
        if torch.cuda.is_available():
            return "" if torch.cuda.device_count() else "CUDA finds no GPU"
        if torch.version.cuda is None and torch.version.hip is None:
            return (
                f"torch {torch.__version__} is a build without CUDA; pytorch.org names the command that installs one "
                "with it, with --force-reinstall"
            )
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
        except (RuntimeError, AssertionError, OSError) as error:
            return f"torch {torch.__version__} for CUDA {torch.version.cuda} cannot start: {_first_line(error)}"
    return f"torch {torch.__version__} for CUDA {torch.version.cuda} finds no GPU"


def no_architecture(index: int) -> str:
    """Why the installed torch cannot compute on the GPU's architecture; empty: it can.

    Args:
        index: the GPU's number in torch.
    """
    import torch

    built, capability = torch.cuda.get_arch_list(), torch.cuda.get_device_capability(index)
    if runs_on(capability, built):
        return ""
    return (
        f"torch {torch.__version__} has no code for compute capability {capability[0]}.{capability[1]}, only "
        f"{' '.join(built)}; for an older GPU take an older release of torch, or its build for an older CUDA"
    )


def runs_on(capability: tuple[int, int], built: Sequence[str]) -> bool:
    """Whether code for one of the architectures ``built`` runs on a GPU of this compute capability.

    ``sm_86`` runs on the same major version and this or a later minor one, ``sm_90a`` on exactly that version.
    ``compute_86`` is compiled for any later version when it is loaded. Other names, such as AMD's, are not judged.
    """
    parsed = [match.groups() for name in built if (match := re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", name))]
    if not parsed:
        return True
    for kind, major, minor, suffix in parsed:
        version = (int(major), int(minor))
        if suffix == "a":
            fits = version == capability
        elif kind == "sm" or suffix:
            fits = version[0] == capability[0] and version[1] <= capability[1]
        else:
            fits = version <= capability
        if fits:
            return True
    return False


def fault(index: int) -> str:
    """Why torch cannot compute on this GPU; empty: it can, or lacks only the memory at the moment."""
    import torch

    reason = no_architecture(index)
    if reason:
        return reason
    try:
        torch.ones(8, device=f"cuda:{index}").sum().item()
    except RuntimeError as error:
        # Memory that other programs hold may come back.
        return "" if is_out_of_memory(error) else _first_line(error)
    return ""


def report() -> dict[str, str | list[str]]:
    """What the program prints."""
    import torch

    reason = no_cuda()
    return {"cuda": reason, "gpus": [] if reason else [fault(index) for index in range(torch.cuda.device_count())]}


def names() -> list[str]:
    """The name of each GPU that torch sees, in its order; empty if it can use none."""
    import torch

    return [] if no_cuda() else [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


if __name__ == "__main__":
    print(json.dumps(names() if sys.argv[1:] == ["list"] else report()))
