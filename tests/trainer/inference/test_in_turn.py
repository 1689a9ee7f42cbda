"""Networks whose weights are loaded in turn predict what they predict one after another, some of them together."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pytest
import timm
import torch

from trainer.inference.networks.in_turn import load_in_turn
from trainer.inference.networks.views import predict_views

SIZE, CLASSES = 32, 3
State = dict[str, torch.Tensor]


def network(backbone: str, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    made: torch.nn.Module = timm.create_model(backbone, pretrained=False, num_classes=CLASSES)
    for parameter in made.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return made


def with_other_classifier(model: torch.nn.Module, state: State, seed: int) -> State:
    generator = torch.Generator().manual_seed(seed)
    layer = model.get_classifier()  # type: ignore[operator]
    name = next(name for name, module in model.named_modules() if module is layer)
    return {
        key: torch.randn(tensor.shape, generator=generator) if key.startswith(f"{name}.") else tensor.clone()
        for key, tensor in state.items()
    }


def copied(model: torch.nn.Module) -> State:
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


@pytest.fixture(params=["test_vit", "test_resnet", "test_efficientnet"])
def backbone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)


def predicted(model: torch.nn.Module, images: np.ndarray, several_labels: bool = False) -> np.ndarray:
    views = predict_views(
        model, images, mean=(0.5,) * 3, std=(0.2,) * 3, views=("identity", "hflip"), batch_size=2,
        several_labels=several_labels,
    )  # fmt: skip
    return np.sum(list(views.values()), axis=0, dtype=np.float64)


def in_turn(
    model: torch.nn.Module, states: Iterable[State], images: np.ndarray, several_labels: bool = False
) -> tuple[np.ndarray, list[int]]:
    """The sum of the predictions, and how many networks predicted together."""
    total, loaded = np.zeros((len(images), CLASSES)), []
    for together, count in load_in_turn(model, states, SIZE):
        total += count * predicted(together, images, several_labels)
        loaded.append(count)
    return total, loaded


def with_other_upper_layers(state: State, share: float, seed: int) -> State:
    """Other values of the last tensors; ``share`` of them stay."""
    generator = torch.Generator().manual_seed(seed)
    kept = round(share * len(state))
    return {
        key: tensor.clone()
        if place < kept or not tensor.is_floating_point()
        else tensor + 0.1 * torch.rand(tensor.shape, generator=generator)
        for place, (key, tensor) in enumerate(state.items())
    }


def one_after_another(
    model: torch.nn.Module, states: Sequence[State], images: np.ndarray, several_labels: bool
) -> np.ndarray:
    total = np.zeros((len(images), CLASSES))
    for state in states:
        model.load_state_dict(state)
        total += predicted(model, images, several_labels)
    return total


@pytest.mark.parametrize("several_labels", [False, True])
@pytest.mark.parametrize(("order", "steps"), [("aab", [2, 1]), ("aba", [1, 1, 1]), ("aaab", [3, 1]), ("b", [1])])
def test_neighbours_with_one_body_are_predicted_together(
    backbone: str, images: np.ndarray, order: str, steps: list[int], several_labels: bool
) -> None:
    first, second = network(backbone, 0), network(backbone, 1)
    bodies = {"a": copied(first), "b": copied(second)}
    states = [with_other_classifier(first, bodies[body], seed) for seed, body in enumerate(order)]
    expected = one_after_another(network(backbone, 2), states, images, several_labels)

    total, loaded = in_turn(network(backbone, 3), iter(states), images, several_labels)

    assert loaded == steps
    np.testing.assert_allclose(total, expected, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_neighbours_with_equal_lower_layers_are_predicted_together(
    backbone: str, images: np.ndarray, share: float
) -> None:
    first = copied(network(backbone, 0))
    states = [first, *(with_other_upper_layers(first, share, seed) for seed in (1, 2))]
    expected = one_after_another(network(backbone, 2), states, images, False)
    total, loaded = in_turn(network(backbone, 3), states, images)
    assert loaded == [3]
    np.testing.assert_allclose(total, expected, rtol=0.0, atol=1e-6)


def test_one_other_value_in_a_lower_layer_counts(images: np.ndarray) -> None:
    model = network("test_resnet", 0)
    first = copied(model)
    second = with_other_classifier(model, first, 1)
    key = next(key for key in second if key.endswith("running_var"))
    second[key] *= 3.0
    expected = one_after_another(network("test_resnet", 2), [first, second], images, False)
    np.testing.assert_allclose(in_turn(model, [first, second], images)[0], expected, rtol=0.0, atol=1e-6)


def test_equal_weights_are_in_memory_once() -> None:
    model = network("test_resnet", 0)
    states = [with_other_classifier(model, copied(model), seed) for seed in range(4)]
    sizes = {tensor.data_ptr(): tensor.nbytes for tensor in model.state_dict().values()}
    for together, _ in load_in_turn(model, states, SIZE):
        held = {tensor.data_ptr(): tensor.nbytes for tensor in together.state_dict().values()}
        assert sum(held.values()) < 1.2 * sum(sizes.values())


def test_weights_of_another_network_are_refused() -> None:
    model = network("test_resnet", 0)
    state = copied(model)
    del state[next(iter(state))]
    with pytest.raises(RuntimeError, match="Missing key"):
        list(load_in_turn(model, [copied(model), state], SIZE))


class Scaled(torch.nn.Module):
    """A network that scales the output of its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, CLASSES)

    def get_classifier(self) -> torch.nn.Module:
        return self.head

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(pixels.mean(dim=(2, 3)))
        return 2.0 * logits / logits.norm()


class OnMaps(Scaled):
    """A network whose classifier is applied at every place of the image."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(pixels.permute(0, 2, 3, 1))
        return logits.mean(dim=(1, 2))


class WithoutClassifier(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, CLASSES)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(pixels.mean(dim=(2, 3)))
        return logits


@pytest.mark.parametrize("kind", [Scaled, OnMaps, WithoutClassifier])
def test_a_network_that_is_more_than_a_linear_layer_on_features_is_loaded_one_by_one(
    kind: type[torch.nn.Module], images: np.ndarray
) -> None:
    model = kind()
    states = [copied(model), {key: tensor + 1.0 for key, tensor in copied(model).items()}]
    expected = one_after_another(kind(), states, images, False)
    total, loaded = in_turn(model, states, images)
    assert loaded == [1, 1]
    np.testing.assert_allclose(total, expected, rtol=0.0, atol=1e-7)


class Counted(State):
    """A state dict that can be referenced weakly."""


def test_the_weights_of_one_body_are_in_memory_at_a_time() -> None:
    model = network("test_resnet", 0)
    seen: list[weakref.ref[Counted]] = []

    def states() -> Iterator[State]:
        for seed in range(4):
            gc.collect()
            assert sum(reference() is not None for reference in seen) <= 1
            state = Counted(with_other_classifier(model, copied(network("test_resnet", 0)), seed))
            seen.append(weakref.ref(state))
            yield state
            del state

    assert [count for _, count in load_in_turn(model, states(), SIZE)] == [4]
