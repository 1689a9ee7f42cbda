"""The last place in a network whose values still belong to places of the image: where a class-activation map is read.

Backbones differ in the layout of their values: channels first, channels last, or tokens with prefix tokens (class,
distillation, registers) before them. In some the last layers see the class token alone. So the place is found by what
a network does, not by its name: the last call of a layer

- whose output has the shape of a square grid (`to_grid`) with at least `LEAST_SIDE` places a side,
- whose gradient of a class score is not zero at `LEAST_REACHED` of the places,
- and that keeps corners apart: a change in one corner of the image changes this corner of the grid more, compared with
  another corner, than a change in the other corner does. The grids of convolutional networks need no such test: they
  have axes of their own, and a stride.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from trainer.maps.errors import NoMap

LEAST_SIDE = 4
"""Places a side; coarser grids are used only where a network has no finer one."""
LEAST_REACHED = 0.5
"""Share of the places of a grid that the gradient must reach."""
MOST_PREFIX_TOKENS = 16
MOST_TESTED = 8
"""Layers whose corners are compared, until one keeps them apart."""
FINEST = 4
"""Pixels a side of the smallest place. Finer grids are edges and colours."""


@dataclass(frozen=True)
class Place:
    """One call of a layer in a forward pass."""

    layer: str
    """Name of the module."""
    call: int
    """Which of its calls, from 0: some networks use a module several times."""
    prefix: int
    """Prefix tokens of its output."""


def class_score(logits: torch.Tensor, label: int, *, several_labels: bool = False) -> torch.Tensor:
    """How far the logit of a class is above the mean logit; ``logits`` have the shape ``(1, C)``.

    Where images may have several labels it is the logit itself, because each label is predicted by itself.
    """
    return logits[0, label] if several_labels else logits[0, label] - logits[0].mean()


def to_grid(values: torch.Tensor, prefix: int) -> torch.Tensor | None:
    """The output of a layer for one image as ``(channels, side, side)``; None if it has another shape.

    Args:
        prefix: tokens before those of places, where the output is a sequence of tokens.
    """
    if values.ndim == 4 and len(values) == 1:
        _, a, b, c = values.shape
        if b == c:
            return values[0]
        if a == b:
            return values[0].permute(2, 0, 1)
    if values.ndim == 3 and len(values) == 1 and values.shape[1] > prefix:
        side = math.isqrt(values.shape[1] - prefix)
        if side**2 == values.shape[1] - prefix:
            return values[0, prefix:].T.reshape(-1, side, side)
    return None


def find_place(model: torch.nn.Module, pixels: torch.Tensor, label: int, *, several_labels: bool = False) -> Place:
    """The place of the maps of ``model``, which is in evaluation mode.

    Args:
        pixels: a normalised image, float32 ``(1, 3, size, size)``.
        label: class whose score the gradient is of.
        several_labels: whether images may have several labels.

    Raises:
        NoMap: there is no such place.
    """
    candidates = _candidates(model, pixels, label, several_labels=several_labels)
    tested = 0
    for least_side in range(LEAST_SIDE, 1, -1):
        for place, side, is_certain in reversed(candidates):
            if side < least_side or (side > least_side and least_side < LEAST_SIDE):
                continue
            if is_certain or _keeps_corners(model, pixels, place):
                return place
            tested += 1
            if tested == MOST_TESTED:
                raise NoMap("the last values that its scores depend on do not belong to places of the image")
    raise NoMap("the score of a class does not depend on separate places of the image in any of its layers")


def _candidates(
    model: torch.nn.Module, pixels: torch.Tensor, label: int, *, several_labels: bool
) -> list[tuple[Place, int, bool]]:
    """Calls of layers whose output is a grid that the gradient reaches, its side, and whether that is certain."""
    size = pixels.shape[2]
    with torch.enable_grad(), outputs_of(model) as found:
        scores = model(pixels.clone().requires_grad_())
    grids = [
        (Place(layer=layer, call=call, prefix=prefix), values)
        for (layer, call), values in found.items()
        if values.requires_grad
        and (prefix := _prefix(model, values)) is not None
        and _side(values, prefix) * FINEST <= size
    ]
    if not grids:
        return []
    outputs = [values for _, values in grids]
    score = class_score(scores, label, several_labels=several_labels)
    gradients = torch.autograd.grad(score, outputs, allow_unused=True)
    return [
        (place, _side(values, place.prefix), _is_convolutional(values, size))
        for (place, values), gradient in zip(grids, gradients, strict=True)
        if gradient is not None and _reaches(gradient, place.prefix)
    ]


@contextmanager
def outputs_of(model: torch.nn.Module, only: str | None = None) -> Iterator[dict[tuple[str, int], torch.Tensor]]:
    """The outputs of the layers of ``model`` in the forward passes of the block, in their order.

    Args:
        only: name of one layer; None: all.

    Yields:
        A dictionary by name and number of the call, which fills during the block. Outputs that are no tensor of floats
        are left out.
    """
    found: dict[tuple[str, int], torch.Tensor] = {}
    calls: dict[str, int] = {}

    def record(name: str, output: object) -> None:
        call = calls[name] = calls.get(name, -1) + 1
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            found[name, call] = output

    def hook(name: str) -> torch.utils.hooks.RemovableHandle:
        layer = model.get_submodule(name)
        return layer.register_forward_hook(lambda module, arguments, output: record(name, output))

    handles = [hook(name) for name, _ in model.named_modules() if name and only in (None, name)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _prefix(model: torch.nn.Module, values: torch.Tensor) -> int | None:
    """Number of prefix tokens with which ``values`` are a grid; None if they are none."""
    declared = getattr(model, "num_prefix_tokens", 0)
    counts = [declared] if isinstance(declared, int) else []
    counts += [count for count in range(MOST_PREFIX_TOKENS + 1) if count not in counts]
    return next((count for count in counts if to_grid(values, count) is not None), None)


def _side(values: torch.Tensor, prefix: int) -> int:
    grid = to_grid(values, prefix)
    return 0 if grid is None else grid.shape[1]


def _is_convolutional(values: torch.Tensor, size: int) -> bool:
    """Whether the values are a grid with axes of their own, and its stride is a whole number or nearly a power of 2."""
    sides = {round_(size / 2**k) for k in range(2, 7) for round_ in (math.floor, math.ceil)}
    side = _side(values, 0) if values.ndim == 4 else 0
    return side > 0 and (side in sides or size % side == 0)


def _reaches(gradient: torch.Tensor, prefix: int) -> bool:
    grid = to_grid(gradient, prefix)
    if grid is None:
        return False
    strength = grid.abs().sum(dim=0)
    return bool((strength > 1e-3 * strength.max()).float().mean() >= LEAST_REACHED) and bool(strength.max() > 0)


def _marked(pixels: torch.Tensor, corner: int) -> torch.Tensor:
    """The image with one corner brighter; corners by row, then column."""
    marked, quarter = pixels.clone(), pixels.shape[2] // 4
    rows, columns = (slice(0, quarter) if at == 0 else slice(-quarter, None) for at in divmod(corner, 2))
    marked[:, :, rows, columns] += 1.0
    return marked


def _keeps_corners(model: torch.nn.Module, pixels: torch.Tensor, place: Place) -> bool:
    """Whether changes in two corners of the image never change each other's corner of the grid more than their own.

    The comparison is of pairs, because a network may react more strongly in one corner to any change.
    """
    grids = [_grid_of(model, image, place) for image in (pixels, *(_marked(pixels, corner) for corner in range(4)))]
    before, *after = (grid for grid in grids if grid is not None)
    if len(after) < 4 or any(grid.shape != before.shape for grid in after):
        return False
    shares = [_by_corner((grid - before).abs().sum(dim=0)) for grid in after]
    return all(
        shares[i][i] + shares[j][j] > shares[i][j] + shares[j][i] for i, j in itertools.combinations(range(4), 2)
    )


def _grid_of(model: torch.nn.Module, pixels: torch.Tensor, place: Place) -> torch.Tensor | None:
    with torch.no_grad(), outputs_of(model, place.layer) as found:
        model(pixels)
    values = found.get((place.layer, place.call))
    return None if values is None else to_grid(values, place.prefix)


def _by_corner(change: torch.Tensor) -> list[float]:
    """Mean change in each corner of a grid, as shares; corners by row, then column."""
    half = len(change) // 2
    ends = (slice(0, half), slice(-half, None))
    corners = torch.stack([change[rows, columns].mean() for rows in ends for columns in ends])
    shares: list[float] = (corners / corners.sum()).tolist()
    return shares
