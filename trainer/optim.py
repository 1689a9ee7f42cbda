"""Optimizers and learning rate schedules by name.

The optimizers are timm's: biases, norms and whatever a model lists as such take no weight decay, and the layer-wise
decay of the learning rate follows each model's own grouping. Importing this module is cheap; torch and timm are
imported when an optimizer is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from trainer.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class OptimizerRule:
    """How one optimizer is made: its name in timm, and what ``optimizer.momentum`` means to it."""

    doc: str
    timm_name: str
    momentum: Literal["momentum", "first beta"]
    second_beta: float = 0.999
    fused: bool = False
    """Whether torch has it as one kernel over all weights, on CPU and CUDA: a third of the time of the plain one."""


OPTIMIZERS: dict[str, OptimizerRule] = {
    "sgd": OptimizerRule(doc="SGD with Nesterov momentum", timm_name="sgd", momentum="momentum", fused=True),
    "momentum": OptimizerRule(doc="SGD with classical momentum", timm_name="momentum", momentum="momentum", fused=True),
    "adam": OptimizerRule(
        doc="Adam; weight decay is added to the gradient", timm_name="adam", momentum="first beta", fused=True
    ),
    "adamw": OptimizerRule(
        doc="Adam with decoupled weight decay", timm_name="adamw", momentum="first beta", fused=True
    ),
    "nadamw": OptimizerRule(
        doc="Adam with Nesterov momentum and decoupled weight decay", timm_name="nadamw", momentum="first beta"
    ),
    "radam": OptimizerRule(doc="rectified Adam with decoupled weight decay", timm_name="radamw", momentum="first beta"),
    "lamb": OptimizerRule(doc="layer-wise scaled Adam, for large batches", timm_name="lamb", momentum="first beta"),
    "lion": OptimizerRule(
        doc="sign of the momentum; wants about a tenth of AdamW's learning rate",
        timm_name="lion",
        momentum="first beta",
        second_beta=0.99,
    ),
    "rmsprop": OptimizerRule(doc="RMSprop as in TensorFlow", timm_name="rmsproptf", momentum="momentum"),
}
"""Every optimizer by its name in a recipe."""


SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1.0 - progress,
    "step": lambda progress: 0.1 ** min(2, int(3.0 * progress)),
    "constant": lambda progress: 1.0,
}
"""Share of the peak learning rate by progress 0 .. 1 after the warm-up; ``step`` divides by ten at each third."""


def build_optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make the optimizer that ``recipe`` names for ``model``, at its peak learning rate.

    Where layers learn at different rates, each parameter group carries its factor as ``"lr_scale"``; whoever sets the
    learning rate multiplies by it (see `set_learning_rate`).
    """
    from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]  # timm re-exports without saying so

    settings = recipe.optimizer
    rule = OPTIMIZERS[settings.name]
    arguments: dict[str, Any] = {"fused": True} if rule.fused else {}
    if rule.momentum == "momentum":
        arguments["momentum"] = settings.momentum
        if settings.momentum == 0.0 and rule.timm_name == "sgd":
            arguments["nesterov"] = False  # torch refuses Nesterov momentum of zero; both are plain SGD
    else:
        arguments["betas"] = (settings.momentum, rule.second_beta)
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        model,
        opt=rule.timm_name,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        layer_decay=settings.layer_decay if settings.layer_decay < 1.0 else None,
        **arguments,
    )
    return optimizer


def learning_rate_factor(recipe: Recipe, step: int, total_steps: int) -> float:
    """Share of the peak learning rate at optimizer step ``step`` (0-based) of ``total_steps``: 0 .. 1.

    Linear warm-up over the first ``schedule.warmup`` of all steps, reaching 1 at its last step, then the schedule,
    whose first step stands at progress 0 and whose last lies one step short of progress 1.
    """
    warmup_steps = round(recipe.schedule.warmup * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return SCHEDULES[recipe.schedule.name]((step - warmup_steps) / max(1, total_steps - warmup_steps))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every parameter group ``learning_rate`` times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_scale", 1.0)
