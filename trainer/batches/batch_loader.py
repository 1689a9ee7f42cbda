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
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing.shared_memory import SharedMemory
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from trainer.batches.augmenter import Augmenter
from trainer.batches.batch_plan import BatchPlan
from trainer.batches.shared_memory import Slots

if TYPE_CHECKING:
    from trainer.recipe.recipe import Augment

Batch = npt.NDArray[np.uint8]
"""uint8, shape (b, size, size, 3), C-contiguous."""

KEPT_SLOTS = 512  # blocks of shared memory that a worker process stays attached to

CORES_PER_AUGMENTER = 4  # where the training is on the CPU as well

BATCHES_AHEAD = 2  # per worker: one being read by the training, one being made


class PixelSource(Protocol):
    """Decoded images (`trainer.batches.pixel_cache.Pixels`). Has to pickle small: open the file lazily, carry its
    path.
    """

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
        self._lock = threading.Lock()
        self.slots = Slots()
        """Where processes put batches."""

    def stream(self, pixels: PixelSource, settings: Augment, size: int, plans: Sequence[BatchPlan]) -> BatchStream:
        """Start making the batches of ``plans`` now, a few ahead of whoever reads them, in their order.

        Args:
            pixels: images of ``size`` x ``size`` pixels, or larger ones where ``settings`` crop.
            size: side of the network's input.
        """
        # One blob for the whole stream: workers recognise it and keep what they built from it.
        strengths = {name: strength for name, strength in settings.strengths.items() if strength > 0.0}
        job = pickle.dumps((pixels, replace(settings, strengths=strengths), size))
        return BatchStream(self, job, plans, size=size, ahead=BATCHES_AHEAD * max(1, self._workers))

    def submit(self, job: bytes, plan: BatchPlan, size: int) -> tuple[Future[Batch | None], SharedMemory | None]:
        """Queue one batch. For `BatchStream`.

        Returns:
            What will hold the batch, or None once it lies in the memory that comes second.
        """
        with self._lock:
            if self._executor is None:
                self._executor = _make_executor(self._workers)
        slot = self.slots.take(len(plan.indices) * size * size * 3) if self._workers else None
        if slot is None:
            return self._executor.submit(_make_batch, job, plan), None
        return self._executor.submit(_fill_slot, job, plan, size, slot.name), slot

    def close(self) -> None:
        """Stop the workers; batches not yet begun are dropped. A later `stream` starts new ones."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None
        self.slots.close()

    def __enter__(self) -> BatchLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def fitting_workers(device_type: str, cores: int) -> int:
    """How many processes augment best for a training on ``device_type`` ("cuda", "cpu") that may use ``cores``.

    Beside a GPU the CPU has nothing else to do. On a CPU the training needs the cores, but a thread of it that augments
    holds the interpreter up, which costs a small network a quarter of its speed.
    """
    if device_type == "cuda":
        return max(1, cores)
    return max(1, cores // CORES_PER_AUGMENTER) if cores > 1 else 0


class BatchStream:
    """An iterator over the batches of one epoch of one fold; made by `BatchLoader.stream`."""

    def __init__(self, loader: BatchLoader, job: bytes, plans: Sequence[BatchPlan], size: int, ahead: int) -> None:
        self._loader = loader
        self._job = job
        self._size = size
        self._left = iter(plans)
        self._pending: deque[tuple[BatchPlan, Future[Batch | None], SharedMemory | None]] = deque()
        self._read: SharedMemory | None = None
        for _ in range(ahead):
            self._submit_next()

    def _submit_next(self) -> None:
        plan = next(self._left, None)
        if plan is not None:
            self._pending.append((plan, *self._loader.submit(self._job, plan, self._size)))

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch. It may lie in memory that the batch after it is written into: copy what is to stay.

        Raises:
            LoaderError: a worker process died.
        """
        self._release()
        if not self._pending:
            raise StopIteration
        plan, future, self._read = self._pending.popleft()
        try:
            batch = future.result()
            self._submit_next()
        except BrokenProcessPool as error:
            self._pending.clear()
            self._loader.close()
            raise LoaderError(
                "a process that reads and augments images was killed (often: out of memory); use fewer of them"
            ) from error
        if batch is not None:
            return batch
        assert self._read is not None, "a worker returns the batch or puts it into memory"
        return _batch_in(self._read, len(plan.indices), self._size)

    def _release(self) -> None:
        if self._read is not None:
            self._loader.slots.give_back(self._read)
            self._read = None

    def close(self) -> None:
        """Drop the batches that nobody will read."""
        self._release()
        self._left = iter(())
        while self._pending:
            _, future, slot = self._pending.pop()
            future.cancel()
            if slot is not None:
                # Now where it was cancelled or is done; later where a worker is writing into it.
                future.add_done_callback(partial(_give_back, self._loader.slots, slot))


def _give_back(slots: Slots, slot: SharedMemory, _: Future[Batch | None]) -> None:
    slots.give_back(slot)


def _batch_in(slot: SharedMemory, count: int, size: int) -> Batch:
    assert slot.buf is not None, "the slot is open"
    # Not np.ndarray(buffer=...): only frombuffer keeps the memory from being unmapped while the array lives.
    return np.frombuffer(slot.buf, dtype=np.uint8, count=count * size * size * 3).reshape(count, size, size, 3)


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


def _make_batch(job: bytes, plan: BatchPlan, into: Batch | None = None) -> Batch:
    if getattr(_current, "job", None) != job:
        pixels, settings, size = pickle.loads(job)  # noqa: S301  (our own bytes, from the process that started this one)
        # asarray: indexing a plain view costs a fraction of indexing a memmap
        _current.images, _current.augmenter, _current.job = np.asarray(pixels.train), Augmenter(settings, size), job
        _current.size = size
    images, augmenter, size = _current.images, _current.augmenter, _current.size
    batch = np.empty((len(plan.indices), size, size, 3), dtype=np.uint8) if into is None else into
    for place, (row, key) in enumerate(zip(plan.indices, plan.keys, strict=True)):
        batch[place] = augmenter.apply(images[row], key)
    return batch


_mapped: dict[str, SharedMemory] = {}  # in a worker process: what it has written into so far


def _fill_slot(job: bytes, plan: BatchPlan, size: int, name: str) -> None:
    """`_make_batch` into shared memory."""
    slot = _mapped.get(name)
    if slot is None:
        if len(_mapped) >= KEPT_SLOTS:  # of earlier trainings, most likely
            for old in _mapped.values():
                old.close()
            _mapped.clear()
        slot = _mapped[name] = SharedMemory(name)
    _make_batch(job, plan, into=_batch_in(slot, len(plan.indices), size))
