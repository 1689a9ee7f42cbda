"""Training speed and memory of a backbone on this machine, measured by training it for a few steps."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from trainer.common.environment import cpu_name
from trainer.common.errors import TrainerError
from trainer.common.memory_errors import is_out_of_memory
from trainer.networks.backbones import preprocessing_of
from trainer.networks.view_averaging import predict_proba
from trainer.recipe.recipe import Recipe
from trainer.training.folds.fold_model import FoldModel
from trainer.training.folds.memory.gpu_memory import tensor_bytes
from trainer.training.folds.parallel_folds import ParallelFolds, parallel_width

CLASSES = 10
GPU_BATCH = 32  # images per step
CPU_BATCH = 8  # images per step; fewer, because a large network takes a second per image
STEPS = 5  # timed steps
MEASURING_TIME = 20.0  # seconds after which no further step begins
MEMORY_SHARE = 0.8  # largest share of a CPU machine's free memory for weights, gradients and optimizer state
REHEARSED_STEPS = 3  # timed steps of a rehearsal
LONG_PREDICTION = 3.0  # seconds of a rehearsed prediction on a CPU that is not repeated
REHEARSED_PREDICTIONS = 16  # images of a rehearsed prediction
REHEARSAL_TIME = 10.0  # seconds after which a rehearsal ends
FORWARD = 1 / 3  # length of a forward pass relative to a training step; a backward pass takes about twice as long
STATE_COPIES = 4  # tensors as large as the weights: the weights, their gradients, and two moments of Adam


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Speed and memory of training one network on one device."""

    images_per_second: float
    """Training throughput by the median step: forward pass, backward pass and optimizer step."""
    memory: int
    """Peak bytes of training one fold: weights, gradients, optimizer state and activations."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Predicted speed of a training, in seconds."""

    epoch: float
    """Of one epoch, with the predictions of the held-out images."""
    prediction: float
    """Of the prediction of one image by one network, with one view."""


class TooLarge(TrainerError):
    """The network cannot be trained within this device's memory."""


def best_device() -> torch.device:
    """The first CUDA device, or the CPU without one."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def device_name(device: torch.device) -> str:
    """The hardware that a measurement is valid for: the GPU's model, or the CPU's model and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{cpu_name()}, {threads} thread{'s' * (threads > 1)}"


def batch_on(device: torch.device) -> int:
    """Images per step of a measurement."""
    return GPU_BATCH if device.type == "cuda" else CPU_BATCH


def measure_training(architecture: str, image_size: int, device: torch.device) -> Measurement:
    """Measure training ``architecture`` from random weights on blank images, as one fold of a study trains it.

    Args:
        architecture: timm's name, without a tag for pre-trained weights.
        image_size: side of the images in pixels.

    Raises:
        BackboneError: timm has no such architecture, or it cannot take images of this size.
        TooLarge: it does not fit into memory.
    """
    recipe = Recipe.from_flat(
        {"backbone": architecture, "init": "scratch", "image_size": image_size, "batch_size": batch_on(device)}
    )
    if device.type == "cpu":
        _check_memory(architecture)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        problem = None
        try:
            model = FoldModel(
                recipe,
                fold=0,
                seed=0,
                train_y=np.zeros(recipe.batch_size, np.int64),
                num_classes=CLASSES,
                device=device,
                weights_dir=None,
            )
            return _measure(model, recipe.batch_size, device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            problem = str(error).splitlines()[0]
        raise TooLarge(f"{architecture} at {image_size} px and {recipe.batch_size} images does not fit: {problem}")


def rehearse_epoch(
    recipe: Recipe,
    *,
    images: int,
    folds: int,
    num_classes: int,
    device: torch.device,
    weights_dir: Path | None,
    clock: Callable[[], float] = time.perf_counter,
) -> Rehearsal | None:
    """Predict the speed of a cross-validation from a few steps on blank images, with as many folds at a time as the
    training has, and from the prediction of a batch.

    The first step, which creates the optimizer's state, counts only if it alone takes `REHEARSAL_TIME`. The seconds do
    not include augmentation, which other processes do beside the training: where the processor limits the speed, the
    epoch takes longer.

    Args:
        images: number of training images of the data set; each is trained in ``folds - 1`` folds and held out in one.
        folds: number of networks. 1: one network, which trains on all images and predicts as many.
        weights_dir: folder of pre-trained weights, see `trainer.networks.build.create_backbone`.
        clock: returns seconds, monotonic.

    Returns:
        None if a whole batch does not fit into memory: the training itself finds a smaller one.

    Raises:
        BackboneError: the pre-trained weights are not at hand.
    """

    def create(fold: int) -> FoldModel:
        return FoldModel(
            recipe,
            fold=fold,
            seed=0,
            train_y=np.zeros(recipe.batch_size, np.int64),
            num_classes=num_classes,
            device=device,
            weights_dir=weights_dir,
        )

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), ExitStack() as stack:
        try:
            first = create(0)
            width = parallel_width(first, folds, device)
            steps = [partial(model.rehearse, recipe.batch_size) for model in (first, *map(create, range(1, width)))]
            parallel = ParallelFolds(width)
            stack.callback(parallel.close)
            seconds: list[float] = []
            begun = clock()
            while len(seconds) <= REHEARSED_STEPS and clock() - begun < REHEARSAL_TIME:
                before = clock()
                parallel.run(steps)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                seconds.append(clock() - before)
            prediction = _prediction_time(first, recipe, device, clock)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None
    per_image = statistics.median(seconds[1:] or seconds) / (width * recipe.batch_size)
    return Rehearsal(epoch=per_image * images * (max(1, folds - 1) + FORWARD), prediction=prediction)


