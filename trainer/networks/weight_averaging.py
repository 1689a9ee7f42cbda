"""Averaged weights: a second copy of a network, moved a little towards the first one after every step.

One copy serves both kinds of average; only the share that it keeps of itself (its decay) differs:

- exponential (``recipe.ema``): timm's decay, which rises from 0 to the recipe's, so that the random weights of the
  beginning are soon forgotten;
- equal (``recipe.swa``, Izmailov et al. 2018): at the k-th step of the last part of the training the decay is
  (k - 1) / k, which makes the copy the plain mean of the weights after these k steps. It begins anew there, whatever
  the exponential average was. It averages the more the further the weights still move: with `schedule.floor`, say.

The statistics of batch normalisation are averaged like the weights; whole numbers are copied. The paper recomputes
the statistics for the averaged weights instead, which costs a forward pass over all training images whenever they are
evaluated, as much as a third of an epoch's time; the mean of the statistics is close where the weights are.
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
        model: on its device; parameters that take no gradient stay as they are and are left out of the averaging.
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
        """Whether the averaged weights are what is evaluated: not before there is an average."""
        return self._moved or self._ema > 0.0

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the network's weights after optimizer step ``step`` (0-based)."""
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
        """What the copy keeps of itself at ``step``; None = nothing is averaged yet."""
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
            KeyError, RuntimeError: it is of another network.
        """
        self.module.load_state_dict(state["module"])
        self._moved = state["moved"]


def averaged_model(model: torch.nn.Module, recipe: Recipe, total_steps: int) -> AveragedModel | None:
    """The copy that ``recipe`` asks for, or None where nothing is averaged."""
    return AveragedModel(model, recipe, total_steps) if recipe.ema > 0.0 or recipe.swa > 0.0 else None


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
