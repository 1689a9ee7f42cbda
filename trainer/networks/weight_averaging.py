"""Weight averaging: a second copy of a network that follows the first one, and is evaluated and kept in its place.

`AveragedModel` follows it after every optimizer step: the copy keeps a share of itself, the decay, and takes the rest
from the network. The two kinds of average differ in the decay only:

- Exponential moving average (``recipe.ema``): timm's decay, which rises from 0 to the recipe's value, so that the
  random initial weights are soon forgotten.
- Stochastic weight averaging (``recipe.swa``; Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better
  Generalization"): at the k-th step of the last part of the training the decay is (k - 1) / k, so the copy is the plain
  mean of the weights after these k steps. It starts anew there and discards the exponential average. The further the
  weights still move in this part, as with a `schedule.floor`, the more there is to average.

Of low-rank adapters the two factors are averaged, not their product: they are what learns, and the product of the
averages still has the rank of the adapter.

`StartInterpolation` averages the starting weights and the present ones.

The running statistics of batch normalisation are averaged like the weights; integers are copied. The paper recomputes
the statistics for the averaged weights instead. That costs a forward pass over all training images before every
evaluation, up to a third of an epoch's time, and the averaged statistics are close if the weights are.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from trainer.recipe.recipe import Recipe

WARMUP_POWER = 2 / 3  # of timm's ModelEmaV3


class AveragedModel:
    """The averaged copy of a network in training.

    Args:
        model: the network, on its device; parameters without gradients are not averaged.
        total_steps: optimizer steps of the whole training.
    """

    def __init__(self, model: torch.nn.Module, recipe: Recipe, total_steps: int) -> None:
        self.module: torch.nn.Module = copy.deepcopy(model).eval()
        self._ema = recipe.ema
        self._swa_begins = total_steps - _swa_steps(recipe, total_steps)
        self._moved = False
        # Looked up once: a state dict takes as long to make as all tensors to average.
        pairs = [
            (average, current)
            for average, current in zip(_tensors(self.module), _tensors(model), strict=True)
            if current.requires_grad or not isinstance(current, torch.nn.Parameter)
        ]
        self._averages, self._current = _split(pairs, floating=True)
        self._copies, self._copied = _split(pairs, floating=False)

    @property
    def counts(self) -> bool:
        """Whether to evaluate the averaged weights: False until there is an average."""
        return self._moved or self._ema > 0.0

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the network's weights after optimizer step ``step`` (0-based) in the average."""
        decay = self._decay(step)
        if decay is None:
            return
        self._moved = True
        # As one operation each: hundreds of small ones would cost some percent of a training step on a GPU.
        if self._averages:
            torch._foreach_lerp_(self._averages, self._current, weight=1.0 - decay)
        if self._copies:
            torch._foreach_copy_(self._copies, self._copied)

    def _decay(self, step: int) -> float | None:
        """Share of itself that the copy keeps at ``step``; None: nothing is averaged yet."""
        in_swa = step - self._swa_begins + 1
        if in_swa >= 1:
            return (in_swa - 1) / in_swa
        if self._ema == 0.0:
            return None
        return min(1.0 - (1.0 + step) ** -WARMUP_POWER, self._ema) if step > 0 else 0.0

    def state(self) -> dict[str, Any]:
        """The averaged tensors by name, not copied, and whether anything was averaged."""
        return {"module": self.module.state_dict(), "moved": self._moved}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `state` of the same recipe.

        Raises:
            KeyError, RuntimeError: the state belongs to another network.
        """
        self.module.load_state_dict(state["module"])
        self._moved = state["moved"]


def averaged_model(model: torch.nn.Module, recipe: Recipe, total_steps: int) -> AveragedModel | None:
    """The averaged copy of ``model``; None if ``recipe`` averages no weights."""
    return AveragedModel(model, recipe, total_steps) if recipe.ema > 0.0 or recipe.swa > 0.0 else None


SHARES = (0.0, 0.25, 0.5, 0.75)
"""Shares of the starting weights among which `StartInterpolation.share` is chosen after the last epoch."""
MIDDLE = 0.5
"""Its share until then."""


class StartInterpolation:
    """A second copy of a network whose weights lie between its starting weights and its present ones.

    Weight-space ensembling (WiSE-FT; Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"): the straight line
    between the starting and the fine-tuned weights passes through networks that are often better than either end. The
    starting network has to predict the classes, as it does with a probe's classifier (``recipe.head``).

    Statistics of normalisation layers are interpolated like weights; integers are the present ones. Of low-rank
    adapters the two factors are interpolated.

    Args:
        model: the network before its first step, on its device.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.module: torch.nn.Module = copy.deepcopy(model).eval()
        self.share = MIDDLE
        """Share of the starting weights, 0 .. 1."""
        # In host memory, because they are read once an epoch.
        self._start = {
            name: tensor.detach().to("cpu", copy=True)
            for name, tensor in model.state_dict().items()
            if tensor.is_floating_point()
        }

    @torch.no_grad()
    def follow(self, model: torch.nn.Module) -> torch.nn.Module:
        """The copy, between the starting weights and the present ones of ``model``, the same network."""
        present = model.state_dict()
        for name, tensor in self.module.state_dict().items():
            start = self._start.get(name)
            if start is None:
                tensor.copy_(present[name])
            else:
                tensor.copy_(torch.lerp(present[name], start.to(tensor.device), self.share))
        return self.module

    def state(self) -> dict[str, torch.Tensor]:
        """The starting weights by name, not copied."""
        return self._start

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go back to a `state` of the same network.

        Raises:
            KeyError, RuntimeError: the state belongs to another network.
        """
        for name, tensor in self._start.items():
            tensor.copy_(state[name])


def start_interpolation(model: torch.nn.Module, recipe: Recipe) -> StartInterpolation | None:
    """The interpolated copy of ``model``, which is untrained; None if ``recipe`` keeps the trained weights."""
    return StartInterpolation(model) if recipe.wise_ft else None


def _swa_steps(recipe: Recipe, total_steps: int) -> int:
    return max(1, round(recipe.swa * total_steps)) if recipe.swa > 0.0 else 0


def _tensors(model: torch.nn.Module) -> list[torch.Tensor]:
    # The tensors themselves, no detached views of them: a deep copy of this object then refers to its own model's.
    return list(model.state_dict(keep_vars=True).values())


def _split(
    pairs: list[tuple[torch.Tensor, torch.Tensor]], *, floating: bool
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    chosen = [(average, current) for average, current in pairs if current.is_floating_point() is floating]
    return [average for average, _ in chosen], [current for _, current in chosen]
