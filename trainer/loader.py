"""Reading and augmenting training batches beside the training: on a thread, or in processes that outlive trials.

No torch in here: a worker process reads pixels and augments them, nothing else. (Albumentations itself imports torch
where it is installed; that is its start-up time, paid once per worker process.)
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trainer.augment import Augmenter
from trainer.sampling import BatchPlan

Batch = npt.NDArray[np.uint8]
"""uint8, shape (b, size, size, 3), C-contiguous."""

BATCHES_AHEAD = 2  # per worker: one being read by the training, one being made


class PixelSource(Protocol):
    """Decoded images (`trainer.pixels.Pixels`). Has to pickle small: open the file lazily, carry its path."""

    @property
    def train(self) -> npt.NDArray[np.uint8]:
        """uint8, shape (n, size, size, 3)."""

    @property
    def test(self) -> npt.NDArray[np.uint8]:
        """uint8, shape (m, size, size, 3), m may be 0."""


class LoaderError(RuntimeError):
    """A process that prepares batches died. The next stream starts new ones."""


class BatchLoader:
    """Makes batches, one pool of workers for all folds, epochs and trials. Close it when no training follows.

    Args:
        workers: 0 = on a thread of this process; n = in n processes. The batches are identical for any number.
    """

    def __init__(self, workers: int = 0) -> None:
        if workers < 0:
            raise ValueError(f"workers must be 0 or more, not {workers}")
        self._workers = workers
        self._executor: Executor | None = None

    def stream(self, pixels: PixelSource, strengths: Mapping[str, float], plans: Sequence[BatchPlan]) -> BatchStream:
        """Start making the batches of ``plans`` now, a few ahead of whoever reads them, in their order."""
        # One blob for the whole stream: workers recognise it and keep what they built from it.
        job = pickle.dumps((pixels, dict(strengths)))
        return BatchStream(self, job, plans, ahead=BATCHES_AHEAD * max(1, self._workers))

    def submit(self, job: bytes, plan: BatchPlan) -> Future[Batch]:
        """Queue one batch. For `BatchStream`."""
        if self._executor is None:
            self._executor = _make_executor(self._workers)
        return self._executor.submit(_make_batch, job, plan)

    def close(self) -> None:
        """Stop the workers; batches not yet begun are dropped. A later `stream` starts new ones."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def __enter__(self) -> BatchLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BatchStream:
    """An iterator over the batches of one epoch of one fold; made by `BatchLoader.stream`."""

    def __init__(self, loader: BatchLoader, job: bytes, plans: Sequence[BatchPlan], ahead: int) -> None:
        self._loader = loader
        self._job = job
        self._left = iter(plans)
        self._pending: deque[Future[Batch]] = deque()
        for _ in range(ahead):
            self._submit_next()

    def _submit_next(self) -> None:
        plan = next(self._left, None)
        if plan is not None:
            self._pending.append(self._loader.submit(self._job, plan))

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            LoaderError: a worker process died.
        """
        if not self._pending:
            raise StopIteration
        try:
            batch = self._pending.popleft().result()
            self._submit_next()
        except BrokenProcessPool as error:
            self._pending.clear()
            self._loader.close()
            raise LoaderError(
                "a process that reads and augments images was killed (often: out of memory); use fewer of them"
            ) from error
        return batch

    def close(self) -> None:
        """Drop the batches that nobody will read."""
        self._left = iter(())
        while self._pending:
            self._pending.pop().cancel()


def _make_executor(workers: int) -> Executor:
    if workers == 0:
        return ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
    # Spawned, not forked: a fork of a process that runs CUDA or threads may hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=workers, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    # Ctrl-C reaches the whole process group, and a cluster's request to stop the whole control group; the training
    # decides when its workers stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """A killed training closes no pool; without this its workers would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


# The job that this thread worked on last: its blob, and what was built from it. Per thread, because an Augmenter
# serves one thread, and one process may train with several loaders.
_current = threading.local()


def _make_batch(job: bytes, plan: BatchPlan) -> Batch:
    if getattr(_current, "job", None) != job:
        pixels, strengths = pickle.loads(job)  # noqa: S301  (our own bytes, from the process that started this one)
        # asarray: indexing a plain view costs a fraction of indexing a memmap
        _current.images, _current.augmenter, _current.job = np.asarray(pixels.train), Augmenter(strengths), job
    images, augmenter = _current.images, _current.augmenter
    return np.stack([augmenter.apply(images[row], key) for row, key in zip(plan.indices, plan.keys, strict=True)])
