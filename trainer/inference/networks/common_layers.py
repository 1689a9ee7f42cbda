"""Networks whose lower layers are equal, such as fold models with frozen layers, predict together.

The equal layers run once for all networks. Which layers these are shows in the weights and in the order in which the
first network calls its modules; a trial on random images decides whether joining them changes a prediction.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import torch

MOST_TRIALS = 12
"""Places at which the networks are divided for a trial. Inside of a residual block, the output of a layer does not
suffice: what bypasses the layer is needed as well."""


@dataclass(kw_only=True, eq=False)
class _Outputs(threading.local):
    """What the equal modules of the first network returned last, in this thread."""

    by_name: dict[str, torch.Tensor] = field(default_factory=dict)


class Together(torch.nn.Module):
    """Networks with equal lower layers: (n, 3, side, side) to logits (n, networks, classes).

    Only inside of `joined`. Several threads may call it at the same time.
    """

    def __init__(self, networks: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList(networks)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.stack([network(pixels) for network in self.networks], dim=1)


@contextmanager
def joined(networks: Sequence[torch.nn.Module], side: int) -> Iterator[Together | None]:
    """Join networks of one architecture until the end of the block; None if that would not save anything.

    Meanwhile, the networks give right results only as parts of the `Together`.

    Args:
        networks: in evaluation mode, on one device.
        side: of their input images in pixels.
    """
    if len(networks) > 1 and (names := _equal_modules(networks, side)):
        together = Together(networks).eval()
        drawn = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
        pixels = drawn.to(next(together.parameters()).device)
        with torch.no_grad():
            apart = together(pixels)
        for last in range(len(names), max(0, len(names) - MOST_TRIALS), -1):
            with _replayed(networks, names[:last]):
                with torch.no_grad():
                    same = torch.equal(together(pixels), apart)
                if same:
                    yield together
                    return
    yield None


@contextmanager
def _replayed(networks: Sequence[torch.nn.Module], names: Sequence[str]) -> Iterator[None]:
    """Let the modules ``names`` of the first network run, and those of the others return what these returned.

    Only the last output matters. Those before it get the right shape, because operations between the modules, such as
    the addition of position embeddings, still take place.
    """
    outputs = _Outputs()
    with ExitStack() as stack:
        for name in names:
            keep = _keep_in(outputs, name, whole=name == names[-1])
            stack.callback(networks[0].get_submodule(name).register_forward_hook(keep).remove)
            for network in networks[1:]:
                module = network.get_submodule(name)
                module.forward = _return_from(outputs, name)
                stack.callback(module.__dict__.pop, "forward")
        yield


def _keep_in(outputs: _Outputs, name: str, *, whole: bool) -> Callable[..., None]:
    def hook(_: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        # A copy, because the next operation may work in place.
        outputs.by_name[name] = output.detach().clone() if whole else output.new_zeros(()).expand(output.shape)

    return hook


def _return_from(outputs: _Outputs, name: str) -> Callable[..., torch.Tensor]:
    return lambda *inputs, **options: outputs.by_name[name].clone()


def _equal_modules(networks: Sequence[torch.nn.Module], side: int) -> list[str]:
    """Names of the largest modules whose tensors are equal in all networks, in the order in which they return.

    Only those that return before a module with other tensors is called, each of them once, with a tensor.
    """
    first, equal = networks[0], _equal_tensors(networks)
    returned: list[tuple[str, bool] | None] = []  # each name, and whether the output is a tensor; None: other tensors

    def note(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: returned.append((name, isinstance(output, torch.Tensor)))

    largest: list[str] = []
    with ExitStack() as stack:
        for name, module in first.named_modules():
            inner = [f"{name}.{tensor}".removeprefix(".") for tensor in _tensor_names(module, recurse=True)]
            own = [f"{name}.{tensor}".removeprefix(".") for tensor in _tensor_names(module, recurse=False)]
            if any(name.startswith(f"{outer}.") for outer in largest):
                continue
            if inner and all(tensor in equal for tensor in inner):
                largest.append(name)
                stack.callback(module.register_forward_hook(note(name)).remove)
            elif name and any(tensor not in equal for tensor in own):
                stack.callback(module.register_forward_pre_hook(lambda *_: returned.append(None)).remove)
        with torch.no_grad():
            first(torch.zeros(1, 3, side, side, device=next(first.parameters()).device))
    before = [*takewhile(lambda each: each is not None, returned)]
    names = [each[0] for each in before if each is not None and each[1]]
    return names if len(set(names)) == len(before) and "" not in names else []


def _tensor_names(module: torch.nn.Module, *, recurse: bool) -> list[str]:
    parameters, buffers = module.named_parameters(recurse=recurse), module.named_buffers(recurse=recurse)
    return [name for name, _ in (*parameters, *buffers)]


def _equal_tensors(networks: Sequence[torch.nn.Module]) -> frozenset[str]:
    """Names of the parameters and buffers that are equal in all networks."""
    first, *others = ({**dict(each.named_parameters()), **dict(each.named_buffers())} for each in networks)
    return frozenset(name for name, tensor in first.items() if all(are_equal(tensor, other[name]) for other in others))


def are_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have the same type, shape and values; they may be on different devices."""
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other.to(one.device))
