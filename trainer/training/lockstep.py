"""All folds of one cross-validation, taken forward one epoch at a time."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainer.batches.batch_loader import Batch, BatchLoader, BatchStream
from trainer.batches.batch_plan import BatchPlan, plan_epoch
from trainer.common.environment import cpu_name
from trainer.evaluation.ambiguity import Average, expected_average
from trainer.evaluation.metrics import score, true_class_probability
from trainer.inference.views import TTA
from trainer.networks.custom_weights import BUILT_IN, named_weights_digest
from trainer.networks.view_averaging import average_views, predict_proba
from trainer.recipe.recipe import Recipe, Scalar
from trainer.training.fold_model import FoldModel, training_precision
from trainer.training.gpu_memory import plan_memory
from trainer.training.parallel_folds import Abreast
from trainer.training.results import CVResult, EpochReport, Floats, Labels, Status, TrainingData

EVALUATION_FACTOR = 4  # images evaluated at a time, in batches: no activations are kept for a backward pass
SMALLEST_EVALUATION_BATCH = 64  # images, unless memory runs out
PREDICTION_CHUNK = 2**26  # bytes of images copied out of the memory map at a time; after each, abandoning is possible
AMBIGUITY_IMAGES = 1000  # test images, at equal distances, by which the fold models' scatter is told
MIB = 2**20


class Abandoned(Exception):  # noqa: N818  # a wish that is granted, not a fault
    """The training is to be left at once, in the middle of what it does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Turn:
    """How one epoch of one fold went."""

    problem: str = ""
    """What broke, for people; then the rest means nothing."""
    micro_batch: int = 1
    loss: float = float("nan")
    """Mean over the batches."""
    proba: Floats = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    """Of the images held out, in their order: shape (held out, C)."""


