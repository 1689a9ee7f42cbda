"""Copies from host memory to the device of a training."""

from __future__ import annotations

import torch


def send(host: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy on the device; the same tensor if the device is the CPU.

    To a GPU, the copy is queued like a kernel. It comes from pinned memory, because a copy from pageable memory would
    wait until the GPU has done everything that is queued.
    """
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)
