"""Optimizers and learning rate schedules by name.

The optimizers are those of timm and torch. Biases, normalisation layers and the parameters that a model itself exempts
have no weight decay. Layer-wise learning rate decay follows each model's own layer groups. Importing this module is
cheap; torch and timm are imported when an optimizer is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.networks.layers import classifier_tensors
from trainer.recipe.optimizer_table import OPTIMIZERS, SCHEDULES

if TYPE_CHECKING:
    import torch

    from trainer.recipe.recipe import Recipe


def build_optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build the optimizer of ``recipe`` for the trainable parameters of ``model``, at the peak learning rate.

    If layers have different learning rates, each parameter group has its factor under ``"lr_scale"``;
    `set_learning_rate` multiplies by it.

    Raises:
        BackboneError: the optimizer treats the classifier differently, but the model does not say which layer it is.
    """
    from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]  # timm re-exports without saying so

    settings = recipe.optimizer
    rule = OPTIMIZERS[settings.name]
    momentum = max(settings.momentum, rule.lowest_momentum)
    arguments: dict[str, Any] = {"fused": True} if rule.fused else {}
    if rule.momentum in ("momentum", "both"):
        arguments["momentum"] = momentum
        if momentum == 0.0 and rule.timm_name == "sgd":
            arguments["nesterov"] = False  # torch refuses Nesterov momentum of zero; both are plain SGD
    if rule.momentum in ("first beta", "both"):
        middle = () if rule.middle_beta is None else (rule.middle_beta,)
        arguments["betas"] = (momentum, *middle, settings.beta2 or rule.second_beta)
    if rule.fallback:
        arguments["fallback_list"] = sorted(classifier_tensors(model))
        arguments["fallback_no_weight_decay"] = True  # for position embeddings and tokens, which timm exempts
    if settings.head_lr != 1.0:
        arguments["param_group_fn"] = lambda model: _groups_with_head(model, recipe, arguments)
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        model,
        opt=rule.timm_name,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        layer_decay=settings.layer_decay if settings.layer_decay < 1.0 else None,
        **arguments,
    )
    return optimizer


def _groups_with_head(model: torch.nn.Module, recipe: Recipe, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """timm's parameter groups, each split into the classifier's parameters and the others, without empty groups."""
    from timm.optim import param_groups_layer_decay, param_groups_weight_decay  # type: ignore[attr-defined]

    settings = recipe.optimizer
    options: dict[str, Any] = {
        "weight_decay": settings.weight_decay,
        "no_weight_decay_list": getattr(model, "no_weight_decay", set)(),
        "fallback_list": arguments.get("fallback_list", ()),
        "fallback_no_weight_decay": arguments.get("fallback_no_weight_decay", False),
    }
    groups: list[dict[str, Any]] = (
        param_groups_layer_decay(model, layer_decay=settings.layer_decay, **options)
        if settings.layer_decay < 1.0
        else param_groups_weight_decay(model, **options)
    )
    names = classifier_tensors(model)
    head = {id(parameter) for name, parameter in model.named_parameters() if name in names}
    divided = []
    for group in groups:
        for in_head in (False, True):
            chosen = [parameter for parameter in group["params"] if (id(parameter) in head) is in_head]
            if chosen:
                scale = group.get("lr_scale", 1.0) * (settings.head_lr if in_head else 1.0)
                divided.append({**group, "params": chosen, "lr_scale": scale})
    return divided


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state dict, and keep the numbers that the host reads in each step in host memory.

    torch moves every tensor of a state to the device of its weight, except the number of steps. NAdam's running product
    of momenta then makes each step wait for the GPU, once for every weight tensor.

    Raises:
        KeyError, RuntimeError, ValueError: the state belongs to another optimizer.
    """
    optimizer.load_state_dict(state)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    saved = [state["state"].get(number, {}) for group in state["param_groups"] for number in group["params"]]
    for parameter, values in zip(parameters, saved, strict=True):
        if "mu_product" in values:
            optimizer.state[parameter]["mu_product"] = values["mu_product"].detach().cpu().clone()


def learning_rate_factor(recipe: Recipe, step: int, total_steps: int) -> float:
    """Share of the peak learning rate at optimizer step ``step`` (0-based) of ``total_steps``: 0 .. 1.

    The warm-up takes the first ``schedule.warmup`` (a share) of all steps and reaches 1 at its last step. The schedule
    follows: its first step is at progress 0, its last one step short of progress 1. It is scaled to fall from 1 to
    ``schedule.floor`` instead of 0.
    """
    schedule, floor = SCHEDULES[recipe.schedule.name], recipe.schedule.floor
    warmup_steps = round(recipe.schedule.warmup * total_steps)
    if step < warmup_steps:
        return schedule.rise((step + 1) / warmup_steps)
    return floor + (1.0 - floor) * schedule.fall((step - warmup_steps) / max(1, total_steps - warmup_steps))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every parameter group ``learning_rate`` times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_scale", 1.0)
