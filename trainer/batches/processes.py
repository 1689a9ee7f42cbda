"""The pool of processes that read and augment images. They end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Executor, ProcessPoolExecutor


def start_processes(workers: int) -> Executor:
    """A pool of processes, of which the first is started.

    Raises:
        OSError: the host allows no pool, or no process.
    """
    # Spawned, because a fork of a process that runs CUDA or threads may hang.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(max_workers=workers, mp_context=context, initializer=_start_worker)
    executor.submit(os.getpid)
    return executor


def _start_worker() -> None:
    # Ctrl-C reaches the whole process group, and a cluster's stop request reaches the whole control group. Workers
    # ignore both, because the training decides when they stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """End this worker when its training ends; a killed training cannot stop its workers, which would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)
