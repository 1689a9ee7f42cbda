from __future__ import annotations

import math

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.optim import OPTIMIZERS, SCHEDULES, build_optimizer, learning_rate_factor, set_learning_rate
from trainer.recipe import Recipe


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_each_optimizer_lowers_a_loss(name: str, momentum: float) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3)
    recipe = Recipe.from_flat({"optimizer.name": name, "optimizer.lr": 0.01, "optimizer.momentum": momentum})
    optimizer = build_optimizer(model, recipe)
    x, y = torch.randn(32, 4), torch.randint(0, 3, (32,))
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.01


def test_biases_and_norms_are_not_decayed() -> None:
    model = timm.create_model("test_resnet", num_classes=3)
    optimizer = build_optimizer(model, Recipe.from_flat({"optimizer.weight_decay": 0.05}))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.05 if parameter.ndim > 1 else 0.0), name


@pytest.mark.parametrize("backbone", ["test_vit", "test_convnext", "test_resnet", "test_efficientnet"])
def test_layer_decay_slows_early_layers(backbone: str) -> None:
    model = timm.create_model(backbone, num_classes=3)
    recipe = Recipe.from_flat({"optimizer.layer_decay": 0.5, "optimizer.lr": 0.1})
    optimizer = build_optimizer(model, recipe)
    set_learning_rate(optimizer, 0.02)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    parameters = list(model.parameters())
    assert rates[id(parameters[-1])] == 0.02  # the classifier
    assert min(rates.values()) <= 0.01
    assert len(rates) == len(parameters)


@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    warmup=st.floats(0.0, 0.9),
    total=st.integers(1, 500),
)
def test_the_factor_rises_to_one_and_never_rises_again(name: str, warmup: float, total: int) -> None:
    recipe = Recipe.from_flat({"schedule.name": name, "schedule.warmup": warmup})
    factors = [learning_rate_factor(recipe, step, total) for step in range(total)]
    peak = round(warmup * total)
    assert all(0.0 < factor <= 1.0 for factor in factors)
    assert max(factors) == 1.0
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


def test_cosine_in_numbers() -> None:
    recipe = Recipe.from_flat({"schedule.name": "cosine", "schedule.warmup": 0.2})
    factors = [learning_rate_factor(recipe, step, 10) for step in range(10)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert math.isclose(factors[6], 0.5)
    assert math.isclose(factors[9], 0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_step_divides_by_ten_at_each_third() -> None:
    recipe = Recipe.from_flat({"schedule.name": "step", "schedule.warmup": 0.0})
    assert [learning_rate_factor(recipe, step, 6) for step in range(6)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
