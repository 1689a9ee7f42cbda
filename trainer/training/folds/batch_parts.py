"""Training on a batch in parts: its division, and the buffers that a failed pass must leave as they were."""

from __future__ import annotations

from collections.abc import Iterator

import torch

_ONE_VALUE = "Expected more than 1 value per channel when training"


def divided(
    pixels: torch.Tensor, targets: torch.Tensor, micro_batch: int, least: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Images and targets in parts of at most ``micro_batch`` images, whose sizes differ by one at most.

    Args:
        least: images that a part has at least; it takes precedence over ``micro_batch``.
    """
    count = len(pixels)
    parts = max(1, min(-(-count // micro_batch), count // least))
    return zip(pixels.tensor_split(parts), targets.tensor_split(parts), strict=True)


def needs_two_images(error: BaseException) -> bool:
    """Whether batch normalisation refused a single image, whose map of one pixel has no variance."""
    return isinstance(error, ValueError) and _ONE_VALUE in str(error)


class Buffers:
    """The buffers of a network, such as the running statistics of batch normalisation, and a copy of each.

    A forward pass in training mode changes them. If it fails half-way, `restore` undoes that.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        buffers = list(model.buffers())
        # By type, because torch copies a list as one operation only if all its tensors have the same type.
        by_type = {buffer.dtype: [b for b in buffers if b.dtype is buffer.dtype] for buffer in buffers}
        self._groups = [(group, [torch.empty_like(buffer) for buffer in group]) for group in by_type.values()]

    def remember(self) -> None:
        """Copy the buffers as they are now."""
        for buffers, copies in self._groups:
            torch._foreach_copy_(copies, buffers)

    def restore(self) -> None:
        """Go back to the last `remember`."""
        for buffers, copies in self._groups:
            torch._foreach_copy_(buffers, copies)

    def copies(self) -> Iterator[torch.Tensor]:
        """The tensors of the copy."""
        for _, copies in self._groups:
            yield from copies
