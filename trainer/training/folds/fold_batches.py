"""The training batches of all folds and epochs, prepared ahead of the training."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from trainer.batches.batch_loader import Batch, BatchLoader, BatchStream
from trainer.batches.batch_plan import BatchPlan, plan_epoch
from trainer.evaluation.several_labels import rarest_label
from trainer.recipe.recipe import Recipe
from trainer.training.results import TrainingData, TrainingTargets


class FoldBatches:
    """Streams of batches that go from fold to fold, and from epoch to epoch, without a gap.

    Once the last batch of a fold is submitted to the loader, the first one of the fold that trains next follows, so
    the loader's processes do not wait for the end of a fold's training. A stream is as many batches ahead of its reader
    at the change of folds as elsewhere, so the change takes no further memory. The content of a batch depends on the
    seed, the fold, the epoch and its place there, not on when it is prepared.

    The stream also goes beyond an epoch after which the training may be ended. `close` drops what is then not used.

    Args:
        seed: of the training.
        width: how many folds train at the same time. Each has a stream of its own, see
            `trainer.training.folds.parallel_folds.ParallelFolds.rounds`.
    """

    def __init__(self, recipe: Recipe, data: TrainingData, *, seed: int, loader: BatchLoader, width: int) -> None:
        self._recipe, self._data, self._seed, self._loader, self._width = recipe, data, seed, loader, width
        self._strata = rarest_label(data.y, data.num_classes)  # the class by which batches are balanced
        self._streams: dict[int, BatchStream] = {}  # by the first fold of each
        self._drawn: dict[tuple[int, int], tuple[BatchPlan, ...]] = {}  # by (epoch, fold); not read yet

    def of(self, fold: int, epoch: int) -> Iterator[tuple[Batch, TrainingTargets]]:
        """The batches of one epoch of one fold: images uint8 (b, size, size, 3) with their targets.

        Folds of one stream have to be read in the order in which they train, each to its end. The first epoch may be
        any. See `BatchStream.__next__` for how long a batch stays valid.

        Raises:
            LoaderError: a worker process died.
        """
        first = fold % self._width
        if first not in self._streams:
            self._streams[first] = self._loader.stream(
                self._data.training_source(self._recipe),
                self._recipe.augment,
                self._recipe.image_size,
                self._plans(first, epoch),
            )
        plans = self._drawn.pop((epoch, fold))
        for plan, images in zip(plans, islice(self._streams[first], len(plans)), strict=True):
            yield images, self._data.targets_of(plan.indices, fold)

    def _plans(self, first: int, epoch: int) -> Iterator[tuple[BatchPlan, ...]]:
        """The plans of the stream that begins with fold ``first``, from ``epoch`` to the last epoch."""
        for later in range(epoch, self._recipe.epochs + 1):
            for fold in range(first, self._data.num_folds, self._width):
                self._drawn[later, fold] = plan_epoch(
                    self._data.training_part(fold),
                    self._strata,
                    batch_size=self._recipe.batch_size,
                    balance=self._recipe.balance,
                    seed=self._seed,
                    fold=fold,
                    epoch=later,
                    row_weights=self._data.row_weights(fold),
                )
                yield self._drawn[later, fold]

    def close(self) -> None:
        """Drop all batches that have not been read."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()
        self._drawn.clear()
