"""How long a GPU waits in a training step because the host has not launched the next kernel yet.

For `benchmarks.first_gpu`. This share decides whether CUDA graphs may pay: they replace the launches of a step by one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from trainer.training.folds.fold_model import FoldModel

WARM_UP, STEPS = 5, 20  # steps before and in the measurement of a step among others
HOLD = 6e9  # cycles for each second of launches that a GPU is held: longer than the launches at any clock rate

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Images, shape (b, size, size, 3), and their classes, shape (b,)."""


@dataclass
class StepTimes:
    """Seconds of a training step on a GPU."""

    wall: float = 0.0
    """Of one step among many."""
    launches: float = 0.0
    """Of the host, to launch all kernels of a step while the GPU has nothing else to do."""
    kernels: float = 0.0
    """Of the GPU, to execute a step whose kernels have all been launched before."""

    @property
    def idle(self) -> float:
        """Share of a step in which the GPU waits for the host: 0 .. 1. CUDA graphs can save no more than this."""
        return max(0.0, 1.0 - self.kernels / self.wall)


def step_times(model: FoldModel, batch: Batch) -> StepTimes:
    """Train ``model``, which is on a GPU, on one batch again and again, and measure its steps.

    A kernel that only waits holds the GPU until the host has launched a whole step. The driver queues about a thousand
    kernels; of a longer step, `StepTimes.kernels` includes waits, and `StepTimes.idle` is a lower bound.
    """
    times = StepTimes()

    def measured() -> Iterator[Batch]:
        # The model has launched a step when it asks for the next batch.
        for _ in range(WARM_UP):
            yield batch
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(STEPS):
            yield batch
        torch.cuda.synchronize()
        times.wall = (time.perf_counter() - begun) / STEPS

        begun = time.perf_counter()
        yield batch
        times.launches = time.perf_counter() - begun
        torch.cuda.synchronize()

        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(int(HOLD * times.launches))
        start.record()
        yield batch
        end.record()
        end.synchronize()
        times.kernels = start.elapsed_time(end) / 1e3

    model.train_epoch(1, measured(), len(batch[0]))
    return times
