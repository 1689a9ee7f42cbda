"""Networks that differ in their classifiers alone, such as the fold models of a linear probe, predict in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

State = dict[str, torch.Tensor]


class Heads(torch.nn.Module):
    """Several linear classifiers on the same features: (n, features) to logits (n, heads, classes)."""

    def __init__(self, layers: Iterable[torch.nn.Linear]) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.stack([layer(features) for layer in self.layers], dim=1)


def load_in_turn(network: torch.nn.Module, states: Iterable[State], size: int) -> Iterator[int]:
    """Load weights into ``network`` in turn, those that differ in nothing but a linear classifier together.

    After each step the network gives logits (n, classes) of one state, or (n, heads, classes) of several.

    Args:
        states: state dicts, in the order of the networks. Two at most are kept in memory, and all classifiers.
        size: side of the images in pixels.

    Yields:
        The number of states that are loaded.

    Raises:
        RuntimeError: a state does not fit the network.
    """
    name = _linear_classifier(network)
    first: State | None = None
    heads: list[State] = []
    for state in states:
        shared = first is not None and name != "" and _same_body(first, state, name)
        if shared and not heads and not _is_last(network, name, size):
            name, shared = "", False
        if shared:
            heads.append(_head(state, name))
        else:
            if first is not None:
                yield from _loaded(network, first, name, heads)
            first, heads = state, []
        del state  # before the next one is read
    if first is not None:
        yield from _loaded(network, first, name, heads)


def _loaded(network: torch.nn.Module, first: State, name: str, heads: list[State]) -> Iterator[int]:
    """Load one state and the classifiers of others, and afterwards put the network's own classifier back."""
    network.load_state_dict(first)
    if not heads:
        yield 1
        return
    parent, _, leaf = name.rpartition(".")
    holder, layer = network.get_submodule(parent), network.get_submodule(name)
    assert isinstance(layer, torch.nn.Linear), "_linear_classifier has found it"
    setattr(holder, leaf, Heads([layer, *(_linear(layer, head) for head in heads)]))
    try:
        yield 1 + len(heads)
    finally:
        setattr(holder, leaf, layer)


def _linear(like: torch.nn.Linear, head: State) -> torch.nn.Linear:
    layer = torch.nn.Linear(like.in_features, like.out_features, bias=like.bias is not None).to(like.weight)
    layer.load_state_dict(head)
    return layer


def _head(state: State, name: str) -> State:
    """The tensors of the layer ``name``, by their names in the layer."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in state.items() if key.startswith(f"{name}.")}


def _same_body(first: State, second: State, name: str) -> bool:
    """Whether two states have the same tensors, but for the values of the layer ``name``."""
    return first.keys() == second.keys() and all(
        tensor.shape == second[key].shape
        and tensor.dtype == second[key].dtype
        and (key.startswith(f"{name}.") or torch.equal(tensor, second[key]))
        for key, tensor in first.items()
    )


def _linear_classifier(network: torch.nn.Module) -> str:
    """The name of the classifier, if it is a linear layer; else empty."""
    get_classifier: Callable[[], Any] | None = getattr(network, "get_classifier", None)
    layer = get_classifier() if get_classifier is not None else None
    if not isinstance(layer, torch.nn.Linear):
        return ""
    return next((name for name, module in network.named_modules() if module is layer), "")


def _is_last(network: torch.nn.Module, name: str, size: int) -> bool:
    """Whether the layer ``name`` takes a vector for each image, and nothing follows it."""
    given: list[torch.Tensor] = []
    watch = network.get_submodule(name).register_forward_hook(lambda _, inputs, output: given.append(output))
    was_training = network.training
    try:
        network.eval()
        with torch.no_grad():
            result = network(torch.zeros(1, 3, size, size).to(next(network.parameters()).device))
    finally:
        watch.remove()
        network.train(was_training)
    return len(given) == 1 and isinstance(result, torch.Tensor) and result.ndim == 2 and torch.equal(given[0], result)