class Lockstep:
    """The state of one cross-validation between epochs.

    `train_epoch` and `finish` raise `Abandoned` soon after ``abandon`` returns True. Then only `reports` and `result`
    still mean anything: some weights have moved past the last complete epoch.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        metric: str,
        seed: int,
        device: torch.device,
        loader: BatchLoader,
        weights_dir: Path | None,
        clock: Callable[[], float],
        abandon: Callable[[], bool] | None,
    ) -> None:
        self._recipe, self._data, self._metric, self._seed = recipe, data, metric, seed
        self._views = TTA[recipe.tta]
        lower = training_precision(device)
        self._precision = None if lower is torch.float32 else lower
        self._device, self._loader, self._clock, self._abandon = device, loader, clock, abandon

        def fold_model(fold: int) -> FoldModel:
            return FoldModel(
                recipe,
                fold=fold,
                seed=seed,
                train_y=data.y[data.training_part(fold)],
                num_classes=data.num_classes,
                device=device,
                weights_dir=weights_dir,
            )

        first = fold_model(0)
        plan = plan_memory(recipe, first, data.num_folds, device)
        self._micro_batch, self._parked, self._planned = plan.micro_batch, plan.parked, plan.need
        self._models: list[FoldModel] = []
        for fold in range(data.num_folds):
            self._models.append(fold_model(fold) if fold else first)
            if self._parked:
                self._models[fold].park()
        # The recipe has the name of a checkpoint of one's own; its content is a part of what runs.
        self._init_digest = "" if recipe.init in BUILT_IN else named_weights_digest(recipe.init, weights_dir)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)  # of what other trainings and the rehearsal took
        self._evaluation_batch = max(SMALLEST_EVALUATION_BATCH, EVALUATION_FACTOR * recipe.batch_size)
        self._oof = np.full((len(data.y), data.num_classes), np.nan, dtype=np.float32)
        self._streams: dict[tuple[int, int], tuple[tuple[BatchPlan, ...], BatchStream]] = {}
        # Networks that draw random numbers share torch's generator: side by side, each would depend on the others.
        alone = device.type != "cpu" or torch.get_num_threads() == 1 or first.draws_random_numbers()
        self._width = 1 if alone else min(data.num_folds, torch.get_num_threads())
        self._abreast = Abreast(self._width)
        self.reports: list[EpochReport] = []

    def close(self) -> None:
        """Drop batches that were made and not trained on."""
        for _, stream in self._streams.values():
            stream.close()
        self._streams.clear()
        self._abreast.close()

    def train_epoch(self, epoch: int) -> str:
        """Train every fold for one epoch, evaluate, and append to `reports`; or say what went wrong."""
        begun = self._clock()
        oof = np.full_like(self._oof, np.nan)
        losses: list[float] = []
        for folds in self._abreast.rounds(len(self._models)):
            for fold, turn in zip(
                folds, self._abreast.run([partial(self._turn, fold, epoch) for fold in folds]), strict=True
            ):
                if turn.problem:
                    return turn.problem
                self._micro_batch = min(self._micro_batch, turn.micro_batch)
                oof[self._data.held_out(fold)] = turn.proba
                losses.append(turn.loss)
        self._oof = oof
        self.reports.append(self._report(epoch, float(np.mean(losses)), self._clock() - begun))
        return ""

    def _turn(self, fold: int, epoch: int) -> _Turn:
        """One fold: train it for an epoch and predict what it holds out."""
        with self._on_device(fold) as model:
            if (epoch, fold) not in self._streams:
                self._streams[epoch, fold] = self._open(fold, epoch)
            plans, stream = self._streams[epoch, fold]
            outcome = model.train_epoch(epoch, self._batches(plans, stream), self._micro_batch)
            del self._streams[epoch, fold]
            # The batches of whoever comes next are made while this fold is evaluated.
            later, next_fold = divmod(fold + self._width, len(self._models))
            if epoch + later <= self._recipe.epochs:
                self._streams[epoch + later, next_fold] = self._open(next_fold, epoch + later)
            where = f"fold {fold} (the first is 0), epoch {epoch} of {self._recipe.epochs}"
            broken = np.flatnonzero(~np.isfinite(outcome.losses))
            if len(broken):
                loss = outcome.losses[broken[0]]
                return _Turn(problem=f"the loss became {loss} in {where}, batch {broken[0] + 1} of {len(plans)}")
            # What is kept is predicted in full float32, as the exported model will; for a point of the curve the
            # precision of the training is good enough, and on a GPU several times as fast.
            precision = None if epoch == self._recipe.epochs else self._precision
            by_view = self._predict(model, self._data.pixels.train, self._data.held_out(fold), self._views, precision)
        proba = average_views(by_view, self._views)
        if not np.isfinite(proba).all():
            return _Turn(problem=f"predictions that are not finite after {where}")
        return _Turn(micro_batch=outcome.micro_batch, loss=float(outcome.losses.mean()), proba=proba)

    @contextmanager
    def _on_device(self, fold: int) -> Iterator[FoldModel]:
        """A fold at work; where the memory plan says so, it is on the device meanwhile only."""
        model = self._models[fold]
        if self._parked:
            model.unpark()
        yield model
        # Not after an exception: then what it holds means nothing any more.
        if self._parked:
            model.park()

    def _open(self, fold: int, epoch: int) -> tuple[tuple[BatchPlan, ...], BatchStream]:
        plans = plan_epoch(
            self._data.training_part(fold),
            self._data.y,
            batch_size=self._recipe.batch_size,
            balance=self._recipe.balance,
            seed=self._seed,
            fold=fold,
            epoch=epoch,
        )
        source = self._data.training_source(self._recipe)
        return plans, self._loader.stream(source, self._recipe.augment, self._recipe.image_size, plans)

    def _batches(self, plans: Sequence[BatchPlan], stream: BatchStream) -> Iterator[tuple[Batch, Labels]]:
        for plan, images in zip(plans, stream, strict=True):
            self._leave_if_abandoned()
            yield images, self._data.y[plan.indices]

    def _leave_if_abandoned(self) -> None:
        if self._abandon is not None and self._abandon():
            raise Abandoned

    def _predict(
        self,
        model: FoldModel,
        images: npt.NDArray[np.uint8],
        rows: Labels,
        views: tuple[str, ...],
        precision: torch.dtype | None = None,
    ) -> dict[str, Floats]:
        """Probabilities of the chosen rows by view: float32, shape (len(rows), C)."""
        per_chunk = max(1, PREDICTION_CHUNK // max(1, images[:1].nbytes))
        chunks = [rows[start : start + per_chunk] for start in range(0, len(rows), per_chunk)]
        parts = [self._predict_chunk(model, images[chunk], views, precision) for chunk in chunks]
        nothing = np.empty((0, self._data.num_classes), dtype=np.float32)
        return {view: np.concatenate([nothing, *(part[view] for part in parts)]) for view in views}

    def _predict_chunk(
        self, model: FoldModel, images: npt.NDArray[np.uint8], views: tuple[str, ...], precision: torch.dtype | None
    ) -> dict[str, Floats]:
        self._leave_if_abandoned()
        while True:
            try:
                return predict_proba(
                    model.evaluated,
                    images,
                    preprocessing=model.preprocessing,
                    views=views,
                    batch_size=self._evaluation_batch,
                    device=self._device,
                    precision=precision,
                )
            except torch.OutOfMemoryError:
                if self._evaluation_batch <= 1:
                    raise
            self._evaluation_batch //= 2
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _report(self, epoch: int, train_loss: float, seconds: float) -> EpochReport:
        targets, folds = self._data.targets, self._data.folds
        judged = np.isfinite(self._oof[:, 0])
        held_out = targets.select(judged)
        true_class = true_class_probability(targets.y, self._oof)
        return EpochReport(
            epoch=epoch,
            epochs=self._recipe.epochs,
            true_class=true_class,
            metric=score(self._metric, held_out, self._oof[judged]) if judged.any() else float("nan"),
            soft=held_out.mean(true_class[judged]) if judged.any() else float("nan"),
            fold_metrics=tuple(
                score(self._metric, targets.select(rows), self._oof[rows])
                for rows in (np.flatnonzero(folds == fold) for fold in range(len(self._models)))
                if len(rows)
            ),
            train_loss=train_loss,
            seconds=seconds,
        )

    def content(self) -> dict[str, Any]:
        """What `restore` needs, for a checkpoint: dictionaries and lists of tensors and plain values."""
        return {
            "folds": [model.state() for model in self._models],
            "reports": [{**asdict(r), "true_class": torch.from_numpy(r.true_class)} for r in self.reports],
            "oof": torch.from_numpy(self._oof),
            "micro_batch": self._micro_batch,
            "evaluation_batch": self._evaluation_batch,
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Go back to where `content` was taken; it is of the same training, as its identity has shown."""
        for fold, state in zip(range(len(self._models)), content["folds"], strict=True):
            with self._on_device(fold) as model:
                model.restore(state)
        self.reports = [EpochReport(**{**r, "true_class": r["true_class"].numpy()}) for r in content["reports"]]
        self._oof = content["oof"].numpy()
        # Never more than was found to fit here: the checkpoint may come from a larger device.
        self._micro_batch = min(self._micro_batch, content["micro_batch"])
        self._evaluation_batch = content["evaluation_batch"]

    def finish(
        self,
        views: tuple[str, ...],
        predict_test: bool,
        keep_models: bool,
        worth_keeping: Callable[[EpochReport, Average | None], bool] | None,
    ) -> CVResult:
        """Predict what is left to predict after the last epoch; arguments as
        `trainer.training.cross_validation.cross_validate`.
        """
        images = len(self._data.pixels.test)
        some = np.linspace(0, images - 1, num=min(images, AMBIGUITY_IMAGES)).astype(np.int64)
        every = np.arange(images, dtype=np.int64) if predict_test else some
        known = {self._views[0]: self._oof} if len(self._views) == 1 else {}
        _, test_views, by_fold = self._predict_all((), self._views, every, some if predict_test else slice(None))
        average = self._average(by_fold if images else [])
        kept = worth_keeping is None or worth_keeping(self.reports[-1], average)
        asked = tuple(dict.fromkeys(("identity", *views))) if kept and set(views) - {"identity"} else ()
        oof_views, more, _ = self._predict_all(
            tuple(view for view in asked if view not in known),
            tuple(view for view in asked if view not in self._views) if predict_test else (),
            every,
            slice(0),
        )
        return self.result(
            "finished",
            "",
            test=average_views(test_views, self._views) if predict_test else None,
            oof_views={view: (known | oof_views)[view] for view in asked},
            test_views={view: (test_views | more)[view] for view in asked} if predict_test else {},
            average=average,
            models=tuple(_on_host(model.evaluated.state_dict()) for model in self._models)
            if keep_models and kept
            else (),
        )

    def _average(self, members: Sequence[Floats]) -> Average | None:
        """What the average of the fold models may be expected to be; None where nothing was held out."""
        judged = np.isfinite(self._oof[:, 0])
        if not judged.any():
            return None
        data = self._data
        return expected_average(data.targets.select(judged), self._oof[judged], members)

    def _predict_all(
        self, held_out_views: tuple[str, ...], test_views: tuple[str, ...], tested: Labels, some: Labels | slice
    ) -> tuple[dict[str, Floats], dict[str, Floats], list[Floats]]:
        """By view: held-out images, each by the model that has not seen it, ``(n, C)``; the test images ``tested``, by
        the mean of all models. And ``some`` of these by each model alone, averaged over the views.
        """
        held_out = {view: np.full_like(self._oof, np.nan) for view in held_out_views}
        test: dict[str, Floats] = {}
        by_fold: list[Floats] = []
        for folds in self._abreast.rounds(len(self._models)) if held_out_views or test_views else ():
            last = [partial(self._last_turn, fold, held_out_views, test_views, tested) for fold in folds]
            for fold, (own, others) in zip(folds, self._abreast.run(last), strict=True):
                for view, proba in own.items():
                    held_out[view][self._data.held_out(fold)] = proba
                for view, proba in others.items():
                    test[view] = test.get(view, np.float32(0)) + proba / np.float32(len(self._models))
                if others:
                    by_fold.append(average_views(others, test_views)[some])
        return held_out, test, by_fold

    def _last_turn(
        self, fold: int, held_out_views: tuple[str, ...], test_views: tuple[str, ...], tested: Labels
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """What one fold predicts in the end, by view: of the images that it holds out, and of the test images."""
        train, test = self._data.pixels.train, self._data.pixels.test
        with self._on_device(fold) as model:
            held_out = self._predict(model, train, self._data.held_out(fold), held_out_views) if held_out_views else {}
            others = self._predict(model, test, tested, test_views) if test_views else {}
        return held_out, others

    def result(self, status: Status, reason: str, **extra: Any) -> CVResult:
        """What came out so far; ``extra`` are further fields of `CVResult`."""
        return CVResult(
            status=status,
            reason=reason,
            reports=tuple(self.reports),
            oof=self._oof,
            machine=self._machine(),
            **extra,
        )

    def _machine(self) -> dict[str, Scalar]:
        machine: dict[str, Scalar] = {
            "device": str(self._device),
            "precision": str(training_precision(self._device)).removeprefix("torch."),
            "micro_batch": self._micro_batch,
            "torch": torch.__version__,
            "timm": importlib.metadata.version("timm"),
            "albumentations": importlib.metadata.version("albumentations"),
            "threads": torch.get_num_threads(),
            "folds_abreast": self._width,
            "seconds": sum(report.seconds for report in self.reports),
        }
        if self._device.type == "cpu":
            # Its vector instructions decide in which order sums are added up.
            machine["cpu"] = f"{cpu_name()} ({torch.backends.cpu.get_cpu_capability()})"
        if self._parked:
            machine["parked"] = True
        if self._init_digest:
            machine["init_sha256"] = self._init_digest
        if self._device.type == "cuda":
            machine["device"] = torch.cuda.get_device_name(self._device)
            machine["memory_peak"] = -(-torch.cuda.max_memory_allocated(self._device) // MIB)
            machine["memory_planned"] = -(-self._planned // MIB)
        return machine


def _on_host(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
