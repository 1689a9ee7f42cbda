"""Training all folds of one cross-validation, one epoch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.batches.batch_loader import Batch, BatchLoader
from trainer.batches.batch_plan import batches_per_epoch
from trainer.common.arrays import Float32Array
from trainer.common.errors import TrainerError
from trainer.evaluation.ambiguity import Average
from trainer.inference.networks.views import TTA
from trainer.networks.custom_weights import custom_weights_facts
from trainer.networks.view_averaging import average_views
from trainer.probing.linear_head import LinearHead
from trainer.recipe.recipe import Recipe, Scalar
from trainer.training.final_predictions import FinalPredictions, PredictTest, predict_after_last_epoch
from trainer.training.folds.devices import training_precision
from trainer.training.folds.fold_batches import FoldBatches
from trainer.training.folds.fold_group import FoldGroup
from trainer.training.folds.fold_model import FoldModel
from trainer.training.folds.reporting import epoch_report
from trainer.training.folds.start_shares import settle_start_shares
from trainer.training.machine import machine_of
from trainer.training.results import CVResult, EpochReport, Status, TrainingData, TrainingTargets
from trainer.training.suspicious_labels import for_checkpoint

MIB = 2**20


class Abandoned(TrainerError):  # a request that is met, not a fault
    """The training was asked to return at once, in the middle of an epoch or a prediction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _FoldEpoch:
    """One epoch of one fold."""

    problem: str = ""
    """Why the training diverged, for people; empty if it did not. With a problem the other fields mean nothing."""
    micro_batch: int = 1
    loss: float = float("nan")
    """Mean over the batches."""
    proba: Float32Array = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    """Of the images held out, in their order: shape (held out, C)."""
    prediction_seconds: float = 0.0


