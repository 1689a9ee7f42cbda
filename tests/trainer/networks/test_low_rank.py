"""Low-rank adapters: what they compute, where they are added, and the ordinary network that they become."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.beit import Beit

from trainer.common.errors import BackboneError
from trainer.networks.freezing import freeze
from trainer.networks.layers import classifier_tensors
from trainer.networks.low_rank import LowRank, add_adapters, merged_state, takes_adapters
from trainer.networks.optimizers import build_optimizer
from trainer.recipe.recipe import Recipe

WITHOUT = ("test_resnet", "test_efficientnet", "test_nfnet", "test_coatnet")
# One or a few linear layers, in the head, the routing of CondConv or the relative position bias.
HARDLY = ("resnet50_mlp", "inception_next_atto", "efficientnet_cc_b0_4e", "coatnet_rmlp_nano_rw_224", "efficientvit_b0")
WITH = ("test_vit", "test_convnext", "test_maxvit", "tiny_vit_5m_224", "mixer_s32_224")


def tiny(backbone: str = "test_vit") -> torch.nn.Module:
    torch.manual_seed(0)
    model: torch.nn.Module = timm.create_model(backbone, num_classes=3)
    return model.eval()


def lora(**changes: Any) -> Recipe:
    return Recipe.from_flat({"backbone": "test_vit", "tune": "lora", **changes})


def adapted(model: torch.nn.Module, recipe: Recipe) -> list[str]:
    """Adapt ``model``, and give the adapters weights that change the network; returns their names."""
    freeze(model, recipe)
    names = [name for name, _ in model.named_parameters() if name.endswith(".up")]
    for name in names:
        torch.nn.init.normal_(model.get_parameter(name), std=0.1)
    return names


@given(outputs=st.integers(1, 6), inputs=st.integers(1, 6), rank=st.integers(1, 256), alpha=st.floats(0.01, 64.0))
def test_an_adapter_adds_a_matrix_of_its_rank(outputs: int, inputs: int, rank: int, alpha: float) -> None:
    weight = torch.randn(outputs, inputs)
    adapter = LowRank(weight, rank, alpha)
    assert torch.equal(adapter(weight), weight)
    torch.nn.init.normal_(adapter.up)
    least = min(rank, outputs, inputs)
    assert adapter.down.shape == (least, inputs)
    added = alpha / least * (adapter.up @ adapter.down)
    assert torch.allclose(adapter(weight), weight + added, rtol=1e-4, atol=1e-4 * max(1.0, alpha))


@pytest.mark.parametrize("backbone", ["test_vit", "test_convnext"])
def test_the_network_begins_unchanged(backbone: str) -> None:
    plain = tiny(backbone)
    model = copy.deepcopy(plain)
    freeze(model, lora(backbone=backbone))
    x = torch.randn(2, 3, 160, 160)
    assert torch.equal(model(x), plain(x))
    before, after = plain.state_dict(), merged_state(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_attention_and_mlp_layer_of_a_transformer_is_adapted() -> None:
    layers = {name.removesuffix(".parametrizations.weight.0.up") for name in adapted(tiny(), lora())}
    blocks = len(tiny().get_submodule("blocks")._modules)
    parts = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert layers == {f"blocks.{block}.{part}" for block in range(blocks) for part in parts}


@pytest.mark.parametrize("backbone", ["test_vit", "test_convnext", "test_maxvit"])
@pytest.mark.parametrize("rank", [1, 8])
def test_the_merged_network_predicts_the_same(backbone: str, rank: int) -> None:
    model = tiny(backbone)
    plain = copy.deepcopy(model)
    assert adapted(model, lora(backbone=backbone, lora_rank=rank, lora_alpha=4.0))
    x = torch.randn(2, 3, 160, 160)
    before = plain(x)
    plain.load_state_dict(merged_state(model))
    assert torch.allclose(model(x), plain(x), rtol=0, atol=1e-6)
    assert not torch.equal(before, plain(x))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backbone", ["test_vit", "test_convnext", "test_maxvit"])
def test_under_autocast_the_merged_network_predicts_the_same(backbone: str, precision: torch.dtype) -> None:
    """The layer rounds the sum of weight and adapter once, as it rounds the merged weight; so few digits differ."""
    model = tiny(backbone)
    plain = copy.deepcopy(model)
    adapted(model, lora(backbone=backbone))
    plain.load_state_dict(merged_state(model))
    x = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        exact = plain(x)
        with torch.autocast("cpu", dtype=precision):
            rounded, merged = model(x), plain(x)
    assert rounded.dtype is merged.dtype is precision
    digit = torch.finfo(precision).eps * float(exact.abs().max())
    assert torch.allclose(rounded.float(), merged.float(), rtol=0, atol=2 * digit)
    assert torch.allclose(rounded.float(), exact, rtol=0, atol=8 * digit)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_weights_and_gradients_stay_float32_under_autocast(precision: torch.dtype) -> None:
    model = tiny().train()
    names = adapted(model, lora())
    names += [name.replace(".up", ".down") for name in names]
    x = torch.randn(2, 3, 160, 160)
    with torch.autocast("cpu", dtype=precision):
        model(x).float().square().mean().backward()
        merged = merged_state(model)
    assert {tensor.dtype for tensor in merged.values()} == {torch.float32}
    outside = merged_state(model)
    assert all(torch.equal(merged[name], outside[name]) for name in merged)
    found = [model.get_parameter(name) for name in names]
    assert {parameter.dtype for parameter in found} == {torch.float32}
    gradients = [parameter.grad for parameter in found if parameter.grad is not None]
    assert len(gradients) == len(names)
    assert all(gradient.dtype is torch.float32 and bool(gradient.isfinite().all()) for gradient in gradients)
    assert all(bool(gradient.any()) for gradient in gradients)


@settings(max_examples=20)
@given(
    rank=st.integers(1, 80),
    alpha=st.floats(0.01, 64.0),
    freeze_share=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 1000),
)
def test_only_the_weights_of_adapted_layers_change(rank: int, alpha: float, freeze_share: float, seed: int) -> None:
    model = tiny()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(seed)
    names = adapted(model, lora(lora_rank=rank, lora_alpha=alpha, freeze=freeze_share))
    after = merged_state(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name.replace(".parametrizations.weight.0.up", ".weight") for name in names}
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning == {*names, *(name.replace(".up", ".down") for name in names)} | classifier_tensors(model)


def test_frozen_layers_get_no_adapter() -> None:
    every, upper = adapted(tiny(), lora()), adapted(tiny(), lora(freeze=0.5))
    assert 0 < len(upper) < len(every)
    assert set(upper) <= set(every)
    assert not any(name.startswith("blocks.0.") for name in upper)


def test_a_layer_whose_weight_the_network_uses_itself_learns() -> None:
    """BEiT passes the weight of its attention to a function, and never calls the layer."""
    torch.manual_seed(0)
    model = Beit(img_size=32, patch_size=16, embed_dim=16, depth=1, num_heads=2, num_classes=3)
    names = adapted(model, lora())
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert "blocks.0.attn.qkv.parametrizations.weight.0.up" in names
    assert all(model.get_parameter(name).grad is not None for name in names)


@pytest.mark.parametrize("backbone", WITHOUT)
def test_a_network_of_convolutions_is_refused(backbone: str) -> None:
    assert not takes_adapters(f"{backbone}.r160_in1k")
    with pytest.raises(
        BackboneError, match=f"{backbone} has none or few.*transformer.* or set tune = bias_norm or all"
    ):
        freeze(tiny(backbone), lora(backbone=backbone))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", HARDLY)
def test_a_few_linear_layers_do_not_suffice(backbone: str) -> None:
    assert not takes_adapters(backbone)


@pytest.mark.parametrize("backbone", WITH)
def test_networks_of_linear_layers_take_adapters(backbone: str) -> None:
    assert takes_adapters(backbone)


def test_freezing_every_linear_layer_is_refused() -> None:
    with pytest.raises(BackboneError, match=r"freeze = 0.95 freezes every linear layer of test_vit.*lower freeze"):
        add_adapters(tiny(), lora(freeze=0.95), {name for name, _ in tiny().named_parameters()})


def test_parameter_groups_treat_adapters_as_weights_of_their_block() -> None:
    """Layer decay and the classifier's own rate apply; biases, norms and frozen weights are in no group."""
    model = tiny()
    recipe = lora(**{"optimizer.layer_decay": 0.5, "optimizer.head_lr": 3.0, "optimizer.weight_decay": 0.1})
    freeze(model, recipe)
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    rows = {
        name_of[id(parameter)]: (group["weight_decay"], group["lr_scale"])
        for group in build_optimizer(model, recipe).param_groups
        for parameter in group["params"]
    }
    assert set(rows) == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert rows.pop("head.weight") == (0.1, 3.0)
    assert rows.pop("head.bias") == (0.0, 3.0)
    assert {decay for decay, _ in rows.values()} == {0.1}
    scale_of_block = {(name.split(".")[1], scale) for name, (_, scale) in rows.items()}
    blocks = len(scale_of_block)
    assert scale_of_block == {(str(block), 0.5 ** (blocks - block)) for block in range(blocks)}


