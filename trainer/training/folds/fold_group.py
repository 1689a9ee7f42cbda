"""The models of all folds of one cross-validation: held in memory, run in parallel, used to predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from trainer.batches.batch_plan import Indices
from trainer.common.arrays import Float32Array
from trainer.inference.networks.common_layers import Together
from trainer.networks.low_rank import merged_state
from trainer.probing.linear_head import LinearHead
from trainer.recipe.recipe import Recipe
from trainer.training.folds.fold_model import FoldModel
from trainer.training.folds.fold_predictor import FoldPredictor
from trainer.training.folds.memory.gpu_memory import plan_memory
from trainer.training.folds.parallel_folds import ParallelFolds, parallel_width
from trainer.training.results import TrainingData

Outcome = TypeVar("Outcome")


class FoldGroup:
    """One `FoldModel` for each fold of ``data``.

    Args:
        seed: of the initial weights and of all random draws of the training.
        weights_dir: folder of pre-trained weights, see `trainer.networks.build.create_backbone`.
        heads: the classifier with which each fold's training begins; None: that of its network.
        before_chunk: called before every chunk of images that is predicted; what it raises is passed on.

    Raises:
        BackboneError: the pre-trained weights are not at hand.
        torch.OutOfMemoryError: training on one image at a time does not fit (`plan_memory`).
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        *,
        seed: int,
        device: torch.device,
        weights_dir: Path | None,
        heads: Sequence[LinearHead] | None,
        before_chunk: Callable[[], None],
    ) -> None:
        self._freezes = recipe.freeze > 0.0

        def create(fold: int) -> FoldModel:
            return FoldModel(
                recipe,
                fold=fold,
                seed=seed,
                train_y=data.y[data.training_part(fold)],
                num_classes=data.num_classes,
                device=device,
                weights_dir=weights_dir,
                head=None if heads is None else heads[fold],
            )

        first = create(0)
        self.plan = plan_memory(recipe, first, data.num_folds, device)
        """How the training fits into the device's memory."""
        self._models: list[FoldModel] = []
        for fold in range(data.num_folds):
            self._models.append(create(fold) if fold else first)
            self._models[fold].least_part = first.least_part
            if self.plan.offload:
                self._models[fold].offload()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)  # forgets earlier trainings and the rehearsal
        self.predictor = FoldPredictor(recipe, num_classes=data.num_classes, device=device, before_chunk=before_chunk)
        self.width = parallel_width(first, data.num_folds, device)
        """How many folds run at the same time."""
        self._parallel = ParallelFolds(self.width)
        self.offloads = self.plan.offload
        """Whether the folds that do not train wait in host memory, by the plan or since memory ran out."""
        if not self.offloads and self.width == 1 and len(self._models) > 1:
            for fold, model in enumerate(self._models):
                model.park_others = partial(self._park_others, fold)

    def __len__(self) -> int:
        return len(self._models)

    def close(self) -> None:
        """End the threads of parallel folds, and drop the models."""
        self._parallel.close()
        self._models.clear()

    def run(self, task: Callable[[int, FoldModel], Outcome]) -> Iterator[tuple[int, Outcome]]:
        """Call ``task(fold, model)`` for every fold, with the model on the device; yield each fold with its outcome.

        Folds come in ascending order, `width` of them at a time. The next ones start when the outcomes of those before
        have been consumed, so a caller that stops iterating skips the rest.
        """
        for folds in self._parallel.rounds(len(self._models)):
            outcomes = self._parallel.run([partial(self._run_one, task, fold) for fold in folds])
            yield from zip(folds, outcomes, strict=True)

    def _run_one(self, task: Callable[[int, FoldModel], Outcome], fold: int) -> Outcome:
        with self._on_device(fold) as model:
            return task(fold, model)

    @contextmanager
    def _on_device(self, fold: int) -> Iterator[FoldModel]:
        """A fold's model on the device; where folds are offloaded, only until the end of the block."""
        model = self._models[fold]
        if self.offloads:
            model.load()
        yield model
        # Not after an exception: the model is then in no defined state.
        if self.offloads:
            model.offload()

    def _park_others(self, fold: int) -> None:
        """Let all folds but ``fold`` wait in host memory, from now on whenever they do not train."""
        self.offloads = True
        for other, model in enumerate(self._models):
            model.park_others = None
            if other != fold:
                model.offload()

    def states(self) -> list[dict[str, Any]]:
        """The state of each fold's model, for `restore`; tensors are not copied."""
        return [model.state() for model in self._models]

    def restore(self, states: Sequence[dict[str, Any]]) -> None:
        """Go back to `states` of the same training."""
        for fold, state in zip(range(len(self._models)), states, strict=True):
            with self._on_device(fold) as model:
                model.restore(state)

    def set_start_shares(self, shares: Sequence[float]) -> None:
        """Evaluate each fold's network with a share of its starting weights (`recipe.wise_ft`)."""
        for model, share in zip(self._models, shares, strict=True):
            model.set_start_share(share)

    def evaluated_weights(self) -> tuple[dict[str, torch.Tensor], ...]:
        """State dict of each fold's evaluated network, copied to the CPU; adapters are added to the weights."""
        return tuple(_on_host(merged_state(model.evaluated)) for model in self._models)

    def predict(
        self,
        model: FoldModel,
        images: npt.NDArray[np.uint8],
        rows: Indices,
        views: tuple[str, ...],
        precision: torch.dtype | None = None,
    ) -> dict[str, Float32Array]:
        """As `FoldPredictor.predict`, by the evaluated network of a model of this group, which is on the device."""
        return self.predictor.predict(model.evaluated, model, images, rows, views, precision)

    def _may_join(self, rows: Indices) -> bool:
        """Whether models have layers in common, those that the recipe freezes, and stay on the device."""
        return self._freezes and not self.offloads and len(rows) > 0

    def predict_with_start_shares(
        self,
        model: FoldModel,
        shares: Sequence[float],
        images: npt.NDArray[np.uint8],
        rows: Indices,
        views: tuple[str, ...],
    ) -> list[dict[str, Float32Array]]:
        """As `predict`, with each of some shares of the starting weights (`recipe.wise_ft`).

        The layers that the recipe freezes run once for all of them.

        Raises:
            torch.OutOfMemoryError: one image alone does not fit.
        """

        def together(network: Together) -> dict[str, Float32Array]:
            return self.predictor.predict(network, model, images, rows, views)

        def copies() -> list[torch.nn.Module]:
            return [model.with_start_share(share) for share in shares]

        if self._may_join(rows) and (found := self.predictor.predict_together(copies, together)) is not None:
            return _by_network(found, len(shares))
        predicted = []
        for share in shares:
            model.set_start_share(share)
            predicted.append(self.predict(model, images, rows, views))
        return predicted

    def predict_by_all(
        self,
        images: npt.NDArray[np.uint8],
        rows: Indices,
        views: tuple[str, ...],
        precision: torch.dtype | None = None,
    ) -> list[dict[str, Float32Array]]:
        """As `predict`, by the model of each fold. Lower layers that all of them have in common run once.

        Raises:
            torch.OutOfMemoryError: one image alone does not fit.
        """
        like = self._models[0]

        def together(network: Together) -> dict[str, Float32Array]:
            # Each thread of the folds predicts a part of the images, in the same batches as a single thread.
            batches = np.split(rows, range(self.predictor.batch, len(rows), self.predictor.batch))
            shares = np.array_split(np.arange(len(batches)), self.width)
            parts = [np.concatenate([batches[number] for number in share]) for share in shares if len(share)]
            predict = partial(self.predictor.predict, network, like, images)
            predicted = self._parallel.run([partial(predict, part, views, precision) for part in parts])
            return {view: np.concatenate([part[view] for part in predicted]) for view in views}

        def networks() -> list[torch.nn.Module]:
            return [model.evaluated for model in self._models]

        if self._may_join(rows) and (found := self.predictor.predict_together(networks, together)) is not None:
            return _by_network(found, len(self))
        outcomes = self.run(lambda fold, model: self.predict(model, images, rows, views, precision))
        return [predicted for _, predicted in outcomes]


def _by_network(found: Mapping[str, Float32Array], networks: int) -> list[dict[str, Float32Array]]:
    """The predictions of each network, of those of several, (n, networks, C) by view."""
    return [{view: proba[:, number] for view, proba in found.items()} for number in range(networks)]


def _on_host(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