class Lockstep:
    """The state of one cross-validation between epochs.

    `train_epoch` and `finish` raise `Abandoned` soon after ``abandon`` returns True. After that only `reports` and
    `result` may be used: some weights have moved past the last complete epoch.

    Args:
        heads: see `trainer.training.folds.fold_group.FoldGroup`. A training that is restored needs none.

    The other arguments are those of `trainer.training.cross_validation.cross_validate`.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        *,
        metric: str,
        seed: int,
        device: torch.device,
        loader: BatchLoader,
        weights_dir: Path | None,
        heads: Sequence[LinearHead] | None,
        clock: Callable[[], float],
        abandon: Callable[[], bool] | None,
        on_batch: Callable[[float], None] | None,
    ) -> None:
        self._recipe, self._data, self._metric, self._seed = recipe, data, metric, seed
        self._device, self._clock, self._abandon = device, clock, abandon
        self._on_batch = on_batch
        self._views = TTA[recipe.tta]
        self._folds = FoldGroup(
            recipe,
            data,
            seed=seed,
            device=device,
            weights_dir=weights_dir,
            heads=heads,
            before_chunk=self._leave_if_abandoned,
        )
        self.memory_need = self._folds.plan.need
        """Expected peak of the device's memory in bytes; 0 on a CPU."""
        self._micro_batch = self._folds.plan.micro_batch
        # The recipe has only the name of a custom checkpoint; the digest records which content was used.
        self._init_facts = custom_weights_facts(recipe.init, weights_dir)
        self._oof = np.full((len(data.y), data.num_classes), np.nan, dtype=np.float32)
        self._batches = FoldBatches(recipe, data, seed=seed, loader=loader, width=self._folds.width)
        self._trained = [0.0] * len(self._folds)  # trained share of the epoch, by fold
        self._start_shares: list[float] = []  # of the fold models, once chosen
        self.reports: list[EpochReport] = []
        """One for each complete epoch."""

    def close(self) -> None:
        """Drop the batches that were prepared but not trained on, and end all threads."""
        self._batches.close()
        self._folds.close()

    def train_epoch(self, epoch: int) -> str:
        """Train every fold for one epoch, score all held-out images together, and append to `reports`.

        Returns:
            Why the training diverged, for people; empty if it did not.
        """
        begun = self._clock()
        self._trained = [0.0] * len(self._folds)
        oof = np.full_like(self._oof, np.nan)
        losses: list[float] = []
        predicting = 0.0
        for fold, outcome in self._folds.run(lambda fold, model: self._train_fold(fold, model, epoch)):
            if outcome.problem:
                return outcome.problem
            self._micro_batch = min(self._micro_batch, outcome.micro_batch)
            oof[self._data.held_out(fold)] = outcome.proba
            losses.append(outcome.loss)
            predicting += outcome.prediction_seconds / self._folds.width
        self._oof = oof
        self.reports.append(
            epoch_report(
                self._data,
                oof,
                metric=self._metric,
                epoch=epoch,
                epochs=self._recipe.epochs,
                train_loss=float(np.mean(losses)),
                seconds=self._clock() - begun,
                prediction_seconds=predicting,
            )
        )
        return ""

    def _train_fold(self, fold: int, model: FoldModel, epoch: int) -> _FoldEpoch:
        """Train one fold for an epoch and predict the images that it holds out."""
        count = batches_per_epoch(len(self._data.training_part(fold)), self._recipe.batch_size)
        batches = self._observed(fold, count, self._batches.of(fold, epoch))
        outcome = model.train_epoch(epoch, batches, self._micro_batch)
        where = f"fold {fold} (the first is 0), epoch {epoch} of {self._recipe.epochs}"
        broken = np.flatnonzero(~np.isfinite(outcome.losses))
        if len(broken):
            loss = outcome.losses[broken[0]]
            return _FoldEpoch(problem=f"the loss became {loss} in {where}, batch {broken[0] + 1} of {count}")
        begun = self._clock()
        proba = average_views(
            self._folds.predict(
                model, self._data.pixels.train, self._data.held_out(fold), self._views, self._precision_after(epoch)
            ),
            self._views,
        )
        seconds = self._clock() - begun
        if not np.isfinite(proba).all():
            return _FoldEpoch(problem=f"predictions that are not finite after {where}")
        return _FoldEpoch(
            micro_batch=outcome.micro_batch, loss=float(outcome.losses.mean()), proba=proba, prediction_seconds=seconds
        )

    def _precision_after(self, epoch: int) -> torch.dtype | None:
        """Precision of the predictions after ``epoch``; None: full float32.

        The predictions that stay are made in full float32, as those of an exported model are. For a point of the
        learning curve the precision of the training suffices, and on a GPU it is several times as fast.
        """
        lower = training_precision(self._device)
        return None if epoch == self._recipe.epochs or lower is torch.float32 else lower

    def _observed(
        self, fold: int, count: int, batches: Iterable[tuple[Batch, TrainingTargets]]
    ) -> Iterator[tuple[Batch, TrainingTargets]]:
        """The ``count`` batches of one epoch of a fold; before each, the training may be left or observed."""
        for number, batch in enumerate(batches):
            self._leave_if_abandoned()
            self._trained[fold] = number / count
            if self._on_batch is not None:
                self._on_batch(sum(self._trained) / len(self._folds))
            yield batch
        self._trained[fold] = 1.0

    def _leave_if_abandoned(self) -> None:
        if self._abandon is not None and self._abandon():
            raise Abandoned

    def content(self) -> dict[str, Any]:
        """What `restore` needs, for a checkpoint: dictionaries and lists of tensors and plain values."""
        return {
            "folds": self._folds.states(),
            "reports": [_report_to_dict(report) for report in self.reports],
            "oof": torch.from_numpy(self._oof),
            "micro_batch": self._micro_batch,
            "evaluation_batch": self._folds.predictor.batch,
            **for_checkpoint(self._data),
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Go back to where `content` was taken. The caller makes sure that it belongs to the same training."""
        self._folds.restore(content["folds"])
        self.reports = [_report_from_dict(values) for values in content["reports"]]
        self._oof = content["oof"].numpy()
        # Never more than was found to fit here: the checkpoint may come from a larger device.
        self._micro_batch = min(self._micro_batch, content["micro_batch"])
        self._folds.predictor.batch = content["evaluation_batch"]

    def finish(
        self,
        *,
        views: tuple[str, ...],
        predict_test: PredictTest,
        keep_models: bool,
        worth_keeping: Callable[[EpochReport, Average | None], bool] | None,
    ) -> CVResult:
        """The result after the last epoch, with the predictions that are still to be made.

        The arguments are those of `trainer.training.cross_validation.cross_validate`.
        """
        self._batches.close()  # a training that ends early has prepared batches of its next epoch
        if len(self.reports) < self._recipe.epochs and self._precision_after(len(self.reports)) is not None:
            self._predict_held_out_again()
        if self._recipe.wise_ft and bool(np.isfinite(self._oof[:, 0]).any()):
            self._settle_start_shares()
        final = predict_after_last_epoch(
            self._folds,
            self._data,
            self._oof,
            recipe_views=self._views,
            views=views,
            predict_test=predict_test,
            sample_precision=self._precision_after(0),
            keep_models=keep_models,
            worth_keeping=lambda average: worth_keeping is None or worth_keeping(self.reports[-1], average),
        )
        return self.result("finished", "", final)

    def _predict_held_out_again(self) -> None:
        """Replace the out-of-fold predictions of an early last epoch, which were made in the precision of training."""

        def predict(fold: int, model: FoldModel) -> Float32Array:
            rows = self._data.held_out(fold)
            return average_views(self._folds.predict(model, self._data.pixels.train, rows, self._views), self._views)

        for fold, proba in self._folds.run(predict):
            self._oof[self._data.held_out(fold)] = proba

    def _settle_start_shares(self) -> None:
        """Choose how far the models go back to their starting weights; the last report becomes that of the choice."""
        self._oof, self._start_shares = settle_start_shares(self._folds, self._data, self._oof, self._views)
        last = self.reports[-1]
        self.reports[-1] = epoch_report(
            self._data,
            self._oof,
            metric=self._metric,
            epoch=last.epoch,
            epochs=last.epochs,
            train_loss=last.train_loss,
            seconds=last.seconds,
            prediction_seconds=last.prediction_seconds,
        )

    def result(self, status: Status, reason: str, final: FinalPredictions | None = None) -> CVResult:
        """The result so far; ``final`` only of a finished training."""
        final = FinalPredictions() if final is None else final
        return CVResult(
            status=status,
            reason=reason,
            reports=tuple(self.reports),
            oof=self._oof,
            test=final.test,
            oof_views=final.oof_views,
            test_views=final.test_views,
            average=final.average,
            models=final.models,
            machine=self._machine(),
        )

    def _machine(self) -> dict[str, Scalar]:
        machine: dict[str, Scalar] = {
            **machine_of(self._device),
            "micro_batch": self._micro_batch,
            "folds_abreast": self._folds.width,
            "seconds": sum(report.seconds for report in self.reports),
            **self._data.judged_labels,
        }
        if self._folds.offloads:
            machine["parked"] = True
        if self._start_shares:
            machine["start_share"] = float(np.mean(self._start_shares))
        machine |= self._init_facts
        if self._device.type == "cuda":
            machine["memory_peak"] = -(-torch.cuda.max_memory_allocated(self._device) // MIB)
            machine["memory_planned"] = -(-self._folds.plan.need // MIB)
        return machine


def _report_to_dict(report: EpochReport) -> dict[str, Any]:
    """For a checkpoint, whose format has the name "soft" for the mean probability of the true class."""
    values = asdict(report)
    values["soft"] = values.pop("mean_true_probability")
    return {**values, "true_class": torch.from_numpy(report.true_class)}


def _report_from_dict(values: dict[str, Any]) -> EpochReport:
    fields = {**values, "true_class": values["true_class"].numpy()}
    return EpochReport(mean_true_probability=fields.pop("soft"), **fields)
