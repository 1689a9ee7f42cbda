"""Training batches as a usual script makes them: a DataLoader whose processes decode the files, every epoch again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from benchmarks.training.plain_pytorch import LOADER_PROCESSES
from trainer.batches.augmenter import Augmenter
from trainer.batches.batch_loader import Batch, BatchLoader, BatchStream, PixelSource
from trainer.batches.batch_plan import BatchPlan
from trainer.data.image_set import ImageSet
from trainer.data.images import Images
from trainer.inference.images import resize_image
from trainer.networks.backbones import preprocessing_of
from trainer.recipe.recipe import Augment, Recipe


class JpegLoader(BatchLoader):
    """Makes the batches that `BatchLoader` makes, in the way that one writes by hand: nothing is kept decoded."""

    def __init__(self, images: ImageSet) -> None:
        """
        Args:
            images: those that the plans speak of.
        """
        super().__init__(0)
        self._images = images.train_images
        self._resize, self._interpolation = "squash", "bicubic"

    def resize_as(self, recipe: Recipe) -> None:
        """Resize what is asked for from now on as a training of ``recipe`` has it."""
        self._resize, self._interpolation = recipe.resize, preprocessing_of(recipe.backbone).interpolation

    def stream(self, pixels: PixelSource, settings: Augment, size: int, plans: Sequence[BatchPlan]) -> BatchStream:
        """See `BatchLoader.stream`; of ``pixels`` only the side counts."""
        side = pixels.train.shape[1]
        return _JpegStream(_Batches(self._images, (side, self._resize, self._interpolation), settings, size, plans))


class _Batches(Dataset[Batch]):
    """Whole batches, as they were planned."""

    def __init__(
        self, images: Images, resizing: tuple[int, str, str], settings: Augment, size: int, plans: Sequence[BatchPlan]
    ) -> None:
        self._images, self._resizing = images, resizing
        self._settings, self._size, self._plans = settings, size, plans
        self._augmenter: Augmenter | None = None

    def __len__(self) -> int:
        return len(self._plans)

    def __getitem__(self, number: int) -> Batch:
        if self._augmenter is None:
            self._augmenter = Augmenter(self._settings, self._size)
        plan = self._plans[number]
        pictures = (resize_image(self._images.read(row), *self._resizing) for row in plan.indices)
        return np.stack([self._augmenter.apply(picture, key) for picture, key in zip(pictures, plan.keys, strict=True)])


class _JpegStream(BatchStream):
    """One epoch's DataLoader, with processes of its own."""

    def __init__(self, batches: _Batches) -> None:
        loader: DataLoader[Batch] = DataLoader(
            batches, batch_size=None, num_workers=LOADER_PROCESSES, collate_fn=_as_is
        )
        self._batches: Iterator[Batch] | None = iter(loader)

    def __next__(self) -> Batch:
        if self._batches is None:
            raise StopIteration
        return next(self._batches)

    def close(self) -> None:
        """End its processes."""
        self._batches = None


def _as_is(batch: Any) -> Any:
    return batch
