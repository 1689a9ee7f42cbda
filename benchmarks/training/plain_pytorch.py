"""Rivals of a whole trial in speed: the bare network, and a usual hand-written script.

Both train the folds of one recipe with AdamW, predict every held-out image after every epoch, and store nothing. The
script has a cosine schedule and augments as much as the measured recipe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

EVALUATION_BATCH = 128  # images
LOADER_PROCESSES = 2
"""DataLoader processes of the hand-written script on a CPU; with a GPU it has one per core, as usual."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One cross-validation of ``n`` images in JPEG files."""

    backbone: str
    paths: Sequence[Path]
    y: NDArray[np.int64]
    folds: NDArray[np.int64]
    size: int
    batch_size: int
    epochs: int
    device: torch.device

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.y.max()) + 1

    @property
    def num_folds(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    def parts(self, fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of a fold's training images, and of its held-out images."""
        return np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)

    def starts(self, rows: int) -> list[int]:
        """First row of each training batch; a last batch of one image is left out."""
        return [start for start in range(0, rows, self.batch_size) if rows - start > 1]


def train_from_tensors(work: Workload, *, channels_last: bool, bfloat16: bool) -> None:
    """The ceiling: forward, backward, step and evaluation on normalised tensors that are already on the device.

    Args:
        channels_last: memory layout of images and weights.
        bfloat16: autocast the forward pass of the training.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = torch.randn(len(work.y), 3, work.size, work.size, device=work.device).contiguous(memory_format=layout)
    labels = torch.from_numpy(work.y).to(work.device)
    for fold in range(work.num_folds):
        train, held_out = work.parts(fold)
        # Slices are free, while gathering rows would cost time.
        ends = [(start, min(start + work.batch_size, len(train))) for start in work.starts(len(train))]
        batches = [slice(*pair) for pair in ends]
        model = timm.create_model(work.backbone, num_classes=work.classes).to(work.device)
        model = model.to(memory_format=layout)  # type: ignore[call-overload]  # torch's own signature
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        for _ in range(work.epochs):
            model.train()
            for batch in batches:
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast(work.device.type, dtype=torch.bfloat16, enabled=bfloat16):
                    logits = model(images[batch])
                cross_entropy(logits.float(), labels[batch]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for start in range(0, len(held_out), EVALUATION_BATCH):
                    model(images[start : min(start + EVALUATION_BATCH, len(held_out))]).softmax(dim=1).cpu()


class _JpegFiles(Dataset[tuple[torch.Tensor, int]]):
    def __init__(self, work: Workload, rows: NDArray[np.int64], augment: bool) -> None:
        import albumentations
        from albumentations.pytorch import ToTensorV2

        augmentations = [
            albumentations.HorizontalFlip(p=0.5),
            albumentations.ColorJitter(0.2, 0.2, 0.0, 0.0, p=1.0),
            albumentations.Affine(scale=(0.9, 1.1), p=1.0),
        ]
        resize, normalise = albumentations.Resize(work.size, work.size), albumentations.Normalize()
        self._rows, self._work = rows, work
        self._transform = albumentations.Compose([resize, *(augmentations if augment else []), normalise, ToTensorV2()])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        row = self._rows[index]
        with Image.open(self._work.paths[row]) as image:
            pixels = np.array(image.convert("RGB"))
        return self._transform(image=pixels)["image"], int(self._work.y[row])


def train_by_hand(work: Workload) -> None:
    """A usual script: a DataLoader that decodes JPEGs, Albumentations, one fold after another, float32."""
    processes = LOADER_PROCESSES if work.device.type == "cpu" else torch.multiprocessing.cpu_count()
    for fold in range(work.num_folds):
        train, held_out = work.parts(fold)
        batches = DataLoader(
            _JpegFiles(work, train, augment=True),
            batch_size=work.batch_size,
            shuffle=True,
            drop_last=len(train) % work.batch_size == 1,
            num_workers=processes,
            pin_memory=work.device.type == "cuda",
        )
        held_out_batches = DataLoader(
            _JpegFiles(work, held_out, augment=False),
            batch_size=work.batch_size,
            num_workers=processes,
            pin_memory=work.device.type == "cuda",
        )
        model = timm.create_model(work.backbone, num_classes=work.classes).to(work.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        steps = work.epochs * len(batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step, steps=steps: 0.5 * (1 + math.cos(math.pi * step / steps))
        )
        for _ in range(work.epochs):
            model.train()
            for images, labels in batches:
                optimizer.zero_grad()
                logits = model(images.to(work.device))
                cross_entropy(logits, labels.to(work.device)).backward()
                optimizer.step()
                schedule.step()
            model.eval()
            with torch.no_grad():
                for images, _ in held_out_batches:
                    model(images.to(work.device)).softmax(dim=1).cpu()
