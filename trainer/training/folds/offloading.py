"""Offloading: tensors move to host memory while others use the device, and return unchanged.

An offloaded tensor stays the same object; only its data moves. Optimizers, averages and everything else that refers to
the tensor need no change. The strides stay the same, so the same kernels run afterwards and give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch


class Offloader:
    """Host memory for one set of tensors, allocated at the first `offload` and reused afterwards.

    For a CUDA device the memory is pinned, because only copies from pinned memory run at the full speed of the bus. For
    the CPU as the device the copies are made as well, so that tests can check offloading without a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # By the tensor's id: the tensor and its copy.
        self._host_copies: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.is_offloaded = False
        """Whether the tensors are in host memory."""

    @torch.no_grad()
    def offload(self, tensors: Iterable[torch.Tensor]) -> None:
        """Move the tensors that are on the device to host memory. None of them may have a gradient.

        Raises:
            RuntimeError: the host is out of memory.
        """
        assert not self.is_offloaded, "load the tensors before offloading again"
        before, self._host_copies = self._host_copies, {}
        for tensor in tensors:
            if tensor.device.type != self._device.type or id(tensor) in self._host_copies:
                continue
            # `_host_copies` holds a reference to the tensor, so no other tensor can get the same id.
            known = before.get(id(tensor))
            host_copy = self._host_copy_for(tensor) if known is None or not _same_layout(known[1], tensor) else known[1]
            host_copy.copy_(tensor, non_blocking=True)
            self._host_copies[id(tensor)] = tensor, host_copy
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # the copies are complete and may be read
        for tensor, host_copy in self._host_copies.values():
            tensor.data = host_copy
        self.is_offloaded = True

    @torch.no_grad()
    def load(self) -> None:
        """Move the tensors back to the device; without a preceding `offload`, do nothing.

        Raises:
            torch.OutOfMemoryError: they do not fit; some of them may be back already.
        """
        if not self.is_offloaded:
            return
        for tensor, host_copy in self._host_copies.values():
            tensor.data = host_copy.to(self._device, non_blocking=True, copy=True)
        self.is_offloaded = False

    def _host_copy_for(self, tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(tensor, device="cpu", pin_memory=self._device.type == "cuda", requires_grad=False)


def _same_layout(host_copy: torch.Tensor, tensor: torch.Tensor) -> bool:
    return (host_copy.shape, host_copy.dtype, host_copy.stride()) == (tensor.shape, tensor.dtype, tensor.stride())
