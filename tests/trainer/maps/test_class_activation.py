"""Class-activation maps of small networks of every kind: their place, their range, and that they find an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray

from trainer.maps.class_activation import MapDrawer, fit_to_image
from trainer.maps.errors import NoMap
from trainer.maps.grids import find_place, to_grid

PLACES: dict[str, tuple[str, int, Mapping[str, Any]]] = {
    "resnet": ("test_resnet", 96, {}),
    "efficientnet": ("test_efficientnet", 96, {}),
    "convnext": ("test_convnext", 96, {}),
    "nfnet": ("test_nfnet", 96, {}),
    "byobnet": ("test_byobnet", 96, {}),
    "mambaout, channels last": ("test_mambaout", 96, {}),
    "vit, mean of tokens": ("test_vit2", 96, {"img_size": 96}),
    "vit, attention pool": ("test_vit3", 96, {"img_size": 96}),
    "vit, class token": ("vit_tiny_patch16_224", 96, {"img_size": 96, "depth": 2, "embed_dim": 48}),
    "deit, two class tokens": ("deit_tiny_distilled_patch16_224", 96, {"img_size": 96, "depth": 2}),
    "beit": ("beit_base_patch16_224", 96, {"img_size": 96, "depth": 2, "embed_dim": 48, "num_heads": 3}),
    "eva": ("eva02_tiny_patch14_224", 98, {"img_size": 98, "depth": 2}),
    "cait, class attention": ("cait_xxs24_224", 96, {"img_size": 96, "depth": 2}),
    "naflexvit, registers": ("naflexvit_base_patch16_gap", 96, {"depth": 2, "embed_dim": 48, "num_heads": 3}),
    "convit": ("convit_tiny", 96, {"img_size": 96, "depth": 2, "local_up_to_layer": 1}),
    "tnt": ("tnt_s_patch16_224", 96, {"img_size": 96, "depth": 2}),
    "pit": ("pit_ti_224", 96, {"img_size": 96, "depth": (1, 1, 1)}),
    "swin, channels last": (
        "swin_tiny_patch4_window7_224",
        112,
        {"img_size": 112, "depths": (1, 1, 1, 1), "embed_dim": 24, "num_heads": (1, 2, 3, 3)},
    ),
    "swinv2": (
        "swinv2_tiny_window8_256",
        128,
        {"img_size": 128, "depths": (1, 1, 1, 1), "embed_dim": 24, "num_heads": (1, 2, 3, 3)},
    ),
    "hiera, tokens by window": ("hiera_tiny_224", 128, {"img_size": 128, "stages": (1, 1, 1, 1), "embed_dim": 24}),
    "twins": (
        "twins_svt_small",
        128,
        {"embed_dims": (16, 32, 32, 64), "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4)},
    ),
    "maxvit": ("test_maxvit", 128, {"img_size": 128}),
    "sequencer": (
        "sequencer2d_s",
        112,
        {"layers": (1, 1, 1, 1), "embed_dims": (32, 64, 64, 64), "hidden_sizes": (8, 16, 16, 16)},
    ),
}
"""Networks in which a random trunk keeps the places of an image apart, with the side of their images."""

OTHERS: dict[str, tuple[str, int, Mapping[str, Any]]] = {
    "vit, deep": ("test_vit", 96, {"img_size": 96}),
    "coatnet": ("test_coatnet", 128, {"img_size": 128}),
    "mobilevit": ("mobilevit_xxs", 128, {}),
    "xcit": ("xcit_nano_12_p16_224", 96, {"img_size": 96, "depth": 2}),
    "davit": (
        "davit_tiny",
        128,
        {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4)},
    ),
    "mixer": ("mixer_b16_224", 96, {"img_size": 96, "embed_dim": 32, "num_blocks": 2}),
}
"""Networks whose random trunk spreads an object over the image."""


def build(name: str, size: int, arguments: Mapping[str, Any]) -> torch.nn.Module:
    """A network with random weights, whose normalisation has seen images, and whose classifier is not all 0."""
    torch.manual_seed(0)
    given = dict(arguments)
    if name.startswith("mixer"):
        from timm.models.mlp_mixer import MlpMixer

        model: torch.nn.Module = MlpMixer(num_classes=3, patch_size=16, **given)
    else:
        model = timm.create_model(name, pretrained=False, num_classes=3, **given)
    images = [planted(size, corner) for corner in range(4)] + [blank(size)] * 2
    noise = torch.randn(2, 3, size, size)
    with torch.no_grad():
        model.train()
        for _ in range(6):
            model(torch.cat([normalised(image) for image in images] + [noise]))
        for layer in heads(model):
            layer.weight.normal_()
    return model.eval()


def heads(model: Any) -> list[torch.nn.Linear]:
    found = model.get_classifier()
    parts = found if isinstance(found, (tuple, list)) else [found]
    return [[m for m in part.modules() if isinstance(m, torch.nn.Linear)][-1] for part in parts]


def blank(size: int) -> NDArray[np.uint8]:
    return np.full((size, size, 3), 110, np.uint8)


def planted(size: int, corner: int) -> NDArray[np.uint8]:
    """A grey image with a red object in a corner: top left, top right, bottom left, bottom right."""
    image, quarter = blank(size), size // 4
    rows, columns = (slice(0, quarter) if at == 0 else slice(-quarter, None) for at in divmod(corner, 2))
    image[rows, columns] = (230, 60, 40)
    return image


def normalised(image: NDArray[np.uint8]) -> torch.Tensor:
    return ((torch.from_numpy(image).float() / 255 - 0.5) / 0.25).permute(2, 0, 1)[None]


def look_for(model: torch.nn.Module, image: NDArray[np.uint8]) -> None:
    """Let class 1 be the difference that the object makes to the features of a blank image."""
    seen: dict[int, torch.Tensor] = {}
    layers = heads(model)
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output, i=i: seen.__setitem__(i, inputs[0].clone()))
        for i, layer in enumerate(layers)
    ]
    with torch.no_grad():
        model(normalised(image))
        with_object = dict(seen)
        model(normalised(blank(len(image))))
        for i, layer in enumerate(layers):
            difference = (with_object[i] - seen[i]).flatten()
            layer.weight.zero_()
            layer.weight[1] = difference / difference.norm()
    for hook in hooks:
        hook.remove()


def drawer(size: int) -> MapDrawer:
    return MapDrawer(mean=(0.5,) * 3, std=(0.25,) * 3, size=size, device="cpu")


def brightest_corner(found: NDArray[np.float32]) -> int:
    half = (len(found) + 1) // 2
    ends = (slice(0, half), slice(-half, None))
    return int(np.argmax([found[rows, columns].mean() for rows in ends for columns in ends]))


@pytest.mark.parametrize("family", PLACES)
def test_the_map_lies_on_the_object(family: str) -> None:
    name, size, arguments = PLACES[family]
    model = build(name, size, arguments)
    draw = drawer(size)
    for corner in range(4):
        look_for(model, planted(size, corner))
        found = draw.draw(model, planted(size, corner), 1)
        assert found.shape[0] == found.shape[1] >= 4
        assert found.dtype == np.float32 and found.min() >= 0.0 and found.max() == 1.0
        assert brightest_corner(found) == corner


@pytest.mark.parametrize("family", OTHERS)
def test_every_kind_of_network_has_a_map(family: str) -> None:
    name, size, arguments = OTHERS[family]
    model = build(name, size, arguments)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    maps = [drawer(size).draw(model, image, label) for label in range(3)]
    assert all(found.shape == maps[0].shape and found.shape[0] >= 4 for found in maps)
    assert all(found.min() >= 0.0 and found.max() in (0.0, 1.0) for found in maps)
    assert any(found.max() == 1.0 for found in maps), "something speaks for the most probable class"
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules()), "no hook is left"


class Pooled(torch.nn.Module):
    """A network that averages the colours of the image before its first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(pixels.mean(dim=(2, 3)))


