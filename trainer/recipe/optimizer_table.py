"""The tables of optimizers and learning-rate schedules: name, defaults and documentation of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class OptimizerRule:
    """One optimizer: its name in timm and the meaning of the recipe's settings for it."""

    doc: str
    timm_name: str
    momentum: Literal["momentum", "first beta", "both"]
    """The meaning of ``optimizer.momentum``; ``"both"``: momentum for some weights, first beta for the others."""
    second_beta: float = 0.999
    """The value for ``optimizer.beta2 = 0``, of optimizers with betas; no effect on Adafactor, which has one."""
    middle_beta: float | None = None
    """The second of three betas, of optimizers that have three; ``optimizer.beta2`` then sets the third."""
    lowest_momentum: float = 0.0
    """Minimum momentum, below which the steps diverge; a smaller value in a recipe is raised to it."""
    usual_lr: float = 1.0
    """Usual learning rate as a multiple of AdamW's, roughly: a first guess for the middle of a range."""
    fused: bool = False
    """Whether torch has a fused kernel over all weights, on CPU and CUDA: it takes a third of the plain one's time."""
    slow_on_gpus: bool = False
    """Whether a step handles one weight tensor after another, with 7 to 19 kernel launches for each. Others take at
    most 5, and most of them fewer than 50 for all tensors together. A GPU waits for the launches of small networks.
    Portfolios try such an optimizer after the others.
    """
    fallback: bool = False
    """Whether it is for weight matrices inside the network only; AdamW then trains the classifier and all else."""


# Left out: Rprop, which needs gradients of the whole data set; Adagrad and Adadelta, whose own adaptation of the rate
# works against every schedule; second-order ones (AdaHessian, Kron), which at least double the cost of a step; and
# wrappers such as Lookahead, which the copy for measuring a training's memory would lose.
OPTIMIZERS: dict[str, OptimizerRule] = {
    "sgd": OptimizerRule(
        doc="SGD with Nesterov momentum", timm_name="sgd", momentum="momentum", usual_lr=30.0, fused=True
    ),
    "momentum": OptimizerRule(
        doc="SGD with classical momentum", timm_name="momentum", momentum="momentum", usual_lr=30.0, fused=True
    ),
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
    "lamb": OptimizerRule(
        doc="layer-wise scaled Adam, for large batches", timm_name="lamb", momentum="first beta", usual_lr=5.0
    ),
    "lion": OptimizerRule(
        doc="sign of the momentum; about a tenth of AdamW's learning rate",
        timm_name="lion",
        momentum="first beta",
        second_beta=0.99,
        usual_lr=0.1,
    ),
    "rmsprop": OptimizerRule(doc="RMSprop as in TensorFlow", timm_name="rmsproptf", momentum="momentum"),
    "adamax": OptimizerRule(
        doc="Adam with the infinity norm of the gradients (Kingma & Ba 2015); twice AdamW's learning rate",
        timm_name="adamax",
        momentum="first beta",
        usual_lr=2.0,
    ),
    "nadam": OptimizerRule(
        doc="Adam with Nesterov momentum (Dozat 2016); weight decay is added to the gradient",
        timm_name="nadam",
        momentum="first beta",
    ),
    "adabelief": OptimizerRule(
        doc="Adam that divides by gradients' deviation from their mean (Zhuang et al. 2020); AdamW's learning rate",
        timm_name="adabelief",
        momentum="first beta",
        lowest_momentum=0.1,  # at 0 the mean is the gradient itself, and the deviation 0
    ),
    "adamp": OptimizerRule(
        doc="Adam without the growth of scale-invariant weights (Heo et al. 2021); AdamW's learning rate"
        "; slow on GPUs: 19 kernel launches for each weight tensor, and it waits for the GPU in each step",
        timm_name="adamp",
        momentum="first beta",
        slow_on_gpus=True,
    ),
    "adan": OptimizerRule(
        doc="adaptive Nesterov momentum (Xie et al. 2022); tolerates several times AdamW's learning rate",
        timm_name="adan",
        momentum="first beta",
        middle_beta=0.92,
        second_beta=0.99,
        usual_lr=2.0,
    ),
    "adopt": OptimizerRule(
        doc="Adam that converges with any second beta, decoupled decay (Taniguchi et al. 2024); AdamW's learning rate",
        timm_name="adoptw",
        momentum="first beta",
        second_beta=0.9999,
    ),
    "cadamw": OptimizerRule(
        doc="AdamW without components that oppose the gradient (Liang et al. 2024); AdamW's learning rate",
        timm_name="cadamw",
        momentum="first beta",
    ),
    "laprop": OptimizerRule(
        doc="Adam that scales gradients before the momentum (Ziyin et al. 2020); AdamW's learning rate",
        timm_name="laprop",
        momentum="first beta",
    ),
    "mars": OptimizerRule(
        doc="AdamW with variance reduction (Yuan et al. 2024); up to three times AdamW's learning rate"
        "; slow on GPUs: 14 kernel launches for each weight tensor",
        timm_name="mars",
        momentum="first beta",
        second_beta=0.99,
        usual_lr=2.0,
        slow_on_gpus=True,
    ),
    "adafactor": OptimizerRule(
        doc="Adam in little memory, steps in proportion to the weights (Shazeer & Stern 2018); five times AdamW's rate"
        "; slow on GPUs: 18 kernel launches for each weight tensor",
        timm_name="adafactor",
        momentum="first beta",
        usual_lr=5.0,
        slow_on_gpus=True,
    ),
    "novograd": OptimizerRule(
        doc="Adam with one second moment a layer (Ginsburg et al. 2019); three times AdamW's learning rate"
        "; slow on GPUs: 11 kernel launches for each weight tensor, and it waits for the GPU in each step",
        timm_name="novograd",
        momentum="first beta",
        second_beta=0.98,
        usual_lr=3.0,
        slow_on_gpus=True,
    ),
    "lars": OptimizerRule(
        doc="layer-wise scaled SGD (You et al. 2017), for large batches and CNNs; a learning rate of 1 and more",
        timm_name="lars",
        momentum="momentum",
        usual_lr=1000.0,
    ),
    "madgrad": OptimizerRule(
        doc="dual averaging (Defazio & Jelassi 2022), for long trainings; AdamW's learning rate, little weight decay"
        "; slow on GPUs: 7 kernel launches for each weight tensor",
        timm_name="madgrad",
        momentum="momentum",
        slow_on_gpus=True,
    ),
    "muon": OptimizerRule(
        doc="orthogonal steps for matrices (Jordan et al. 2024), NAdamW for the rest; AdamW's rate or a few times that"
        "; slow on GPUs: 8 kernel launches for each weight tensor",
        timm_name="nmuon",
        momentum="both",
        second_beta=0.95,
        usual_lr=2.0,
        fallback=True,
        slow_on_gpus=True,
    ),
}
"""Every optimizer by its name in a recipe."""


