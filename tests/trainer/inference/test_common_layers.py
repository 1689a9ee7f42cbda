"""Networks with equal lower layers predict together what each of them predicts alone."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import timm
import torch

from trainer.inference.networks.common_layers import joined
from trainer.networks.freezing import frozen_tensors
from trainer.recipe.recipe import Recipe

BACKBONES = ("test_efficientnet", "test_resnet", "test_vit", "test_convnext", "test_byobnet")
SIDE = 64


def fold_models(backbone: str, freeze: float, *, count: int = 3) -> list[torch.nn.Module]:
    """Networks that differ in all layers that are not frozen, in evaluation mode."""
    first = timm.create_model(backbone, num_classes=5).eval()
    recipe = Recipe().replace({"backbone": backbone, "freeze": freeze, "norm": "frozen"})
    frozen = frozen_tensors(first, recipe)
    networks = [first]
    for seed in range(1, count):
        network = timm.create_model(backbone, num_classes=5).eval()
        network.load_state_dict(first.state_dict())
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name not in frozen:
                    parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        networks.append(network)
    return networks


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def calls_of(network: torch.nn.Module) -> tuple[list[str], Callable[[], None]]:
    """Names of the convolutions and linear layers that run from now on, and what ends the record."""
    seen: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: seen.append(name))
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)
    ]
    return seen, lambda: [hook.remove() for hook in hooks] and None


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("freeze", [0.5, 1.0])
def test_together_and_alone_predict_the_same(backbone: str, freeze: float) -> None:
    networks = fold_models(backbone, freeze)
    alone = [network(images(4)) for network in networks]
    in_all, end_all = calls_of(networks[1])
    networks[1](images(1))
    end_all()
    with joined(networks, SIDE) as together:
        assert together is not None
        seen, end = calls_of(networks[1])
        assert torch.equal(together(images(4)), torch.stack(alone, dim=1))
        end()
    assert len(seen) < len(in_all)  # the frozen layers of the second network did not run
    assert [torch.equal(network(images(4)), before) for network, before in zip(networks, alone, strict=True)] == [
        True
    ] * 3


@pytest.mark.parametrize("backbone", BACKBONES)
def test_networks_without_a_common_layer_at_the_input_stay_apart(backbone: str) -> None:
    networks = fold_models(backbone, 0.0)
    with joined(networks, SIDE) as together:
        assert together is None
    with joined(networks[:1], SIDE) as together:
        assert together is None


class Skips(torch.nn.Module):
    """A network in which a later layer reads the outputs of two equal layers: the last one does not suffice."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = (torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))
        torch.manual_seed(seed)
        self.classifier = torch.nn.Linear(6, 5)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        low = self.first(pixels)
        both: torch.Tensor = self.classifier(torch.cat([low, self.second(low)], dim=1).mean(dim=(2, 3)))
        return both


def test_a_layer_whose_output_does_not_suffice_runs_again() -> None:
    networks = [Skips(1).eval(), Skips(2).eval()]
    alone = torch.stack([network(images(2)) for network in networks], dim=1)
    with joined(networks, SIDE) as together:
        assert together is not None
        assert torch.equal(together(images(2)), alone)
        replaced = [name for name, module in networks[1].named_children() if "forward" in vars(module)]
    assert replaced == ["first"]
    assert all("forward" not in vars(module) for network in networks for module in network.modules())


def test_threads_do_not_see_the_outputs_of_each_other() -> None:
    networks = fold_models("test_efficientnet", 0.5)
    parts = [images(3, seed) for seed in range(4)]
    expected = [torch.stack([network(part) for network in networks], dim=1) for part in parts]
    wrong: list[int] = []
    with joined(networks, SIDE) as together:
        assert together is not None

        def predict(number: int) -> None:
            with torch.no_grad():
                for _ in range(5):
                    if not torch.allclose(together(parts[number]), expected[number], atol=1e-5):
                        wrong.append(number)

        threads = [threading.Thread(target=predict, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
