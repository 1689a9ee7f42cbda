"""Optimizers and schedules: parameter groups, learning rates and checkpoints."""

from __future__ import annotations

import io
import itertools
import math

import pytest
import timm
import timm.optim
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.training.support import shapes
from trainer.common.errors import BackboneError
from trainer.networks.optimizers import build_optimizer, learning_rate_factor, restore_optimizer, set_learning_rate
from trainer.recipe.optimizer_table import OPTIMIZERS, SCHEDULES
from trainer.recipe.recipe import Recipe


def tiny(backbone: str = "test_resnet") -> torch.nn.Module:
    torch.manual_seed(0)
    model: torch.nn.Module = timm.create_model(backbone, num_classes=3)
    return model


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """Losses of steps on the same two dozen pictures."""
    torch.set_num_threads(1)
    images, labels = shapes(24)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(64).sub(2)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), torch.from_numpy(labels))
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return losses


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_lowers_a_loss_at_its_usual_learning_rate(name: str, momentum: float) -> None:
    settings = {
        "optimizer.name": name,
        "optimizer.lr": 1e-3 * OPTIMIZERS[name].usual_lr,
        "optimizer.momentum": momentum,
        "schedule.warmup": 0.0,
    }
    model = tiny()
    losses = train(model, build_optimizer(model, Recipe.from_flat(settings)), 10)
    assert max(losses[-2:]) < 0.9 * losses[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_resumes_from_a_checkpoint(name: str) -> None:
    recipe = Recipe.from_flat(
        {
            "optimizer.name": name,
            "optimizer.lr": 1e-3 * OPTIMIZERS[name].usual_lr,
            "optimizer.layer_decay": 0.8,
            "optimizer.head_lr": 3.0,
        }
    )
    model = tiny()
    optimizer = build_optimizer(model, recipe)
    train(model, optimizer, 2)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    train(model, optimizer, 2)
    file.seek(0)
    content = torch.load(file, weights_only=True)
    again = tiny()
    again.load_state_dict(content["model"])
    optimizer = build_optimizer(again, recipe)
    optimizer.load_state_dict(content["optimizer"])
    train(again, optimizer, 2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_restored_nadam_does_not_wait_for_its_device() -> None:
    model, recipe = tiny(), Recipe.from_flat({"optimizer.name": "nadam", "optimizer.lr": 1e-3})
    optimizer = build_optimizer(model, recipe)
    train(model, optimizer, 2)
    # The device "meta" stands for a GPU: what torch moves there is no longer in host memory.
    moved = tiny().to("meta")
    other = build_optimizer(moved, recipe)
    restore_optimizer(other, optimizer.state_dict())
    state = [other.state[parameter] for group in other.param_groups for parameter in group["params"]]
    assert {values["exp_avg"].device.type for values in state} == {"meta"}
    assert {values["mu_product"].device.type for values in state} == {"cpu"}
    before = next(iter(optimizer.state.values()))["mu_product"]
    assert state[0]["mu_product"] == before and state[0]["mu_product"] is not before


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_second_beta_is_the_recipes_or_the_optimizers_own(name: str) -> None:
    model, rule = tiny(), OPTIMIZERS[name]

    def betas(beta2: float) -> tuple[float, ...] | None:
        recipe = Recipe.from_flat({"optimizer.name": name, "optimizer.beta2": beta2, "optimizer.momentum": 0.8})
        found: tuple[float, ...] | None = build_optimizer(model, recipe).param_groups[0].get("betas")
        return found

    if name == "adafactor" or rule.momentum == "momentum":
        assert betas(0.7) is None
    else:
        middle = () if rule.middle_beta is None else (rule.middle_beta,)
        assert betas(0.7) == (0.8, *middle, 0.7)
        assert betas(0.0) == (0.8, *middle, rule.second_beta)


def test_own_second_betas_are_those_of_timm() -> None:
    for name, rule in OPTIMIZERS.items():
        if rule.momentum != "momentum" and name != "adafactor":
            made = timm.optim.create_optimizer_v2(tiny(), rule.timm_name, lr=1e-3)
            assert made.param_groups[0]["betas"][1:] == (
                *(() if rule.middle_beta is None else (rule.middle_beta,)),
                rule.second_beta,
            )


@pytest.mark.parametrize("backbone", ["test_vit", "test_convnext", "test_resnet", "test_efficientnet"])
@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_the_classifier_learns_at_a_rate_of_its_own(backbone: str, layer_decay: float) -> None:
    model = tiny(backbone)
    changes = {"optimizer.layer_decay": layer_decay, "optimizer.weight_decay": 0.05}

    def settings_of(head_lr: float) -> dict[int, tuple[float, float]]:
        """Learning rate and weight decay of each parameter."""
        optimizer = build_optimizer(model, Recipe.from_flat({**changes, "optimizer.head_lr": head_lr}))
        set_learning_rate(optimizer, 0.01)
        found = [(p, group) for group in optimizer.param_groups for p in group["params"]]
        assert len(found) == len(list(model.parameters()))
        return {id(p): (group["lr"], group["weight_decay"]) for p, group in found}

    same, faster = settings_of(1.0), settings_of(10.0)
    classifier = {id(parameter) for parameter in model.get_classifier().parameters()}
    assert classifier
    for key, (rate, decay) in same.items():
        assert faster[key] == (pytest.approx(rate * (10.0 if key in classifier else 1.0)), decay)


def test_muon_turns_inner_matrices_only() -> None:
    model = tiny("test_vit")
    optimizer = build_optimizer(model, Recipe.from_flat({"optimizer.name": "muon", "optimizer.head_lr": 2.0}))
    model.train()
    model(torch.zeros(2, 3, 160, 160)).sum().backward()
    optimizer.step()
    turned = {name for name, p in model.named_parameters() if optimizer.state[p]["use_muon"]}
    assert turned == {name for name, p in model.named_parameters() if p.ndim > 1} - {
        "head.weight",
        "pos_embed",
        "cls_token",
    }


def test_a_model_that_does_not_say_what_its_classifier_is_cannot_have_a_rate_for_it() -> None:
    with pytest.raises(BackboneError, match=r"optimizer\.head_lr"):
        build_optimizer(torch.nn.Linear(4, 3), Recipe.from_flat({"optimizer.head_lr": 2.0}))


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
    floor=st.floats(0.0, 1.0),
    total=st.integers(1, 500),
)
def test_the_factor_rises_to_one_and_never_rises_again(name: str, warmup: float, floor: float, total: int) -> None:
    recipe = Recipe.from_flat({"schedule.name": name, "schedule.warmup": warmup, "schedule.floor": floor})
    factors = [learning_rate_factor(recipe, step, total) for step in range(total)]
    peak = round(warmup * total)
    assert all(0.0 < factor <= 1.0 for factor in factors)
    assert max(factors) == 1.0
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert all(factor >= floor for factor in factors[peak:])


@given(
    name=st.sampled_from(sorted(set(SCHEDULES) - {"step"})),
    warmup=st.floats(0.0, 0.9),
    floor=st.floats(0.0, 1.0),
    total=st.integers(10, 500),
)
def test_the_factor_moves_smoothly(name: str, warmup: float, floor: float, total: int) -> None:
    """No schedule is steeper than a cosine: pi / 2 over the length of its part."""
    recipe = Recipe.from_flat({"schedule.name": name, "schedule.warmup": warmup, "schedule.floor": floor})
    factors = [learning_rate_factor(recipe, step, total) for step in range(total)]
    peak = round(warmup * total)
    for step, (before, after) in enumerate(itertools.pairwise(factors), 1):
        length = peak if step < peak else total - peak
        assert abs(after - before) <= math.pi / 2 / length + 1e-9


@pytest.mark.parametrize("name", sorted(set(SCHEDULES) - {"constant"}))
def test_the_floor_is_where_a_schedule_ends(name: str) -> None:
    recipe = Recipe.from_flat({"schedule.name": name, "schedule.floor": 0.2})
    expected = 0.2 + 0.8 * (0.01 if name == "step" else 0.0)
    assert learning_rate_factor(recipe, 9999, 10_000) == pytest.approx(expected, abs=1e-3)
    assert learning_rate_factor(recipe, 999, 10_000) == 1.0  # the warm-up knows nothing of it


def test_one_cycle_is_torchs() -> None:
    """To within two steps: torch's first and last step of a part are its ends, here the ends may lie outside."""
    total, warmup = 10_000, 3_000
    recipe = Recipe.from_flat({"schedule.name": "one_cycle", "schedule.warmup": warmup / total})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=total, pct_start=warmup / total, cycle_momentum=False
    )
    for step in range(total):
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate_factor(recipe, step, total) == pytest.approx(expected, abs=2 * math.pi / 2 / warmup)
        optimizer.step()
        scheduler.step()
    assert learning_rate_factor(recipe, 0, total) == pytest.approx(1 / 25, abs=1e-6)
    assert learning_rate_factor(recipe, total - 1, total) == pytest.approx(1 / 25 / 1e4, abs=1e-6)


def test_cosine_in_numbers() -> None:
    recipe = Recipe.from_flat({"schedule.name": "cosine", "schedule.warmup": 0.2})
    factors = [learning_rate_factor(recipe, step, 10) for step in range(10)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert math.isclose(factors[6], 0.5)
    assert math.isclose(factors[9], 0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_step_divides_by_ten_at_each_third() -> None:
    recipe = Recipe.from_flat({"schedule.name": "step", "schedule.warmup": 0.0})
    assert [learning_rate_factor(recipe, step, 6) for step in range(6)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
