"""A network of a model folder as one module from resized images to probabilities, which other formats can hold."""

from __future__ import annotations

from pathlib import Path

import timm
import torch

from trainer.inference.model_folder import Member
from trainer.inference.networks.torch_networks import read_weights
from trainer.inference.networks.views import VIEWS, probabilities_of


class PortableNetwork(torch.nn.Module):
    """Normalisation, network, softmax (of several labels: sigmoids) and the average over test-time views.

    Input: resized images, uint8 ``(n, size, size, 3)``. Output: probabilities, float32 ``(n, classes)``.
    """

    scale: torch.Tensor
    offset: torch.Tensor

    def __init__(self, member: Member, weights: Path, *, several_labels: bool = False) -> None:
        """
        Args:
            weights: one of ``member.weights``.
            several_labels: of the blend of the model folder.

        Raises:
            RuntimeError: timm builds no network that the weights fit.
        """
        super().__init__()
        self.network = timm.create_model(
            member.backbone, pretrained=False, num_classes=member.classes, **member.model_args, exportable=True
        )
        self.network.load_state_dict(read_weights(weights))
        self._several_labels = several_labels
        self._views = [VIEWS[name] for name in member.views]
        mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (member.mean, member.std))
        self.register_buffer("scale", (1.0 / (255.0 * std)).float())
        self.register_buffer("offset", (-mean / std).float())
        self.eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities of the images."""
        pixels = images.permute(0, 3, 1, 2).float() * self.scale + self.offset
        total = sum(probabilities_of(self.network(view.of(pixels)), self._several_labels) for view in self._views)
        assert isinstance(total, torch.Tensor), "a member has a view"
        return total / len(self._views)
