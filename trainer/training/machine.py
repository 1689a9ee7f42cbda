"""What a machine adds to the record of a training: device, precision and versions."""

from __future__ import annotations

import importlib.metadata

import torch

from trainer.common.environment import cpu_name
from trainer.recipe.recipe import Scalar
from trainer.training.folds.devices import training_precision


def machine_of(device: torch.device) -> dict[str, Scalar]:
    """The entries of `trainer.training.results.CVResult.machine` that are the same for every training on ``device``."""
    machine: dict[str, Scalar] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "precision": str(training_precision(device)).removeprefix("torch."),
        "torch": torch.__version__,
        "timm": importlib.metadata.version("timm"),
        "albumentations": importlib.metadata.version("albumentations"),
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        machine["tf32"] = False  # `trainer.inference.networks.views.full_float32`
    if device.type == "cpu":
        # Its vector instructions decide in which order sums are added up.
        machine["cpu"] = f"{cpu_name()} ({torch.backends.cpu.get_cpu_capability()})"
    return machine
