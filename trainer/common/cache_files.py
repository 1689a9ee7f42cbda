"""Files of a cache that processes share and map into memory: marked while in use, removed the longest unused first.

The user of a file holds a shared lock on it (flock), and a file is removed only under an exclusive one: a file in use
stays. The lock ends with its process, however that ends. Callers of `mark_in_use` and of `remove_unused` also hold the
lock under which the file is created, so that it does not disappear between a look at it and its use.
"""

from __future__ import annotations

import fcntl
import logging
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)


def mapped_array(path: Path) -> NDArray[Any] | None:
    """The array of a ``.npy`` file, mapped into memory; None: there is none, or the file holds something else."""
    if not path.is_file():  # a pipe, for example, would never end
        return None
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as problem:  # NumPy parses the header as Python code, whose tokenizer raises types of its own
        log.debug("%s is no array: %s", path, problem)
        return None


def mark_in_use(path: Path, user: object) -> None:
    """Keep a file from being removed by `remove_unused` until ``user`` is collected, and set its time to now.

    Where the file cannot be marked (another user's file, a file system without locks), it can only be removed earlier.

    Raises:
        OSError: the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY)
    weakref.finalize(user, os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.utime(path)
    except OSError as problem:
        log.debug("%s is not marked as in use: %s", path, problem.strerror or problem)


def remove_unused(path: Path) -> bool:
    """Remove a file unless a process uses it. A process that has mapped it without a mark goes on to read it.

    Returns:
        Whether it is gone.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
