"""Predictions of fold models, in batches that fit into memory, and in one pass where networks have layers in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from trainer.batches.batch_plan import Indices
from trainer.common.arrays import Float32Array
from trainer.common.memory_errors import is_out_of_memory
from trainer.inference.networks.common_layers import Together, joined
from trainer.inference.resources import forward_batch
from trainer.networks.view_averaging import predict_proba
from trainer.recipe.recipe import Recipe
from trainer.training.folds.fold_model import FoldModel

FACTOR = 4  # images predicted at a time, in batches: no activations are kept for a backward pass
SMALLEST_BATCH = 64  # images, unless memory runs out
CHUNK = 2**26  # bytes of images copied out of the memory map at a time

Outcome = TypeVar("Outcome")


class FoldPredictor:
    """Predicts with the models of one cross-validation.

    Args:
        before_chunk: called before every chunk of images; what it raises is passed on.
    """

    def __init__(
        self, recipe: Recipe, *, num_classes: int, device: torch.device, before_chunk: Callable[[], None]
    ) -> None:
        self._side, self._num_classes, self._device = recipe.image_size, num_classes, device
        self._before_chunk = before_chunk
        most = max(SMALLEST_BATCH, FACTOR * recipe.batch_size)
        self.batch = forward_batch(recipe.image_size, device.type, most)
        """Images per forward pass; halved whenever memory runs out."""

    def predict(
        self,
        network: torch.nn.Module,
        model: FoldModel,
        images: npt.NDArray[np.uint8],
        rows: Indices,
        views: tuple[str, ...],
        precision: torch.dtype | None = None,
    ) -> dict[str, Float32Array]:
        """Probabilities of the chosen rows by test-time view: float32, shape (len(rows), C).

        Args:
            network: of ``model``, on the device; of a `Together` the result has the shape (len(rows), networks, C).
            images: uint8, shape (n, size, size, 3); may be a memory map.
            rows: of ``images``: int64.
            precision: of the forward pass; None: full float32.

        Raises:
            torch.OutOfMemoryError: one image alone does not fit, or a batch of a `Together`.
        """
        # Whole batches: the images of a batch, and so the bits, do not depend on how threads divide the rows.
        per_chunk = max(1, CHUNK // max(1, images[:1].nbytes) // self.batch) * self.batch
        chunks = [rows[start : start + per_chunk] for start in range(0, len(rows), per_chunk)]
        parts = [self._predict_chunk(network, model, images[chunk], views, precision) for chunk in chunks]
        nothing = np.empty((0, self._num_classes), dtype=np.float32)
        return {view: np.concatenate([part[view] for part in parts]) if parts else nothing for view in views}

    def predict_together(
        self, networks: Callable[[], Sequence[torch.nn.Module]], predict: Callable[[Together], Outcome]
    ) -> Outcome | None:
        """What some networks predict together; None if they have no layers in common or the memory does not suffice."""
        try:
            with joined(networks(), self._side) as together:
                return None if together is None else predict(together)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _predict_chunk(
        self,
        network: torch.nn.Module,
        model: FoldModel,
        images: npt.NDArray[np.uint8],
        views: tuple[str, ...],
        precision: torch.dtype | None,
    ) -> dict[str, Float32Array]:
        self._before_chunk()
        together = isinstance(network, Together)
        while True:
            try:
                return predict_proba(
                    network,
                    images,
                    preprocessing=model.preprocessing,
                    views=views,
                    batch_size=self.batch,
                    device=self._device,
                    precision=precision,
                    several_labels=model.several_labels,
                    apart=together,
                )
            except RuntimeError as error:
                # Networks that predict together have to stay on the device.
                can_go_on = not together and (model.park_others is not None or self.batch > 1)
                if not (can_go_on and is_out_of_memory(error)):
                    raise
            # Not in the handler: while it runs, the exception keeps the tensors of the failed pass alive.
            if model.park_others is not None:
                model.park_others()
            else:
                self.batch //= 2
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
