"""Offloading: tensors move to host memory while others use the device, and return unchanged.

An offloaded tensor stays the same object; only its data moves. Optimizers, averages and everything else that refers to
the tensor need no change. The strides stay the same, so the same kernels run afterwards and give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from trainer.common.memory_errors import is_out_of_memory

CHUNK = 2**22
"""Bytes of host memory that are allocated at a time. torch rounds pinned memory up to a power of two, so many tensors
share a chunk instead of being rounded one by one.
"""
SMALLEST_CHUNK = 2**14  # bytes
ALIGNMENT = 64  # bytes


class Offloader:
    """Host memory for one set of tensors, allocated at the first `offload` and reused afterwards.

    For a CUDA device the memory is pinned, because only copies from pinned memory run at the full speed of the bus. For
    the CPU as the device the copies are made as well, so that tests can check offloading without a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._host_memory = HostMemory(is_pinned=device.type == "cuda")
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
            reused = known is not None and _same_layout(known[1], tensor)
            host_copy = known[1] if known is not None and reused else self._host_memory.like(tensor)
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


class HostMemory:
    """Chunks of host memory, divided among tensors. All of it is freed together, with the last of the tensors.

    Args:
        is_pinned: whether to pin the memory. Where the system refuses that, the rest is not pinned.
    """

    def __init__(self, *, is_pinned: bool) -> None:
        self._is_pinned = is_pinned
        # By type, because `torch.save` refuses memory that is seen as several types; each chunk with its used elements.
        self._chunks: dict[torch.dtype, list[tuple[torch.Tensor, int]]] = {}

    def like(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of the same shape, type and strides, with any values.

        Raises:
            RuntimeError: the host is out of memory.
        """
        layout = torch.empty_like(tensor, device="meta", requires_grad=False)  # dense, whatever the tensor is
        chunks, step = self._chunks.setdefault(layout.dtype, []), ALIGNMENT // layout.itemsize
        room = -(-layout.numel() // step) * step
        number = next((n for n, (chunk, used) in enumerate(chunks) if used + room <= len(chunk)), len(chunks))
        if number == len(chunks):
            so_far = sum(len(chunk) for chunk, _ in chunks) * layout.itemsize
            size = max(room * layout.itemsize, min(CHUNK, max(SMALLEST_CHUNK, so_far)))
            chunks.append((self._new_chunk((1 << (size - 1).bit_length()) // layout.itemsize, layout.dtype), 0))
        chunk, used = chunks[number]
        chunks[number] = chunk, used + room
        return chunk.as_strided(layout.shape, layout.stride(), used)

    def _new_chunk(self, elements: int, dtype: torch.dtype) -> torch.Tensor:
        try:
            return torch.empty(elements, dtype=dtype, pin_memory=self._is_pinned)
        except RuntimeError as error:
            if not (self._is_pinned and is_out_of_memory(error)):
                raise
        self._is_pinned = False
        return torch.empty(elements, dtype=dtype)


def _same_layout(host_copy: torch.Tensor, tensor: torch.Tensor) -> bool:
    return (host_copy.shape, host_copy.dtype, host_copy.stride()) == (tensor.shape, tensor.dtype, tensor.stride())
