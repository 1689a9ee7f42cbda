"""Reading and augmenting training batches in the background: on a thread, or in processes that outlive trials.

This module does not import torch, because worker processes only read and augment pixels. (Albumentations imports torch
if it is installed, which adds to the start-up time once per worker process.)
"""

from __future__ import annotations

import logging
import pickle
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from multiprocessing.shared_memory import SharedMemory
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from trainer.batches.augmenter import Augmenter
from trainer.batches.batch_plan import BatchPlan
from trainer.batches.processes import start_processes
from trainer.batches.shared_memory import Slots, remove_leftovers
from trainer.common.errors import LoaderError

if TYPE_CHECKING:
    from trainer.recipe.recipe import Augment

Batch = npt.NDArray[np.uint8]
"""uint8, shape (b, size, size, 3), C-contiguous."""

KEPT_SLOTS = 512  # blocks of shared memory that a worker process stays attached to

CORES_PER_AUGMENTER = 4  # CPU cores per worker process if the training runs on the CPU, too

MOST_AUGMENTERS = 24  # worker processes beside a GPU; more than feed the smallest networks

AUGMENTER_BYTES = 400 * 2**20  # memory of a worker process; most is Albumentations, and torch, which that imports
MEMORY_SHARE = 0.5  # of the free memory, for worker processes; the rest is for the training and its images

BATCHES_AHEAD = 2  # per worker: one that the training reads, one in preparation

log = logging.getLogger(__name__)


class PixelSource(Protocol):
    """Decoded images, such as `trainer.batches.pixel_cache.Pixels`.

    It is pickled for every stream of batches, so its pickle has to be small: the path of a file that is opened on use.
    """

    @property
    def train(self) -> npt.NDArray[np.uint8]:
        """uint8, shape (n, size, size, 3)."""

    @property
    def test(self) -> npt.NDArray[np.uint8]:
        """uint8, shape (m, size, size, 3), m may be 0."""


