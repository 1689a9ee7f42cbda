"""The mean of the weights of several networks, with fresh statistics of its norm layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from trainer.conversion.single.ingredients import Ingredient, NoSoup
from trainer.inference.images import Normaliser
from trainer.inference.model_folder import Member
from trainer.inference.networks.torch_networks import read_weights
from trainer.inference.networks.views import predict_views

State = Mapping[str, torch.Tensor]
Batches = Callable[[], Iterable[NDArray[np.uint8]]]
"""Batches of resized training images, uint8 ``(b, size, size, 3)``; called once for each network."""

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""The last parts of the names of the running statistics of batch normalisation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mean:
    """The mean of several state dicts."""

    state: dict[str, torch.Tensor]
    moved: bool
    """Whether the networks differ in running statistics: training has updated them. The mean of such statistics is not
    that of the averaged network, so they are computed again (Izmailov et al. 2018, "Averaging weights leads to wider
    optima and better generalization", section 3.2)."""


def mean_of(states: Iterable[State], shares: Sequence[float]) -> Mean:
    """The mean of state dicts, one after another in memory.

    Args:
        shares: of the states, sum 1.

    Raises:
        NoSoup: two networks have different tensors, or a tensor of integers differs.
    """
    first: State = {}
    total: dict[str, torch.Tensor] = {}
    moved = False
    for number, (state, share) in enumerate(zip(states, shares, strict=True)):
        if number == 0:
            first = state
            total = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in state.items()}
        if {name: value.shape for name, value in state.items()} != {name: v.shape for name, v in first.items()}:
            raise NoSoup("two networks of the model have different tensors, so their weights have no mean")
        for name, value in state.items():
            same = torch.equal(value, first[name])
            if _is_statistic(name):
                moved |= not same and not name.endswith("num_batches_tracked")
            elif not value.is_floating_point() and not same:
                raise NoSoup(f"the networks differ in {name}, which holds no weights and has no mean")
            total[name] += share * value.double()
    return Mean(
        state={name: total[name].to(v.dtype) if v.is_floating_point() else v.clone() for name, v in first.items()},
        moved=moved,
    )


class SoupMaker:
    """Networks of one member of a model folder: predicts with each, and with means of several.

    Args:
        member: its backbone, input and views apply to all networks.
        several_labels: whether an image may have several labels, so that each has a sigmoid of its own.
        device: where networks compute.
    """

    def __init__(self, member: Member, *, several_labels: bool = False, device: str = "cpu") -> None:
        self._member, self._several_labels, self._device = member, several_labels, device
        self._network = timm.create_model(
            member.backbone, pretrained=False, num_classes=member.classes, **member.model_args
        ).to(device)

    def soup(self, ingredients: Sequence[Ingredient], training: Batches) -> dict[str, torch.Tensor]:
        """The state dict of the mean of ``ingredients``, whose shares are scaled to sum 1.

        Args:
            training: images that every one of the networks was trained on, or may have been; for running statistics.

        Raises:
            NoSoup: see `mean_of`.
        """
        shares = np.array([each.share for each in ingredients])
        mean = mean_of((read_weights(each.weights) for each in ingredients), list(shares / shares.sum()))
        if not mean.moved:
            return mean.state
        self._network.load_state_dict(mean.state)
        renew_statistics(self._network, map(self._normalised, training()))
        return {name: value.detach().cpu().clone() for name, value in self._network.state_dict().items()}

    def predict(self, state: State, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities of a network, averaged over the member's views: float64 ``(n, C)``.

        Args:
            images: uint8 ``(n, size, size, 3)``.
        """
        self._network.load_state_dict(dict(state))
        views = predict_views(
            self._network,
            images,
            mean=self._member.mean,
            std=self._member.std,
            views=self._member.views,
            device=self._device,
            several_labels=self._several_labels,
        )
        return np.asarray(np.mean(list(views.values()), axis=0, dtype=np.float64))

    def _normalised(self, images: NDArray[np.uint8]) -> torch.Tensor:
        member = self._member
        normaliser = Normaliser(member.mean, member.std, images.shape[2], self._device)
        return normaliser(torch.from_numpy(images).to(self._device))


def renew_statistics(network: torch.nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Replace the running statistics of batch normalisation by the means over ``batches``; all else stays.

    As `torch.optim.swa_utils.update_bn`, but dropout and stochastic depth stay off. The network is in evaluation mode
    afterwards.

    Args:
        batches: normalised images, float ``(b, 3, size, size)``.
    """
    norms = [module for module in network.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    before = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    try:
        with torch.no_grad():
            for batch in batches:
                network(batch)
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
        network.eval()


def _is_statistic(name: str) -> bool:
    return name.rpartition(".")[2] in STATISTICS
