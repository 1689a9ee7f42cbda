"""One fold's network with everything that changes while it trains: weights, optimizer, averaged weights, scaler."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]  # timm re-exports without saying so

from trainer.backbones import create_backbone, preprocessing_of
from trainer.losses import class_weights, image_losses
from trainer.mixing import apply_mix, draw_mix, mixing_epochs
from trainer.optim import build_optimizer, learning_rate_factor, set_learning_rate
from trainer.randomness import random_generator, random_key
from trainer.recipe import Recipe
from trainer.sampling import batches_per_epoch

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EpochOutcome:
    """What one epoch of one fold left behind."""

    losses: npt.NDArray[np.float32]
    """Mean loss of each batch: float32, shape (batches,); not finite where the training broke."""
    micro_batch: int
    """Images per forward pass at the end of the epoch: what was asked for, or what fitted into memory."""


class FoldModel:
    """A network in training on the labels that it may see.

    Args:
        train_y: classes of this fold's training images: int64.
        device: where it lives.
        weights_dir: folder of pre-trained weights, see `create_backbone`.

    Raises:
        BackboneError: the weights are not at hand.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        fold: int,
        seed: int,
        train_y: npt.NDArray[np.int64],
        num_classes: int,
        device: torch.device,
        weights_dir: Path | None,
    ) -> None:
        torch.manual_seed(random_key(seed, "weights", fold))
        model = create_backbone(recipe, num_classes, weights_dir=weights_dir)
        self._recipe, self._fold, self._seed, self._num_classes, self._device = recipe, fold, seed, num_classes, device
        self.preprocessing = preprocessing_of(model)
        # Also on the CPU: up to twice as fast for convolutions there, and no slower for the others.
        self._model = model.to(device).to(memory_format=torch.channels_last)
        self._optimizer = build_optimizer(self._model, recipe)
        self._ema = ModelEmaV3(self._model, decay=recipe.ema, use_warmup=True) if recipe.ema > 0.0 else None
        self._precision = training_precision(device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._precision is torch.float16)
        self._mean = torch.tensor(self.preprocessing.mean, device=device).mul(255.0).view(1, 3, 1, 1)
        self._std = torch.tensor(self.preprocessing.std, device=device).mul(255.0).view(1, 3, 1, 1)
        power = recipe.loss.class_weight
        self._weights = torch.from_numpy(class_weights(train_y, num_classes, power)).to(device) if power > 0.0 else None
        self._statistics = [buffer for buffer in self._model.buffers() if buffer.is_floating_point()]
        self._statistics_before = [torch.empty_like(buffer) for buffer in self._statistics]
        self._batches = batches_per_epoch(len(train_y), recipe.batch_size)

    @property
    def evaluated(self) -> torch.nn.Module:
        """The network whose predictions count, in evaluation mode: averaged weights where the recipe averages."""
        model: torch.nn.Module = self._model if self._ema is None else self._ema.module
        return model.eval()

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs: tensors (on the device, not copied) and plain values."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "ema": None if self._ema is None else self._ema.module.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `state` of the same recipe and fold.

        Raises:
            KeyError, RuntimeError, ValueError: it is of another model; this one may be half restored.
        """
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._ema is not None:
            self._ema.module.load_state_dict(state["ema"])
        self._scaler.load_state_dict(state["scaler"])

    def train_epoch(
        self, epoch: int, batches: Iterable[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]], micro_batch: int
    ) -> EpochOutcome:
        """Train on every batch once.

        Out of memory halves ``micro_batch`` and repeats the batch: gradients accumulate over the parts, so that the
        step is the same but for what batch normalisation sees.

        Args:
            epoch: 1-based.
            batches: images uint8 (b, size, size, 3) with their classes int64 (b,).
            micro_batch: images per forward pass.

        Raises:
            torch.OutOfMemoryError: one image alone, or the optimizer's own state, does not fit.
        """
        self._model.train()
        losses: list[torch.Tensor] = []
        for batch, (images, y) in enumerate(batches):
            loss, micro_batch = self._train_batch(epoch, batch, images, y, micro_batch)
            losses.append(loss)
        # While the other folds train, gradients would take as much memory as the weights.
        self._optimizer.zero_grad(set_to_none=True)
        self._optimizer.zero_grad(set_to_none=True)  # the memory is the next fold's until this one's turn comes again
        # The only wait for the device in the epoch: reading each loss at once would leave it idle between batches.
        return EpochOutcome(losses=torch.stack(losses).cpu().numpy(), micro_batch=micro_batch)

    def rehearse(self, micro_batch: int) -> None:
        """Train on one batch of blank images, ``micro_batch`` at a time, to see what memory that takes.

        Everything moves that a training step moves, so it is for a copy of the model (`copy.deepcopy`).

        Raises:
            torch.OutOfMemoryError: it does not fit.
        """
        self._model.train()
        count, size = self._recipe.batch_size, self._recipe.image_size
        images, y = np.zeros((count, size, size, 3), np.uint8), np.zeros(count, np.int64)
        self._accumulate(*self._prepare(1, 0, images, y), micro_batch)
        self._step(0)
        self._optimizer.zero_grad(set_to_none=True)

    def _train_batch(
        self, epoch: int, batch: int, images: npt.NDArray[np.uint8], y: npt.NDArray[np.int64], micro_batch: int
    ) -> tuple[torch.Tensor, int]:
        recipe = self._recipe
        step = (epoch - 1) * self._batches + batch
        factor = learning_rate_factor(recipe, step, recipe.epochs * self._batches)
        set_learning_rate(self._optimizer, recipe.optimizer.lr * factor)
        pixels, targets = self._prepare(epoch, batch, images, y)
        # A forward pass moves the running statistics of batch normalisation; a repeated one must not move them twice.
        _copy_all(self._statistics, to=self._statistics_before)
        while True:
            # Dropout and stochastic depth draw from torch's global generator.
            torch.manual_seed(random_key(self._seed, "dropout", self._fold, epoch, batch))
            self._optimizer.zero_grad(set_to_none=True)
            try:
                loss = self._accumulate(pixels, targets, micro_batch)
                break
            except torch.OutOfMemoryError:
                if micro_batch <= 1:
                    raise
            # Not in the handler: while it runs, the exception keeps the activations of the failed pass alive.
            micro_batch = min(micro_batch, len(pixels)) // 2 or 1
            log.warning(
                "Fold %d, epoch %d: out of memory; going on with %d images at a time.", self._fold, epoch, micro_batch
            )
            _copy_all(self._statistics_before, to=self._statistics)
            if self._device.type == "cuda":
                self._optimizer.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()
        self._step(step)
        return loss, micro_batch

    def _prepare(
        self, epoch: int, batch: int, images: npt.NDArray[np.uint8], y: npt.NDArray[np.int64]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Bytes to normalised, blended network input on the device: (b, 3, size, size) and (b, C), both float32."""
        host = torch.from_numpy(images)
        if self._device.type == "cuda":
            host = host.pin_memory()  # a copy from pageable memory would wait for all queued work
        # Images lie channels-last as they come: the permuted view is in the layout that convolutions like best.
        pixels = host.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float().sub_(self._mean).div_(self._std)
        targets = torch.nn.functional.one_hot(torch.from_numpy(y), self._num_classes).float().to(self._device)
        if epoch <= mixing_epochs(self._recipe.augment, self._recipe.epochs):
            mix = draw_mix(
                self._recipe.augment,
                batch_size=len(y),
                size=pixels.shape[-1],
                generator=random_generator(self._seed, "mix", self._fold, epoch, batch),
            )
            if mix is not None:
                return apply_mix(pixels, targets, mix)
        return pixels, targets

    def _accumulate(self, pixels: torch.Tensor, targets: torch.Tensor, micro_batch: int) -> torch.Tensor:
        """Add up the gradient of the batch's mean loss in equal parts of up to ``micro_batch``; return that loss."""
        total = torch.zeros((), device=self._device)
        parts = -(-len(pixels) // micro_batch)
        for part, wanted in zip(pixels.tensor_split(parts), targets.tensor_split(parts), strict=True):
            with torch.autocast(self._device.type, dtype=self._precision, enabled=self._precision is not torch.float32):
                logits = self._model(part)
            loss = image_losses(logits, wanted, self._recipe.loss, self._weights).sum() / len(pixels)
            torch.autograd.backward(self._scaler.scale(loss))
            total += loss.detach()
        return total

    def _step(self, step: int) -> None:
        limit = self._recipe.optimizer.clip_grad
        if limit > 0.0:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), limit)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._ema is not None:
            self._ema.update(self._model, step=step + 1)


def training_precision(device: torch.device) -> torch.dtype:
    """What the forward pass of a training computes in: bfloat16 on GPUs that have it, float16 on older ones."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _copy_all(tensors: list[torch.Tensor], *, to: list[torch.Tensor]) -> None:
    """As one operation: hundreds of small copies would cost some percent of a training step on a GPU."""
    if tensors:
        torch._foreach_copy_(to, tensors)
