"""A mean of weights: of equal networks it is the network, of linear probes the mean head; of others it is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.conversion.single.ingredients import NoSoup, choose_ingredients, read_recipes
from trainer.conversion.single.soup import SoupMaker, mean_of, renew_statistics
from trainer.inference.blend import Blend
from trainer.inference.model_folder import load_model_folder
from trainer.inference.networks.torch_networks import predict_member, read_weights
from trainer.networks.backbones import preprocessing_of
from trainer.recipe.recipe import Recipe
from trainer.training.write_model_folder import FolderMember, write_model_folder

CLASSES = ("cat", "dog", "owl")
BASE = {"backbone": "test_resnet", "image_size": 32, "head": "probe"}
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)

State = dict[str, torch.Tensor]


def network(seed: int, backbone: str = "test_resnet") -> State:
    torch.manual_seed(seed)
    return dict(timm.create_model(backbone, num_classes=3).state_dict())


def probe(seed: int) -> State:
    """The backbone of `network(0)` with another classifier."""
    generator = torch.Generator().manual_seed(seed)
    state = network(0)
    for name in ("fc.weight", "fc.bias"):
        state[name] = torch.randn(state[name].shape, generator=generator)
    return state


def folder(
    path: Path,
    members: Sequence[tuple[Mapping[str, object], Sequence[State]]],
    weights: tuple[float, ...] = (),
) -> Path:
    made = []
    for number, (changes, states) in enumerate(members):
        recipe = Recipe.from_flat({**BASE, **changes})
        made.append(
            FolderMember(
                recipe=recipe,
                preprocessing=preprocessing_of(recipe.backbone),
                views=("identity", "hflip"),
                state_dicts={f"trial{number}-seed0-fold{i}": state for i, state in enumerate(states)},
            )
        )
    blend = Blend(weights=weights or (1.0 / len(made),) * len(made))
    write_model_folder(path, class_names=CLASSES, members=made, blend=blend, data_fingerprint="f" * 64)
    return path


def soup_of(path: Path, *, leader: bool = False) -> tuple[SoupMaker, State]:
    model = load_model_folder(path)
    ingredients = choose_ingredients(model, read_recipes(path, model), leader=leader)
    maker = SoupMaker(model.members[0])
    return maker, maker.soup(ingredients, lambda: [IMAGES])


def refusal(path: Path, *, leader: bool = False) -> str:
    with pytest.raises(NoSoup) as refused:
        soup_of(path, leader=leader)
    return str(refused.value)


def test_the_soup_of_equal_networks_is_the_network(tmp_path: Path) -> None:
    path = folder(tmp_path / "model", [({}, [network(1)] * 3)])
    maker, soup = soup_of(path)
    assert all(torch.equal(soup[name], value) for name, value in network(1).items())
    model = load_model_folder(path)
    np.testing.assert_allclose(maker.predict(soup, IMAGES), predict_member(model, model.members[0], IMAGES), atol=1e-6)


def test_the_soup_of_linear_probes_has_the_mean_head(tmp_path: Path) -> None:
    probes = [probe(seed) for seed in range(4)]
    _, soup = soup_of(folder(tmp_path / "model", [({"method": "linear_probe"}, probes)]))
    for name in ("fc.weight", "fc.bias"):
        torch.testing.assert_close(soup[name], torch.stack([each[name] for each in probes]).mean(dim=0))
    rest = {name: value for name, value in soup.items() if not name.startswith("fc.")}
    assert all(torch.equal(value, probes[0][name]) for name, value in rest.items())
    # The logits of the mean head are the mean of the logits: probabilities are their geometric mean.
    model = timm.create_model("test_resnet", num_classes=3).eval()
    pixels = torch.randn(5, 3, 32, 32)
    logits = []
    for state in (*probes, soup):
        model.load_state_dict(state)
        with torch.no_grad():
            logits.append(model(pixels))
    torch.testing.assert_close(logits[-1], torch.stack(logits[:-1]).mean(dim=0), atol=1e-4, rtol=1e-4)


def test_recipes_of_one_backbone_are_weighted_as_in_the_blend(tmp_path: Path) -> None:
    first, second = probe(1), probe(2)
    path = folder(tmp_path / "model", [({}, [first]), ({"epochs": 3}, [second, second])], (0.75, 0.25))
    _, soup = soup_of(path)
    torch.testing.assert_close(soup["fc.weight"], 0.75 * first["fc.weight"] + 0.25 * second["fc.weight"])


def test_recipes_without_weight_in_the_blend_take_no_part(tmp_path: Path) -> None:
    states = [probe(1), probe(2)]
    path = folder(tmp_path / "model", [({}, states), ({"init": "scratch", "head": "random"}, [probe(3)])], (1.0, 0.0))
    _, soup = soup_of(path)
    torch.testing.assert_close(soup["fc.bias"], (states[0]["fc.bias"] + states[1]["fc.bias"]) / 2)


def test_statistics_are_those_of_the_training_images(tmp_path: Path) -> None:
    """The first norm layer sees the convolution of the images, whatever the other layers are."""
    states = [network(0), network(0)]
    states[1] = {n: 2.0 * v if n.endswith("running_mean") else v for n, v in network(1).items()}
    states[1]["bn1.running_var"] = states[1]["bn1.running_var"] + 1.0
    path = folder(tmp_path / "model", [({}, states)])
    _, soup = soup_of(path)
    member = load_model_folder(path).members[0]
    model = timm.create_model("test_resnet", num_classes=3)
    model.load_state_dict(soup)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (member.mean, member.std))
    pixels = (torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255 - mean) / std
    seen = []
    norm = next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.eval()(pixels.float())
    torch.testing.assert_close(norm.running_mean, seen[0].mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, seen[0].var(dim=(0, 2, 3)), atol=1e-4, rtol=1e-3)


def test_fresh_statistics_leave_momentum_and_weights(tmp_path: Path) -> None:
    model = timm.create_model("test_resnet", num_classes=3)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    renew_statistics(model, [torch.randn(4, 3, 32, 32), torch.randn(4, 3, 32, 32)])
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.1} and not any(norm.training for norm in norms)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=5))
def test_the_mean_lies_between_the_states_and_keeps_types(values: list[float]) -> None:
    states = [
        {"a": torch.tensor([value, 1.0]), "bn.num_batches_tracked": torch.tensor(n)} for n, value in enumerate(values)
    ]
    mean = mean_of(states, [1.0 / len(values)] * len(values))
    assert mean.state["a"].dtype == torch.float32 and mean.state["bn.num_batches_tracked"].dtype == torch.int64
    assert min(values) - 1e-4 <= float(mean.state["a"][0]) <= max(values) + 1e-4
    assert float(mean.state["a"][1]) == pytest.approx(1.0)
    assert not mean.moved


def test_states_with_other_tensors_are_refused() -> None:
    with pytest.raises(NoSoup, match="different tensors"):
        mean_of([{"a": torch.zeros(2)}, {"a": torch.zeros(3)}], [0.5, 0.5])
    with pytest.raises(NoSoup, match="the networks differ in index"):
        mean_of([{"index": torch.tensor([1])}, {"index": torch.tensor([2])}], [0.5, 0.5])


def test_networks_from_random_weights_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "model", [({"init": "scratch", "head": "random"}, [network(1), network(2)])])
    message = refusal(path)
    assert "began at random weights" in message and "`search export-best --full-data --seeds 1`" in message


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"backbone": "test_vit", "image_size": 160}, "different backbones (test_resnet, test_vit)"),
        ({"image_size": 48}, "different input sizes (32 pixels, 48 pixels)"),
        ({"resize": "crop"}, "different ways to resize an image"),
        ({"init": "museum"}, "different weights to begin with (pretrained, museum)"),
    ],
)
def test_recipes_that_differ_are_refused_unless_the_leader_is_chosen(
    tmp_path: Path, changes: dict[str, object], cause: str
) -> None:
    other = [network(3, str(changes.get("backbone", "test_resnet")))]
    path = folder(tmp_path / "model", [({}, [probe(1), probe(2)]), (changes, other)])
    message = refusal(path)
    assert cause in message and "--leader" in message
    _, soup = soup_of(path, leader=True)
    torch.testing.assert_close(soup["fc.bias"], (probe(1)["fc.bias"] + probe(2)["fc.bias"]) / 2)


def test_classifiers_from_random_weights_are_refused_unless_asked_for(tmp_path: Path) -> None:
    path = folder(tmp_path / "model", [({"head": "random"}, [probe(1), probe(2)])])
    assert "--average" in refusal(path)
    model = load_model_folder(path)
    chosen = choose_ingredients(model, read_recipes(path, model), any_classifier=True)
    assert [each.share for each in chosen] == [0.5, 0.5]


def test_a_single_network_is_refused(tmp_path: Path) -> None:
    assert "a single network already" in refusal(folder(tmp_path / "model", [({}, [network(1)])]))


def test_a_folder_without_recipes_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "model", [({}, [network(1), network(2)])])
    config = json.loads((path / "config.json").read_text())
    del config["members"][0]["recipe"]
    (path / "config.json").write_text(json.dumps(config))
    assert "does not say from which weights" in refusal(path)
    assert read_weights(next((path / "weights").iterdir()))
