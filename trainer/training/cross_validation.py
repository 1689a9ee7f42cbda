"""Cross-validation in lockstep: every fold trains one epoch, then all held-out images are scored together.

So a training has a single learning curve, a pruner sees scores on the whole data set after the first epoch, and any two
trainings can be compared image by image after the same epoch.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.batches.batch_loader import BatchLoader
from trainer.evaluation.ambiguity import Average
from trainer.inference.networks.views import full_float32
from trainer.recipe.recipe import KEEP, LINEAR_PROBE, Recipe
from trainer.training.checkpoint import CheckpointFile
from trainer.training.final_predictions import PredictTest
from trainer.training.folds.memory.device_memory import release_memory, shortages
from trainer.training.linear_probe import cross_validate_probe, starting_heads
from trainer.training.lockstep import Abandoned, Lockstep
from trainer.training.results import CVResult, EpochReport, Status, TrainingData, Verdict
from trainer.training.suspicious_labels import judge_training_parts, suspects_of_checkpoint

log = logging.getLogger(__name__)

_ENDS: dict[Verdict, Status] = {Verdict.PRUNE: "pruned", Verdict.PAUSE: "paused", Verdict.STOP: "stopped"}
"""The verdicts that end a training before its last epoch, with the status of its result."""


def cross_validate(
    recipe: Recipe,
    data: TrainingData,
    *,
    metric: str,
    seed: int,
    device: torch.device | str,
    on_epoch: Callable[[EpochReport], Verdict],
    checkpoint: Path | None,
    weights_dir: Path | None = None,
    keep_models: bool = False,
    views: tuple[str, ...] = ("identity",),
    worth_keeping: Callable[[EpochReport, Average | None], bool] | None = None,
    predict_test: PredictTest = True,
    loader: BatchLoader | None = None,
    abandon: Callable[[], bool] | None = None,
    on_batch: Callable[[float], None] | None = None,
    on_resume: Callable[[EpochReport], Verdict] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> CVResult:
    """Train one model per fold and predict every image with the model that has not seen it.

    A recipe with ``method = "linear_probe"`` is one epoch, without checkpoints and further views
    (`trainer.training.linear_probe`).

    The result is a function of (recipe, data, seed). On a CPU with the same number of threads it is the same bit for
    bit, whether the training ran undisturbed or resumed from a checkpoint, whatever ran before in this process, and
    with any loader. What a GPU computes in float32 is computed without TF32. The state of torch's global generators is
    restored afterwards.

    Args:
        metric: a name in `trainer.evaluation.metrics.METRICS`.
        seed: of all random draws. The split into folds is part of ``data``.
        on_epoch: called with the report of every epoch that this call trains. Its verdict on the last epoch changes
            nothing, because only the test predictions are left to do. An exception ends the training and is passed on.
        checkpoint: file to resume from if it exists, and to write while training. The file stays when the training
            finishes; the caller removes it after storing the result. None: no checkpoints.
        weights_dir: folder of pre-trained weights, see `trainer.networks.build.create_backbone`.
        keep_models: return the state dicts of the evaluated networks.
        views: test-time views (`trainer.networks.view_averaging.VIEWS`) to predict with after the last epoch, each by
            itself and always with ``"identity"``. They do not affect the scores, which average the views of
            ``recipe.tta``.
        worth_keeping: called after the last epoch with its report and the expected average of the fold models. If it
            returns False, no models are returned and no further views predicted. None: always worth keeping.
        predict_test: predict the test images after the last epoch; "if kept": only if the training is worth keeping.
        loader: prepares the batches; None: a loader on a thread, for this call.
        abandon: called before every training batch and every few other images, so it has to be quick. Once it
            returns True the call returns at once: the result is "stopped" with the complete epochs, no checkpoint is
            written, and the same call resumes from the last one. An exception is passed on.
        on_batch: called before every training batch with the trained share of the present epoch, 0 <= share < 1, from
            several threads where folds train in parallel. Before the first epoch, while labels are judged or the heads
            of ``head = "probe"`` are fitted, the share is 0. An exception ends the training and is passed on; its last
            checkpoint stays.
        on_resume: called with the report of the last epoch of a checkpoint that holds fewer than all epochs. Its
            verdict counts as that of ``on_epoch``. None: the training continues.
        clock: returns seconds, monotonic.

    Raises:
        BackboneError: the pre-trained weights are not at hand, or the backbone cannot be probed although the recipe
            asks for it.
        LoaderError: a worker process of the loader died.
        torch.OutOfMemoryError: even one image at a time does not fit. In most cases this is raised before the first
            epoch, with a message that says what is needed and free (`trainer.training.folds.memory.gpu_memory`).
            CUDA's libraries raise another RuntimeError, see `trainer.common.memory_errors`.
        ValueError: the recipe is a linear probe, and the data have soft targets; or it judges suspicious labels, and
            rows are left out of training parts.
        GpuOccupied: the same, while other programs hold memory that would suffice. The last checkpoint stays.
    """
    device = torch.device(device)
    with shortages(device) as memory, ExitStack() as stack:
        stack.callback(release_memory, device)  # after the models are gone
        gpus = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=gpus))
        stack.enter_context(full_float32(benchmark=True))
        if recipe.suspicious_labels != KEEP and data.left_out is not None:
            # The judge would learn from pseudo-labels of all folds, whose teachers have seen what a fold holds out.
            raise ValueError("suspicious labels cannot be judged beside pseudo-labels")
        if recipe.method == LINEAR_PROBE:
            if data.soft_targets is not None:
                raise ValueError("a linear probe cannot train toward soft targets")
            return _probe(
                recipe,
                data,
                abandon=abandon,
                on_batch=on_batch,
                metric=metric,
                seed=seed,
                device=device,
                on_epoch=on_epoch,
                weights_dir=weights_dir,
                keep_models=keep_models,
                worth_keeping=worth_keeping,
                predict_test=predict_test,
                clock=clock,
            )
        if loader is None:
            loader = stack.enter_context(BatchLoader())
        file = content = None
        if checkpoint is not None:
            file = CheckpointFile(checkpoint, training_identity(recipe, data, metric, seed), clock)
            stack.callback(file.close)
            content = file.load()
        heads = None
        # Before the folds exist, so that their networks and the feature pass never share the device's memory.
        features: dict[str, Any] = {
            "seed": seed,
            "device": device,
            "weights_dir": weights_dir,
            "before_batch": _before_feature_batch(abandon, on_batch and (lambda share: on_batch(0.0))),
        }
        try:
            if recipe.suspicious_labels != KEEP:
                data = (
                    judge_training_parts(recipe, data, **features)
                    if content is None
                    else suspects_of_checkpoint(recipe, data, content)
                )
            if recipe.head == "probe" and content is None:
                heads = starting_heads(recipe, data, **features)
        except Abandoned:
            return _nothing_yet(data, "left before the first epoch")
        run = Lockstep(
            recipe,
            data,
            metric=metric,
            seed=seed,
            device=device,
            loader=loader,
            weights_dir=weights_dir,
            heads=heads,
            clock=clock,
            abandon=abandon,
            on_batch=on_batch,
        )
        stack.callback(run.close)
        memory.bytes = run.memory_need
        if content is not None:
            run.restore(content)
            log.info("Continuing after epoch %d of %d.", len(run.reports), recipe.epochs)

        try:
            ended = _train_epochs(run, recipe.epochs, on_epoch, file, on_resume)
            if ended is not None:
                return ended
            return run.finish(
                views=views, predict_test=predict_test, keep_models=keep_models, worth_keeping=worth_keeping
            )
        except Abandoned:
            # Not saved: the weights are between two epochs. The file still holds the last checkpoint.
            done = len(run.reports)
            if done < recipe.epochs:
                return run.result("stopped", f"left in the middle of epoch {done + 1} of {recipe.epochs}")
            return run.result("stopped", "left while predicting after the last epoch")


def _probe(
    recipe: Recipe,
    data: TrainingData,
    *,
    abandon: Callable[[], bool] | None,
    on_batch: Callable[[float], None] | None,
    **settings: Any,
) -> CVResult:
    """`cross_validate_probe`, ended as `cross_validate` promises."""
    before_batch = _before_feature_batch(abandon, on_batch)
    try:
        if recipe.suspicious_labels != KEEP:
            of_features = {name: settings[name] for name in ("seed", "device", "weights_dir")}
            data = judge_training_parts(recipe, data, before_batch=before_batch, **of_features)
        return cross_validate_probe(recipe, data, before_batch=before_batch, **settings)
    except Abandoned:
        return _nothing_yet(data, "left in the middle of the probe")


def _before_feature_batch(
    abandon: Callable[[], bool] | None, on_batch: Callable[[float], None] | None
) -> Callable[[float], None]:
    """The function that a feature pass calls before every batch, with the share of the images that are done."""

    def before_batch(share: float) -> None:
        if abandon is not None and abandon():
            raise Abandoned
        if on_batch is not None:
            on_batch(share)

    return before_batch


def _nothing_yet(data: TrainingData, reason: str) -> CVResult:
    """The result of a call that was abandoned before it had scores."""
    nothing = np.full((len(data.y), data.num_classes), np.nan, dtype=np.float32)
    return CVResult(status="stopped", reason=reason, reports=(), oof=nothing)


def _train_epochs(
    run: Lockstep,
    epochs: int,
    on_epoch: Callable[[EpochReport], Verdict],
    file: CheckpointFile | None,
    on_resume: Callable[[EpochReport], Verdict] | None,
) -> CVResult | None:
    """Train the epochs that are left, until a verdict ends the training early.

    Returns:
        The result if the training ends without its predictions, else None.
    """
    restored = len(run.reports)
    if on_resume is not None and 0 < restored < epochs:
        verdict = on_resume(run.reports[-1])
        if verdict is not Verdict.CONTINUE:
            return _ended(run, epochs, verdict, file)
    for epoch in range(restored + 1, epochs + 1):
        problem = run.train_epoch(epoch)
        if problem:
            return run.result("diverged", problem)
        verdict = on_epoch(run.reports[-1])
        if verdict is Verdict.FINISH or (epoch < epochs and verdict is not Verdict.CONTINUE):
            return _ended(run, epochs, verdict, file)
        if file is not None:
            file.offer(run.content)
    return None


def _ended(run: Lockstep, epochs: int, verdict: Verdict, file: CheckpointFile | None) -> CVResult | None:
    """The result of a training that ends by ``verdict``; None if only its predictions are left to do."""
    if verdict is Verdict.FINISH:
        return None
    if file is not None and verdict is not Verdict.PRUNE:
        file.save(run.content())
    status = _ENDS[verdict]
    return run.result(status, f"{status} after epoch {len(run.reports)} of {epochs}")


def training_identity(recipe: Recipe, data: TrainingData, metric: str, seed: int) -> str:
    """Digest of everything that determines a training and its scores.

    A few images stand for all of them: labels and folds of all images are included, and callers compare the fingerprint
    of the whole data set. The library versions are included because another timm may name the same tensors differently.
    """
    libraries = [importlib.metadata.version(name).partition("+")[0] for name in ("torch", "timm")]
    settings = [recipe.to_flat(), metric, seed, data.num_classes, libraries]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    few = np.linspace(0, len(data.y) - 1, num=16, dtype=np.int64)
    # No setting of the recipe has the size of the images to crop from; the images themselves do.
    images = (data.pixels.train[few], data.training_source(recipe).train[few])
    # A checkpoint holds scores, which depend on the image weights.
    image_weights = () if data.image_weights is None else (data.image_weights,)
    soft_targets = () if data.soft_targets is None else (data.soft_targets,)
    left_out = data.left_out or ()
    for array in (data.y, data.folds, *images, *image_weights, *soft_targets, *left_out):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
