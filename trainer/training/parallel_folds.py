"""Folds side by side on a CPU: several train at the same time, each with its share of the threads.

Two threads on one small network are idle for a third of the time, because they wait for each other at the end of every
layer. Two networks with a thread each do not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Outcome = TypeVar("Outcome")


class Abreast:
    """Runs up to ``width`` tasks at a time and divides torch's threads, those of the calling thread, among them."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="fold") if width > 1 else None

    def rounds(self, folds: int) -> list[range]:
        """Which folds run together: as many as there are threads for, and then the rest."""
        return [range(start, min(start + self._width, folds)) for start in range(0, folds, self._width)]

    def run(self, tasks: Sequence[Callable[[], Outcome]]) -> list[Outcome]:
        """The outcomes, in order; all tasks have ended then. A single one runs in the calling thread, with all threads.

        Raises:
            Exception: what the first of the tasks that failed raised.
        """
        if self._pool is None or len(tasks) == 1:
            return [task() for task in tasks]
        threads = max(1, self._threads // len(tasks))
        running: list[Future[Outcome]] = [self._pool.submit(_with_threads, threads, task) for task in tasks]
        wait(running)
        # What a thread says about threads is in part said for the whole process.
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