class Shuffled(torch.nn.Module):
    """A network whose tokens have lost their order."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = torch.nn.Conv2d(3, 8, 8, stride=8)
        self.order = torch.nn.Flatten(2)
        self.norm = torch.nn.LayerNorm(8)
        self.head = torch.nn.Linear(8, 2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        tokens = self.order(self.tokens(pixels)).transpose(1, 2)
        mixed = torch.randperm(tokens.shape[1], generator=torch.Generator().manual_seed(3))
        return self.head(self.norm(tokens[:, mixed]).mean(dim=1))


def test_of_several_labels_each_has_a_map_of_its_own() -> None:
    """An object that speaks for every class, the least for class 0, speaks against it, but for it as a label."""
    name, size, arguments = PLACES["resnet"]
    model, image = build(name, size, arguments), planted(size, 2)
    look_for(model, image)
    with torch.no_grad():
        for layer in heads(model):
            layer.weight[:] = layer.weight[1].clone() * torch.tensor([[0.5], [1.0], [1.0]])
    of_class = drawer(size).draw(model, image, 0)
    several = MapDrawer(mean=(0.5,) * 3, std=(0.25,) * 3, size=size, device="cpu", several_labels=True)
    maps = [several.draw(model, image, label) for label in range(3)]
    assert all(np.allclose(found, maps[1]) for found in maps)
    assert maps[0].max() == 1.0 and brightest_corner(maps[0]) == 2
    assert of_class[maps[0] > 0.5].max() == 0.0


def test_a_network_without_places_says_so() -> None:
    with pytest.raises(NoMap, match="does not depend on separate places"):
        drawer(32).draw(Pooled().eval(), blank(32), 0)


def test_a_shuffled_layer_is_passed_over() -> None:
    torch.manual_seed(0)
    model = Shuffled().eval()
    place = find_place(model, normalised(planted(64, 1)), 0)
    assert place.layer == "tokens", "the last layer whose places are in their order"


def test_layouts_are_told_apart() -> None:
    grid = torch.arange(18.0).reshape(2, 3, 3)
    channels_first, channels_last = grid[None], grid.permute(1, 2, 0)[None]
    tokens = torch.cat([torch.full((1, 2, 2), -1.0), grid.flatten(1).T[None]], dim=1)
    for values, prefix in ((channels_first, 0), (channels_last, 0), (tokens, 2)):
        found = to_grid(values, prefix)
        assert found is not None and torch.equal(found, grid)
    assert to_grid(tokens, 0) is None and to_grid(torch.zeros(4, 9, 2), 0) is None


@pytest.mark.parametrize(
    ("height", "width", "resize", "rows", "columns"),
    [
        (40, 80, "squash", (0, 10), (60, 80)),  # the whole width is squashed into the square
        (40, 80, "crop", (0, 10), (50, 60)),  # the square is the middle of the image
        (80, 40, "crop", (20, 30), (30, 40)),
        (60, 60, "pad", (0, 15), (45, 60)),
    ],
)
def test_a_map_of_the_square_is_laid_over_the_image(
    height: int, width: int, resize: str, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    square = np.zeros((4, 4), np.float32)
    square[0, 3] = 1.0
    found = fit_to_image(square, height, width, resize)
    assert found.shape == (height, width) and found.min() >= 0.0 and found.max() <= 1.0
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    assert rows[0] <= row < rows[1] and columns[0] <= column < columns[1]


def test_the_padding_of_the_square_is_no_part_of_the_image() -> None:
    square = np.zeros((4, 4), np.float32)
    square[0] = 1.0  # above a wide image
    assert not fit_to_image(square, 40, 80, "pad")[20:].any()
    square[1] = 0.5
    assert fit_to_image(square, 40, 80, "pad")[5:15].max() <= 0.75
