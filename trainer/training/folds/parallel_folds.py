"""Parallel folds on a CPU: several folds train at the same time, each with a share of torch's threads.

Two threads on one small network are idle for a third of the time, because they wait for each other at the end of every
layer. Two networks with a thread each do not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

from trainer.training.folds.fold_model import FoldModel

Outcome = TypeVar("Outcome")


def parallel_width(model: FoldModel, folds: int, device: torch.device) -> int:
    """How many folds run at the same time: on a CPU one for each torch thread, but at most ``folds``.

    Networks that draw random numbers share torch's generator: in parallel, each would depend on the others.
    """
    one_by_one = device.type != "cpu" or torch.get_num_threads() == 1 or model.draws_random_numbers()
    return 1 if one_by_one else min(folds, torch.get_num_threads())


class ParallelFolds:
    """Runs up to ``width`` tasks at a time and divides the torch threads of the calling thread among them."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="fold") if width > 1 else None

    def rounds(self, folds: int) -> list[range]:
        """The folds 0 .. ``folds`` - 1 in groups that run together: ``width`` in each, the rest in the last."""
        return [range(start, min(start + self._width, folds)) for start in range(0, folds, self._width)]

    def run(self, tasks: Sequence[Callable[[], Outcome]]) -> list[Outcome]:
        """Run the tasks at the same time and return their outcomes in order, once all have ended.

        A single task runs in the calling thread, with all torch threads.

        Raises:
            Exception: the exception of the first task, in order, that failed.
        """
        if self._pool is None or len(tasks) == 1:
            return [task() for task in tasks]
        threads = max(1, self._threads // len(tasks))
        running: list[Future[Outcome]] = [self._pool.submit(_with_threads, threads, task) for task in tasks]
        wait(running)
        # torch.set_num_threads in a pool thread partly changes the setting of the whole process.
        torch.set_num_threads(self._threads)
        return [future.result() for future in running]

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def _with_threads(threads: int, task: Callable[[], Outcome]) -> Outcome:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    return task()
