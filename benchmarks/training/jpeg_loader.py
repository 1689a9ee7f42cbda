"""Training batches of a usual script: a DataLoader whose processes decode the image files in every epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
    """Makes the same batches as `BatchLoader`, but decodes every image again instead of caching its pixels."""

    def __init__(self, images: ImageSet) -> None:
        """
        Args:
            images: images to which the rows of the batch plans refer.
        """
        super().__init__(0)
        self._images = images.train_images
        self._resize, self._interpolation = "squash", "bicubic"

    def resize_as(self, recipe: Recipe) -> None:
        """Resize later batches as ``recipe`` says."""
        self._resize, self._interpolation = recipe.resize, preprocessing_of(recipe.backbone).interpolation

    def stream(
        self, pixels: PixelSource, settings: Augment, size: int, epochs: Iterable[Sequence[BatchPlan]]
    ) -> BatchStream:
        """See `BatchLoader.stream`; ``pixels`` gives the side of the images only."""
        resizing = (pixels.train.shape[1], self._resize, self._interpolation)
        return _JpegStream(_Batches(self._images, resizing, settings, size, plans) for plans in epochs)


class _Batches(Dataset[Batch]):
    """A data set whose items are planned batches."""

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
        images = (resize_image(self._images.read(row), *self._resizing) for row in plan.indices)
        return np.stack([self._augmenter.apply(image, key) for image, key in zip(images, plan.keys, strict=True)])


class _JpegStream(BatchStream):
    """A DataLoader for each epoch of each fold, with its own processes."""

    def __init__(self, epochs: Iterable[_Batches]) -> None:
        self._epochs = iter(epochs)
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._left = 0
        self._batches: Iterator[Batch] = iter(())
        epoch = next(self._epochs, None)
        if epoch is not None:
            self._left = len(epoch)
            self._batches = iter(
                DataLoader(epoch, batch_size=None, num_workers=LOADER_PROCESSES, collate_fn=_unchanged)
            )

    def __next__(self) -> Batch:
        batch = next(self._batches)
        self._left -= 1
        if not self._left:
            self._begin_epoch()
        return batch

    def close(self) -> None:
        """End its processes."""
        self._epochs, self._batches = iter(()), iter(())


def _unchanged(batch: Any) -> Any:
    return batch
