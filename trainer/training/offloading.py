"""Tensors that wait in host memory while others use the device, and come back as they were.

A parked tensor stays the same object: only its data moves, so that optimizers, averages and whoever else refers to it
go on without being told. Strides are kept, so that the same kernels run afterwards, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch


class Parking:
    """Host memory for one set of tensors, made when they are first parked and kept for the next time.

    On CUDA it is pinned, which is what copies run at the full speed of the bus from. Where the device is the CPU itself
    the copies are made all the same: nothing is gained, and tests see what happens.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._places: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # tensor and its place, by the tensor's id
        self.is_taken = False
        """Whether the tensors are in host memory now."""

    @torch.no_grad()
    def park(self, tensors: Iterable[torch.Tensor]) -> None:
        """Move those of ``tensors`` that are on the device to the host; their gradients have to be gone.

        Raises:
            RuntimeError: the host has no memory for them.
        """
        assert not self.is_taken, "what is parked is brought back first"
        before, self._places = self._places, {}
        for tensor in tensors:
            if tensor.device.type != self._device.type or id(tensor) in self._places:
                continue
            # The reference held here keeps the id from being another tensor's.
            known = before.get(id(tensor))
            place = self._place_for(tensor) if known is None or not _alike(known[1], tensor) else known[1]
            place.copy_(tensor, non_blocking=True)
            self._places[id(tensor)] = tensor, place
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # from here on anybody may read the host's copy
        for tensor, place in self._places.values():
            tensor.data = place
        self.is_taken = True

    @torch.no_grad()
    def unpark(self) -> None:
        """Bring everything back to the device; what is not parked stays as it is.

        Raises:
            torch.OutOfMemoryError: there is no room; some may be back already.
        """
        if not self.is_taken:
            return
        for tensor, place in self._places.values():
            tensor.data = place.to(self._device, non_blocking=True, copy=True)
        self.is_taken = False

    def _place_for(self, tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(tensor, device="cpu", pin_memory=self._device.type == "cuda", requires_grad=False)


def _alike(place: torch.Tensor, tensor: torch.Tensor) -> bool:
    return (place.shape, place.dtype, place.stride()) == (tensor.shape, tensor.dtype, tensor.stride())
