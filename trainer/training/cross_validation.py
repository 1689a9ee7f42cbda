"""Cross-validation in lockstep: every fold trains one epoch, then all held-out images are scored together.

So one training has one learning curve, a pruner sees the whole data set after the first epoch, and any two trainings
can be compared image by image after the same epoch.
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

import numpy as np
import torch

from trainer.batches.batch_loader import BatchLoader
from trainer.evaluation.ambiguity import Average
from trainer.recipe.recipe import Recipe
from trainer.training.checkpoint import CheckpointFile
from trainer.training.lockstep import Abandoned, Lockstep
from trainer.training.results import CVResult, EpochReport, TrainingData, Verdict

log = logging.getLogger(__name__)


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
    predict_test: bool = True,
    loader: BatchLoader | None = None,
    abandon: Callable[[], bool] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> CVResult:
    """Train one model per fold and predict every image with the model that has not seen it.

    The result is a function of (recipe, data, seed): bit for bit on the CPU with the same number of threads, whether
    undisturbed or continued from a checkpoint, whatever ran before in this process, and with any loader. Torch's global
    generators are left as they were found.

    Args:
        metric: name in `trainer.evaluation.metrics.METRICS`.
        seed: of all random draws; the split is in ``data``.
        on_epoch: called after every epoch that this call trains, with what came out. Its verdict on the last epoch
            changes nothing: all is done but the test predictions. What it raises ends the training and is passed on.
        checkpoint: file to continue from if it is there, and to write while training. It stays when the training
            finishes: whoever stores the result removes it. None: no checkpoints.
        weights_dir: folder of pre-trained weights, see `trainer.networks.build.create_backbone`.
        keep_models: return the state dicts of the evaluated weights.
        views: names of `trainer.networks.view_averaging.VIEWS` to predict with at the end, each by itself;
        ``"identity"`` always is.
            What a trial is judged by averages the views of ``recipe.tta``, whatever is asked for here.
        worth_keeping: asked once the last epoch is over and the test images are predicted, where it is given; where the
            answer is no, no models are returned and nothing is predicted with further views.
        predict_test: predict the test images when finished.
        loader: makes the batches; None: one on a thread, for this call.
        abandon: asked before every training batch and every few images predicted, so it has to be quick. Once it
            returns True all is left as it is: the result is "stopped" and holds the complete epochs, no checkpoint is
            written, and the same call continues from the last one. What it raises is passed on.
        clock: seconds, monotonic.

    Raises:
        BackboneError: the pre-trained weights are not at hand.
        LoaderError: a worker process of the loader died.
        torch.OutOfMemoryError: one image at a time is still too much. Mostly told before the first epoch, with a
            message that says what is needed and what is free (`trainer.training.gpu_memory`).
    """
    device = torch.device(device)
    with ExitStack() as stack:
        gpus = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=gpus))
        stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=True))
        if loader is None:
            loader = stack.enter_context(BatchLoader())
        run = Lockstep(recipe, data, metric, seed, device, loader, weights_dir, clock, abandon)
        stack.callback(run.close)
        file = None
        if checkpoint is not None:
            file = CheckpointFile(checkpoint, _identity(recipe, data, metric, seed), clock)
            stack.callback(file.close)
            content = file.load()
            if content is not None:
                run.restore(content)
                log.info("Continuing after epoch %d of %d.", len(run.reports), recipe.epochs)

        try:
            for epoch in range(len(run.reports) + 1, recipe.epochs + 1):
                problem = run.train_epoch(epoch)
                if problem:
                    return run.result("diverged", problem)
                verdict = on_epoch(run.reports[-1])
                if epoch < recipe.epochs and verdict is Verdict.PRUNE:
                    return run.result("pruned", f"pruned after epoch {epoch} of {recipe.epochs}")
                if epoch < recipe.epochs and verdict is Verdict.STOP:
                    if file is not None:
                        file.save(run.content())
                    return run.result("stopped", f"stopped after epoch {epoch} of {recipe.epochs}")
                if file is not None:
                    file.offer(run.content)
            return run.finish(views, predict_test, keep_models, worth_keeping)
        except Abandoned:
            # No checkpoint: the weights are those of no epoch. The file still holds the last one that was written.
            done = len(run.reports)
            if done < recipe.epochs:
                return run.result("stopped", f"left in the middle of epoch {done + 1} of {recipe.epochs}")
            return run.result("stopped", "left while predicting after the last epoch")


def _identity(recipe: Recipe, data: TrainingData, metric: str, seed: int) -> str:
    """Digest of all that a training is a function of.

    Of the images a few stand for all: folds and labels follow the rows, and whoever calls has compared the data's
    fingerprint. The libraries belong to it because another timm may name the same weights otherwise.
    """
    libraries = [importlib.metadata.version(name).partition("+")[0] for name in ("torch", "timm")]
    settings = [recipe.to_flat(), metric, seed, data.num_classes, libraries]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    few = np.linspace(0, len(data.y) - 1, num=16, dtype=np.int64)
    # The pictures to crop from also say how large they are, which no setting of the recipe does.
    pictures = (data.pixels.train[few], data.training_source(recipe).train[few])
    # A checkpoint holds scores, which depend on the weights.
    weights = () if data.weights is None else (data.weights,)
    for array in (data.y, data.folds, *pictures, *weights):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