@dataclass(frozen=True, kw_only=True)
class ScheduleRule:
    """The shape of a learning-rate schedule, as fractions of the peak."""

    doc: str
    fall: Callable[[float], float]
    """Progress 0 .. 1 after the warm-up -> fraction of the peak, falling from 1."""
    rise: Callable[[float], float] = lambda progress: progress
    """Progress 0 .. 1 in the warm-up -> fraction of the peak, rising to 1."""


ONE_CYCLE_START = 25.0  # peak / initial rate, as in torch's OneCycleLR
ONE_CYCLE_END = 1e4  # initial / final rate, as in torch's OneCycleLR


def _cosine(begin: float, end: float, progress: float) -> float:
    share = 0.5 * (1.0 + math.cos(math.pi * progress))
    return begin * share + end * (1.0 - share)  # exactly begin and end at both ends


SCHEDULES: dict[str, ScheduleRule] = {
    "cosine": ScheduleRule(
        doc="half a cosine down to 0", fall=lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress))
    ),
    "linear": ScheduleRule(doc="straight down to 0", fall=lambda progress: 1.0 - progress),
    "step": ScheduleRule(
        doc="divided by ten at each third of the way", fall=lambda progress: 0.1 ** min(2, int(3.0 * progress))
    ),
    "constant": ScheduleRule(doc="stays at the peak", fall=lambda progress: 1.0),
    "one_cycle": ScheduleRule(
        doc="up by half a cosine from 1/25, down to nearly 0 (Smith & Topin 2019); a warm-up of 0.3 is usual. "
        "The momentum is constant",
        rise=lambda progress: _cosine(1.0 / ONE_CYCLE_START, 1.0, progress),
        fall=lambda progress: _cosine(1.0, 1.0 / ONE_CYCLE_START / ONE_CYCLE_END, progress),
    ),
}
"""Every schedule by its name in a recipe."""
