"""One fold's network and all that its training changes: weights, optimizer, averaged weights, gradient scaler."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainer.batches.batch_plan import batches_per_epoch
from trainer.batches.mixup import apply_mix, draw_mix, mixing_epochs
from trainer.batches.transfer import send
from trainer.common.memory_errors import is_out_of_memory
from trainer.common.randomness import random_generator, random_key
from trainer.evaluation.several_labels import has_several
from trainer.inference.images import Normaliser
from trainer.networks.backbones import preprocessing_of
from trainer.networks.build import create_backbone
from trainer.networks.freezing import freeze, train_mode
from trainer.networks.optimizers import build_optimizer, learning_rate_factor, restore_optimizer, set_learning_rate
from trainer.networks.weight_averaging import averaged_model, start_interpolation
from trainer.probing.frozen_backbone import install_head
from trainer.probing.linear_head import LinearHead
from trainer.recipe.recipe import Recipe
from trainer.training.folds.algorithm_search import AlgorithmSearch
from trainer.training.folds.batch_parts import Buffers, divided, needs_two_images
from trainer.training.folds.devices import seed_generators, training_precision
from trainer.training.folds.memory.offloading import Offloader
from trainer.training.folds.weight_update import FirstStep, renewed, update_weights
from trainer.training.losses import compute_class_weights, image_losses
from trainer.training.results import EpochOutcome, TrainingTargets

log = logging.getLogger(__name__)


class FoldModel:
    """The network of one fold, in training.

    Args:
        fold: number of the fold, from 0.
        seed: of the training; with ``fold`` it determines the initial weights, dropout and blending.
        train_y: classes of this fold's training images: int64, shape (n,), or (n, C) of several labels.
        device: of the network and its optimizer.
        weights_dir: folder of pre-trained weights, see `create_backbone`.
        head: the classifier with which the training begins; None: the one of `create_backbone`.

    Raises:
        BackboneError: the pre-trained weights are not at hand.
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
        head: LinearHead | None = None,
    ) -> None:
        seed_generators(device, random_key(seed, "weights", fold))
        model = create_backbone(recipe, num_classes, weights_dir=weights_dir)
        if head is not None:
            install_head(model, head)
        self._recipe, self._fold, self._seed, self._num_classes, self._device = recipe, fold, seed, num_classes, device
        self.several_labels = has_several(train_y)
        """Whether the network predicts each label by itself."""
        self.preprocessing = preprocessing_of(model)
        self._frozen = freeze(model, recipe)
        # Channels last also on the CPU: convolutions are up to twice as fast, and other networks no slower.
        self._model = model.to(device).to(memory_format=torch.channels_last)
        self._batches = batches_per_epoch(len(train_y), recipe.batch_size)
        self._search = AlgorithmSearch(recipe, self._batches, device)
        self._optimizer = build_optimizer(self._model, recipe)
        self._average = averaged_model(self._model, recipe, recipe.epochs * self._batches)
        self._interpolation = start_interpolation(self._model, recipe)
        self._precision = training_precision(device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._precision is torch.float16)
        self._normaliser = Normaliser(self.preprocessing.mean, self.preprocessing.std, recipe.image_size, device)
        power = recipe.loss.class_weight
        self._class_weights = (
            torch.from_numpy(compute_class_weights(train_y, num_classes, power)).to(device) if power > 0.0 else None
        )
        self._buffers = Buffers(self._model)
        self._first_step = FirstStep(self._optimizer)
        self._offloader = Offloader(device)
        self.least_part = 1
        """Images that a pass in training needs at least: 2 once batch normalisation has refused a single one."""
        self.park_others: Callable[[], None] | None = None
        """Moves the other folds to host memory when memory runs out; None: they are there, or nowhere."""

    @property
    def evaluated(self) -> torch.nn.Module:
        """The network that is evaluated, in evaluation mode: with averaged weights where the recipe averages them."""
        average = self._average
        model = self._model if average is None or not average.counts else average.module
        if self._interpolation is not None:
            model = self._interpolation.follow(model)
        return model.eval()

    def set_start_share(self, share: float) -> None:
        """Evaluate the network with this share of its starting weights (`recipe.wise_ft`), 0 .. 1."""
        assert self._interpolation is not None, "the recipe keeps the trained weights"
        self._interpolation.share = share

    def with_start_share(self, share: float) -> torch.nn.Module:
        """A copy of the evaluated network with this share of its starting weights, in evaluation mode."""
        self.set_start_share(share)
        return copy.deepcopy(self.evaluated)

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs: plain values, and tensors that are not copied and may be offloaded."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": None if self._average is None else self._average.state(),
            "start": None if self._interpolation is None else self._interpolation.state(),
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `state` of the same recipe and fold, which may come from a device with another precision.

        Raises:
            KeyError, RuntimeError, ValueError: the state belongs to another model; this one may be half restored.
        """
        self._model.load_state_dict(state["model"])
        restore_optimizer(self._optimizer, state["optimizer"])
        if self._average is not None:
            self._average.restore(state["average"])
        if self._interpolation is not None:
            self._interpolation.restore(state["start"])
        # Only training in float16 scales its gradients. Without the scale of an earlier epoch it begins at the highest.
        if self._scaler.is_enabled() and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])

    def offload(self) -> None:
        """Move everything that is kept between epochs to host memory, until `load`; `state` may be read meanwhile."""
        self._offloader.offload(self._kept())

    def load(self) -> None:
        """Move everything back to the device, unchanged.

        Raises:
            torch.OutOfMemoryError: it does not fit.
        """
        self._offloader.load()

    def _kept(self) -> Iterator[torch.Tensor]:
        copies = [each.module for each in (self._average, self._interpolation) if each is not None]
        for module in (self._model, *copies):
            yield from module.parameters()
            yield from module.buffers()
        for values in self._optimizer.state.values():
            yield from (value for value in values.values() if isinstance(value, torch.Tensor))
        yield from self._buffers.copies()

    def train_epoch(
        self, epoch: int, batches: Iterable[tuple[npt.NDArray[np.uint8], TrainingTargets]], micro_batch: int
    ) -> EpochOutcome:
        """Train on every batch once.

        When memory runs out, the other folds move to host memory (`park_others`). After that ``micro_batch`` is
        halved. Each time the batch is repeated. Gradients accumulate over the parts, so the optimizer step is the same
        except for batch normalisation, which sees smaller batches. Of the optimizer's steps only the first is repeated.

        Args:
            epoch: 1-based.
            batches: images uint8 (b, size, size, 3) with their classes int64 (b,), or shares of classes (b, C).
            micro_batch: images per forward pass.

        Raises:
            RuntimeError: by `is_out_of_memory`, one image alone, or the optimizer's own state, does not fit.
        """
        train_mode(self._model, self._frozen)
        losses: list[torch.Tensor] = []
        for batch, (images, y) in enumerate(self._search.during(epoch, batches)):
            loss, micro_batch = self._train_batch(epoch, batch, images, y, micro_batch)
            losses.append(loss)
        self._optimizer.zero_grad(set_to_none=True)  # frees the memory of the gradients for the next fold
        # The only wait for the device in an epoch: reading each loss at once would leave it idle between batches.
        return EpochOutcome(losses=torch.stack(losses).cpu().numpy(), micro_batch=micro_batch)

    def draws_random_numbers(self) -> bool:
        """Whether a training step draws from torch's CPU generator, as dropout and stochastic depth do.

        A forward pass finds out, because networks draw in many ways. It runs on a copy, so that this model's running
        statistics stay the same. Only for models on the CPU. The state of the generator may change.
        """
        twin = copy.deepcopy(self._model).train()
        size = self._recipe.image_size
        before = torch.default_generator.get_state()
        with torch.no_grad():
            twin(torch.zeros(2, 3, size, size).to(memory_format=torch.channels_last))
        return not torch.equal(before, torch.default_generator.get_state())

    def rehearse(self, micro_batch: int) -> None:
        """Train on one batch of blank images, ``micro_batch`` at a time, to measure the memory or time that this takes.

        This changes the model as any training step does, so call it on a copy (`copy.deepcopy`). If the network
        cannot train on a single image, the copy's `least_part` says so afterwards.

        Raises:
            torch.OutOfMemoryError: it does not fit.
        """
        train_mode(self._model, self._frozen)
        count, size = self._recipe.batch_size, self._recipe.image_size
        images = np.zeros((count, size, size, 3), np.uint8)
        y = np.zeros((count, self._num_classes) if self.several_labels else count, np.int64)
        batch = self._prepare(1, 0, images, y)
        try:
            self._accumulate(*batch, micro_batch)
        except ValueError as error:
            if self.least_part > 1 or not needs_two_images(error):
                raise
            self.least_part = 2
            self._optimizer.zero_grad(set_to_none=True)
            self._accumulate(*batch, micro_batch)
        self._update(even_with_overflow=True)
        if self._average is not None:
            self._average.update(0)
        self._optimizer.zero_grad(set_to_none=True)

    def _train_batch(
        self, epoch: int, batch: int, images: npt.NDArray[np.uint8], y: TrainingTargets, micro_batch: int
    ) -> tuple[torch.Tensor, int]:
        recipe = self._recipe
        step = (epoch - 1) * self._batches + batch
        factor = learning_rate_factor(recipe, step, recipe.epochs * self._batches)
        set_learning_rate(self._optimizer, recipe.optimizer.lr * factor)
        loss, micro_batch = self._accumulate_in_parts(epoch, batch, images, y, micro_batch)
        if self.park_others is None:
            self._update()
        elif not self._first_step.attempt(self._update):
            self._scaler = renewed(self._scaler, self._device)
            self._buffers.restore()
            micro_batch = self._make_room(epoch, micro_batch, len(images))
            loss, micro_batch = self._accumulate_in_parts(epoch, batch, images, y, micro_batch)
            self._update()
        if self._average is not None:
            self._average.update(step)
        return loss, micro_batch

    def _accumulate_in_parts(
        self, epoch: int, batch: int, images: npt.NDArray[np.uint8], y: TrainingTargets, micro_batch: int
    ) -> tuple[torch.Tensor, int]:
        """The gradient of a batch, and its loss; where memory runs out, in smaller parts (`train_epoch`)."""
        # A forward pass updates the running statistics of batch normalisation; a repeated one must not do so twice.
        self._buffers.remember()
        while True:
            # Dropout and stochastic depth draw from torch's global generator.
            seed_generators(self._device, random_key(self._seed, "dropout", self._fold, epoch, batch))
            self._optimizer.zero_grad(set_to_none=True)
            try:
                return self._accumulate(*self._prepare(epoch, batch, images, y), micro_batch), micro_batch
            except (RuntimeError, ValueError) as error:
                too_few = self.least_part == 1 and needs_two_images(error)
                can_go_on = self.park_others is not None or micro_batch > self.least_part
                if not too_few and not (can_go_on and is_out_of_memory(error)):
                    raise
            # Outside the handler: inside, the exception would keep the activations of the failed pass alive.
            self._optimizer.zero_grad(set_to_none=True)
            self._buffers.restore()
            if too_few:
                self.least_part = micro_batch = 2
            else:
                micro_batch = self._make_room(epoch, micro_batch, len(images))

    def _make_room(self, epoch: int, micro_batch: int, images: int) -> int:
        """Free memory after a pass over a batch of ``images`` ran out of it; return the micro batch to go on with."""
        where = f"Fold {self._fold}, epoch {epoch}: out of memory"
        if self.park_others is not None:
            log.warning("%s; folds that do not train now wait in host memory.", where)
            self.park_others()
        else:
            micro_batch = max(self.least_part, min(micro_batch, images) // 2)
            log.warning("%s; continuing with %d images at a time.", where, micro_batch)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return micro_batch

    def _prepare(
        self, epoch: int, batch: int, images: npt.NDArray[np.uint8], y: TrainingTargets
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Network input and targets on the device, normalised and blended: (b, 3, size, size) and (b, C), float32."""
        pixels = self._normaliser(send(torch.from_numpy(images), self._device))
        given = torch.from_numpy(y)
        shares = torch.nn.functional.one_hot(given, self._num_classes) if y.ndim == 1 else given
        targets = send(shares.float(), self._device)
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
        """Accumulate the gradient of the batch's mean loss over parts of at most ``micro_batch``; return that loss."""
        total = torch.zeros((), device=self._device)
        for part, wanted in divided(pixels, targets, micro_batch, self.least_part):
            with torch.autocast(self._device.type, dtype=self._precision, enabled=self._precision is not torch.float32):
                logits = self._model(part)
            losses = image_losses(
                logits, wanted, self._recipe.loss, self._class_weights, several_labels=self.several_labels
            )
            loss = losses.sum() / len(pixels)
            torch.autograd.backward(self._scaler.scale(loss))
            total += loss.detach()
        return total

    def _update(self, *, even_with_overflow: bool = False) -> None:
        limit = self._recipe.optimizer.clip_grad
        update_weights(self._model.parameters(), self._optimizer, self._scaler, limit, even_with_overflow)
