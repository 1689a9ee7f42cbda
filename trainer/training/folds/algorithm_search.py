"""When cuDNN searches for its fastest algorithms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from trainer.recipe.recipe import Recipe
from trainer.training.results import TrainingTargets

SEARCH_STEPS = 100
"""Steps of one fold from which a search pays. It runs every algorithm for every new shape, which takes seconds for a
deep network, and saves a few per cent of each step. The folds of a training share what it finds.
"""

Batch = tuple[npt.NDArray[np.uint8], TrainingTargets]


class AlgorithmSearch:
    """Restricts ``torch.backends.cudnn.benchmark`` to the full batches of trainings with enough steps.

    The last batch of an epoch has a shape of its own, which occurs once an epoch and may differ from fold to fold. It
    takes the algorithms that cuDNN chooses by rule.
    """

    def __init__(self, recipe: Recipe, batches: int, device: torch.device) -> None:
        """
        Args:
            batches: batches of one epoch.
        """
        self._on_gpu = device.type == "cuda"
        self._batch_size, self._batches, self._epochs = recipe.batch_size, batches, recipe.epochs
        self._pays: bool | None = None  # decided once, because only a search uses what it found

    def during(self, epoch: int, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches of an epoch; while one is in use, ``benchmark`` is as it should be for it.

        ``benchmark`` stays off where it is off at the beginning.

        Args:
            epoch: 1-based; the first one that this process trains decides whether enough steps follow.
        """
        if not self._on_gpu:
            yield from batches
            return
        if self._pays is None:
            self._pays = (self._epochs - epoch + 1) * self._batches >= SEARCH_STEPS
        allowed = torch.backends.cudnn.benchmark
        for images, y in batches:
            torch.backends.cudnn.benchmark = allowed and self._pays and len(images) == self._batch_size
            yield images, y
        torch.backends.cudnn.benchmark = allowed
