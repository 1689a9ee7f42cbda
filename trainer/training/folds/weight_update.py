"""The optimizer's step, and how a first step that runs out of memory is undone.

Optimizers create their state at the first step, one group of parameters after another. If memory runs out half-way,
some weights have moved already, and a second step would move these twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from trainer.common.memory_errors import is_out_of_memory

FIRST_STEPS = 8
"""Steps after which an optimizer without state is taken to need none, such as SGD without momentum. At the first scales
of float16 a gradient may overflow; the scaler then skips the step, and with it the state."""


def update_weights(
    parameters: Iterable[torch.Tensor],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    clip_grad: float,
    even_with_overflow: bool = False,
) -> None:
    """Change the weights by their gradients.

    Args:
        clip_grad: largest norm of the gradients of all ``parameters``; 0: any.
        even_with_overflow: in float16 as well, where at the first scale gradients may overflow and the scaler would
            skip the step, and with it the optimizer's state.
    """
    if clip_grad > 0.0:
        if not even_with_overflow:
            scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, clip_grad)
    if even_with_overflow:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()


class FirstStep:
    """Undoes the first step of an optimizer if memory runs out in it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._left = FIRST_STEPS

    def attempt(self, step: Callable[[], None]) -> bool:
        """Call ``step``, which changes the weights by the optimizer. All errors but those below are passed on.

        A call copies the weights to host memory if the optimizer has no state yet, but not after `FIRST_STEPS`.

        Returns:
            False if memory ran out in the first step: the weights are as before, and the optimizer has no state. In a
            later step the error is passed on, because the weights are then in no defined state.
        """
        if self._optimizer.state or not self._left:
            step()
            return True
        groups = self._optimizer.param_groups
        settings = [{name: value for name, value in group.items() if name != "params"} for group in groups]
        weights = [weight for group in groups for weight in group["params"]]
        copies = [weight.detach().to("cpu", copy=True) for weight in weights]
        try:
            step()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            self._left -= 1
            return True
        self._optimizer.state.clear()
        for name in ("grad_scale", "found_inf"):  # the scaler sets them for the time of a fused step
            self._optimizer.__dict__.pop(name, None)
        for group, before in zip(groups, settings, strict=True):  # some optimizers count their steps there
            for name in group.keys() - before.keys() - {"params"}:
                del group[name]
            group.update(before)
        with torch.no_grad():
            for weight, copy in zip(weights, copies, strict=True):
                weight.copy_(copy)
        return False


def renewed(scaler: torch.amp.GradScaler, device: torch.device) -> torch.amp.GradScaler:
    """A scaler with the same scale that has seen no gradients of the present step."""
    new = torch.amp.GradScaler(device.type, enabled=scaler.is_enabled())
    if scaler.is_enabled():
        new.load_state_dict(scaler.state_dict())
    return new