def _prediction_time(model: FoldModel, recipe: Recipe, device: torch.device, clock: Callable[[], float]) -> float:
    """Seconds in which a network predicts one of a batch of blank images.

    The first batch, in which the network is prepared for the size of its images, counts only if it alone takes
    `LONG_PREDICTION`.
    """
    size, batch = recipe.image_size, REHEARSED_PREDICTIONS
    images = np.zeros((batch, size, size, 3), np.uint8)
    seconds = 0.0
    for _ in range(2):
        before = clock()
        predict_proba(
            model.evaluated, images, preprocessing=preprocessing_of(recipe.backbone), batch_size=batch, device=device
        )
        seconds = clock() - before
        if seconds > LONG_PREDICTION and device.type == "cpu":
            break
    return seconds / batch


def _measure(model: FoldModel, batch: int, device: torch.device) -> Measurement:
    # The first step, which is not timed, creates the optimizer's state and lets cuDNN choose algorithms. On a CPU it
    # also counts the memory of the activations.
    start = time.perf_counter()
    activations = _activation_bytes(model, batch)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    seconds: list[float] = []
    while not seconds or (len(seconds) < STEPS and time.perf_counter() - start < MEASURING_TIME):
        before = time.perf_counter()
        model.rehearse(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - before)
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device)
    else:
        gradients = sum(weight.nbytes for weight in model.evaluated.parameters() if weight.requires_grad)
        memory = tensor_bytes(model.state()) + gradients + activations
    return Measurement(images_per_second=batch / statistics.median(seconds), memory=memory)


def _activation_bytes(model: FoldModel, batch: int) -> int:
    """Train one step and count the bytes kept for the backward pass, without weights and buffers, each storage once."""
    weight_addresses = {tensor.untyped_storage().data_ptr() for tensor in model.evaluated.state_dict().values()}
    activations: dict[int, int] = {}

    def record_activation(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        # All activations live until the backward pass begins, so no two storages have the same address.
        if storage.data_ptr() not in weight_addresses:
            activations[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record_activation, lambda tensor: tensor):
        model.rehearse(batch)
    return sum(activations.values())


def _check_memory(architecture: str) -> None:
    """Check that a CPU machine has enough memory; otherwise the system would kill the whole program.

    Raises:
        TooLarge: weights, gradients and the optimizer's state alone take too much.
    """
    from trainer.networks.architectures import architecture_of

    needed = architecture_of(architecture).parameters * torch.float32.itemsize * STATE_COPIES
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > MEMORY_SHARE * free:
        raise TooLarge(
            f"{architecture} needs {needed / 2**30:.1f} GiB without any images; {free / 2**30:.1f} GiB are free"
        )