@pytest.mark.parametrize("backbone", ["test_vit", "test_maxvit", "pit_ti_224"])
def test_adapters_learn_at_the_rate_of_their_weight(backbone: str) -> None:
    """PiT has no layer groups of its own; timm cuts it evenly."""
    rates = []
    for tune in ("all", "lora"):
        model = timm.create_model(backbone, num_classes=3)
        recipe = Recipe.from_flat({"backbone": backbone, "tune": tune, "optimizer.layer_decay": 0.5})
        freeze(model, recipe)
        name_of = {id(parameter): name for name, parameter in model.named_parameters()}
        rates.append(
            {
                name_of[id(parameter)]: group["lr_scale"]
                for group in build_optimizer(model, recipe).param_groups
                for parameter in group["params"]
            }
        )
    every, adapters = rates
    assert len(set(adapters.values())) > 2
    for name, rate in adapters.items():
        path, _, adapted = name.partition(".parametrizations.weight.0.")
        assert rate == every[f"{path}.weight" if adapted else name], name


def test_biases_and_norms_have_no_weight_decay() -> None:
    model = tiny("test_resnet")
    recipe = Recipe.from_flat({"tune": "bias_norm", "optimizer.weight_decay": 0.1})
    freeze(model, recipe)
    decayed = {
        id(parameter)
        for group in build_optimizer(model, recipe).param_groups
        if group["weight_decay"] > 0.0
        for parameter in group["params"]
    }
    assert {name for name, parameter in model.named_parameters() if id(parameter) in decayed} == {"fc.weight"}