class BatchLoader:
    """Prepares batches with one pool of workers for all folds, epochs and trials. Close it after the last training.

    Args:
        workers: number of worker processes; 0: a thread of this process. The batches are the same for any number.

    Raises:
        ValueError: ``workers`` is negative.
    """

    def __init__(self, workers: int = 0) -> None:
        if workers < 0:
            raise ValueError(f"workers must be 0 or more, not {workers}")
        self._workers = workers
        self._uses_processes = False
        self._executor: Executor | None = None
        self._lock = threading.Lock()
        self.slots = Slots()
        """Shared memory into which worker processes write batches."""

    def stream(
        self, pixels: PixelSource, settings: Augment, size: int, epochs: Iterable[Sequence[BatchPlan]]
    ) -> BatchStream:
        """Start preparing batches now, in their order and a few ahead of the reader.

        Args:
            pixels: images of ``size`` x ``size`` pixels, or larger ones if ``settings`` crop.
            size: side of the network's input.
            epochs: the plans of one epoch of one fold after another. Each is drawn when its first batch is due, which
                is before the last batch of the one before is read.

        Raises:
            LoaderError: a worker process died.
        """
        # One pickle for the whole stream: workers recognise it and reuse the augmenter that they built from it.
        strengths = {name: strength for name, strength in settings.strengths.items() if strength > 0.0}
        job = pickle.dumps((pixels, replace(settings, strengths=strengths), size))
        plans = chain.from_iterable(epochs)
        return BatchStream(self, job, plans, size=size, ahead=BATCHES_AHEAD * max(1, self._workers))

    def submit(self, job: bytes, plan: BatchPlan, size: int) -> tuple[Future[Batch | None], SharedMemory | None]:
        """Queue one batch; for `BatchStream`.

        Returns:
            A future, and a block of shared memory or None. If the future's result is None, the batch is written into
            the block; otherwise the result is the batch.

        Raises:
            BrokenProcessPool: a worker process died; the block is lost until `close`.
        """
        with self._lock:
            if self._executor is None:
                self._executor = self._started_executor()
            executor = self._executor
        slot = self.slots.take(len(plan.indices) * size * size * 3) if self._uses_processes else None
        if slot is None:
            return executor.submit(_make_batch, job, plan), None
        return executor.submit(_fill_slot, job, plan, size, slot.name), slot

    def _started_executor(self) -> Executor:
        """The pool of processes, of which the first is started; a thread where the host allows none."""
        self._uses_processes = self._workers > 0
        if self._uses_processes:
            remove_leftovers()
            try:
                return start_processes(self._workers)
            except OSError as error:  # no shared memory for its semaphores, or too many processes
                self._uses_processes = False
                log.warning(
                    "Processes that augment images cannot be started (%s): a thread does it, which is slower.",
                    error.strerror or error,
                )
        return ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")

    def close(self) -> None:
        """Stop the workers and drop the batches that they have not begun. A later `stream` starts new workers."""
        with self._lock:  # folds that train in parallel close it at the same time
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)
        self.slots.close()

    def __enter__(self) -> BatchLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def fitting_workers(device_type: str, cores: int, memory: int | None = None) -> int:
    """The fastest number of worker processes for a training on ``device_type`` ("cuda", "cpu") that may use ``cores``.

    Beside a GPU the CPU has nothing else to do. On a CPU the training needs most of the cores. A thread is no
    alternative there: it competes for the interpreter, which costs a small network a quarter of its speed.

    Args:
        memory: bytes that the training and its worker processes may use; None: enough.
    """
    fitting = cores if memory is None else max(1, min(cores, int(MEMORY_SHARE * memory) // AUGMENTER_BYTES))
    if device_type == "cuda":
        return max(1, min(fitting, MOST_AUGMENTERS))
    return max(1, min(fitting, cores // CORES_PER_AUGMENTER)) if cores > 1 else 0


class BatchStream:
    """An iterator over batches, most often of several folds and epochs; made by `BatchLoader.stream`."""

    def __init__(self, loader: BatchLoader, job: bytes, plans: Iterable[BatchPlan], size: int, ahead: int) -> None:
        self._loader = loader
        self._job = job
        self._size = size
        self._left = iter(plans)
        self._pending: deque[tuple[BatchPlan, Future[Batch | None], SharedMemory | None]] = deque()
        self._read: SharedMemory | None = None
        with self._dead_workers_named():
            for _ in range(ahead):
                self._submit_next()

    def _submit_next(self) -> None:
        plan = next(self._left, None)
        if plan is not None:
            self._pending.append((plan, *self._loader.submit(self._job, plan, self._size)))

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch. The batch after it may be written into the same memory: copy what has to stay.

        Raises:
            LoaderError: a worker process died.
        """
        self._release()
        if not self._pending:
            raise StopIteration
        plan, future, self._read = self._pending.popleft()
        with self._dead_workers_named():
            batch = future.result()
            self._submit_next()
        if batch is not None:
            return batch
        assert self._read is not None, "a worker returns the batch or writes it into shared memory"
        # Another stream that met the dead worker first has closed the loader, and with it this block.
        with self._dead_workers_named():
            if self._read.buf is None:
                raise BrokenProcessPool("the block is destroyed")
            return _batch_in(self._read, len(plan.indices), self._size)

    @contextmanager
    def _dead_workers_named(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool as error:
            self._left = iter(())
            self._pending.clear()
            self._loader.close()
            raise LoaderError(
                "a process that reads and augments images was killed (often: out of memory); use fewer of them"
            ) from error

    def _release(self) -> None:
        if self._read is not None:
            self._loader.slots.give_back(self._read)
            self._read = None

    def close(self) -> None:
        """Drop all batches that have not been read."""
        self._release()
        self._left = iter(())
        while self._pending:
            _, future, slot = self._pending.pop()
            future.cancel()
            if slot is not None:
                # Runs at once if the batch was cancelled or is complete, otherwise when the worker has written it.
                future.add_done_callback(partial(_give_back, self._loader.slots, slot))


def _give_back(slots: Slots, slot: SharedMemory, _: Future[Batch | None]) -> None:
    slots.give_back(slot)


def _batch_in(slot: SharedMemory, count: int, size: int) -> Batch:
    assert slot.buf is not None, "the slot is open"
    # Not np.ndarray(buffer=...): only frombuffer prevents the memory from being unmapped while the array lives.
    return np.frombuffer(slot.buf, dtype=np.uint8, count=count * size * size * 3).reshape(count, size, size, 3)


# The last job of this thread: its pickle, and the objects built from it. Per thread, because an Augmenter is not
# thread-safe and one process may train with several loaders.
_current = threading.local()


def _make_batch(job: bytes, plan: BatchPlan, into: Batch | None = None) -> Batch:
    if getattr(_current, "job", None) != job:
        pixels, settings, size = pickle.loads(job)  # noqa: S301  (bytes from the process that started this one)
        # asarray: indexing a plain view costs a fraction of indexing a memmap
        _current.images, _current.augmenter, _current.job = np.asarray(pixels.train), Augmenter(settings, size), job
        _current.size = size
    images, augmenter, size = _current.images, _current.augmenter, _current.size
    batch = np.empty((len(plan.indices), size, size, 3), dtype=np.uint8) if into is None else into
    for place, (row, key) in enumerate(zip(plan.indices, plan.keys, strict=True)):
        batch[place] = augmenter.apply(images[row], key)
    return batch


_mapped: dict[str, SharedMemory] = {}  # in a worker process: the blocks that it is attached to, by name


def _fill_slot(job: bytes, plan: BatchPlan, size: int, name: str) -> Batch | None:
    """As `_make_batch`, with the result in the shared-memory block ``name``; returned where the block is gone."""
    slot = _mapped.get(name)
    if slot is None:
        if len(_mapped) >= KEPT_SLOTS:  # most of them belong to earlier trainings
            for old in _mapped.values():
                old.close()
            _mapped.clear()
        try:
            slot = _mapped[name] = SharedMemory(name)
        except FileNotFoundError:  # removed by another, see `trainer.batches.shared_memory`
            return _make_batch(job, plan)
    _make_batch(job, plan, into=_batch_in(slot, len(plan.indices), size))
    return None
