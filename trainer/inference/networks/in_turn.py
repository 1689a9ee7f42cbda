"""Load the weights of several networks in turn; neighbours with the same lower layers predict together."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch

from .common_layers import are_equal, joined

State = Mapping[str, torch.Tensor]
LEAST_COMMON = 0.25
"""Share of its parameters that a network has in common with the one before, if they may have layers in common."""


def load_in_turn(network: torch.nn.Module, states: Iterable[State], side: int) -> Iterator[tuple[torch.nn.Module, int]]:
    """Load weights into networks like ``network``, in the order of the ``states``.

    Fold models of a linear probe, and those with frozen layers, are yielded as one network (`joined`). Equal tensors
    of theirs are in memory once.

    Args:
        states: state dicts. Each is released before the next one is read.
        side: of the images in pixels.

    Yields:
        A network that gives logits (n, classes), or (n, networks, classes), and the number of its states. It is valid
        until the next one is asked for.

    Raises:
        RuntimeError: a state does not fit the network.
    """
    network.eval()
    group: list[torch.nn.Module] = []
    for state in states:
        if group and _common(group[0], state) >= LEAST_COMMON:
            group.append(_like(group[0], state))
        else:
            yield from _loaded(group, side)
            network.load_state_dict(state)
            group = [network]
        del state
    yield from _loaded(group, side)


def _loaded(group: Sequence[torch.nn.Module], side: int) -> Iterator[tuple[torch.nn.Module, int]]:
    """The networks of a group, together if they have layers in common."""
    with joined(group, side) as together:
        if together is not None:
            yield together, len(group)
        else:
            yield from ((network, 1) for network in group)


def _common(network: torch.nn.Module, state: State) -> float:
    """Share of the parameters of ``network`` that are equal in ``state``, 0 .. 1."""
    own = dict(network.named_parameters())
    equal = sum(name in state and are_equal(tensor, state[name]) for name, tensor in own.items())
    return equal / len(own) if own else 0.0


def _like(network: torch.nn.Module, state: State) -> torch.nn.Module:
    """A copy of ``network`` with other weights; equal tensors share its memory."""
    other = copy.deepcopy(network)
    other.load_state_dict(state)
    own = network.state_dict(keep_vars=True)
    for name, tensor in other.state_dict(keep_vars=True).items():
        if are_equal(tensor, own[name]):
            tensor.data = own[name].data
    return other
