"""Lock of an export's folder, and temporary folders beside it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search.runtime.console import open_console, say
from search.runtime.errors import SearchError
from trainer.common.files import is_old, lives, process_space

WAIT = 600.0  # seconds that an export waits for another one
_POLL = 0.2  # seconds


class OutputBusy(SearchError):
    """Another process has been writing into the same folder for `WAIT`."""


@contextmanager
def locked(folder: Path, *, wait: float = WAIT) -> Iterator[None]:
    """Hold the lock of ``folder``, whose parent exists. One process at a time writes an export into a folder.

    The system releases the lock of a process that dies. Waiting is announced on the terminal.

    Args:
        wait: seconds.

    Raises:
        OutputBusy: another process held it all the time.
        OSError: neither the folder nor its parent can be written to.
    """
    path = workplace(folder) / f".{folder.name}.retable-lock"
    handle = _acquire(path, folder, time.monotonic() + wait)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(handle)


def workplace(folder: Path) -> Path:
    """Where temporary folders for ``folder`` lie: beside it, or in it for a mount point or under a read-only parent."""
    beside = os.access(folder.parent, os.W_OK | os.X_OK) and not folder.is_mount()
    return folder.parent if beside else folder


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A new empty folder on the file system of ``folder``, removed at the end. The caller holds the lock.

    A killed process leaves it behind, for `remove_scratch`.
    """
    scratch = workplace(folder) / scratch_name(folder)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def scratch_name(folder: Path) -> str:
    """A new name of a temporary folder for ``folder``."""
    return f".{folder.name}.retable-{process_space()}-{os.getpid()}-{secrets.token_hex(4)}"


def remove_scratch(folder: Path) -> None:
    """Remove the temporary folders of killed exports into ``folder``. The caller holds the lock.

    A folder stays for `trainer.common.files.LEFTOVER_AGE` after its last change, unless its process is seen to be dead.
    """
    name = re.compile(rf"\.{re.escape(folder.name)}\.retable-([0-9a-f]{{8}})-(\d+)-[0-9a-f]{{8}}")
    for place in (folder.parent, folder):
        for path in place.iterdir() if place.is_dir() else ():
            named = name.fullmatch(path.name)
            if named is None or path.is_symlink() or not path.is_dir():
                continue
            if is_old(path) or (named[1] == process_space() and not lives(int(named[2]))):
                shutil.rmtree(path, ignore_errors=True)


def _acquire(path: Path, folder: Path, deadline: float) -> int:
    announced = False
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                return handle
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                os.close(handle)
                raise
        os.close(handle)
        if time.monotonic() >= deadline:
            raise OutputBusy(
                f"another export is writing into {folder}: wait for its end, or name another folder with --output"
            )
        if not announced:
            say(open_console(), f"Waiting for another export that is writing into {folder} …")
            announced = True
        time.sleep(_POLL)


def _is_at(handle: int, path: Path) -> bool:
    """Whether ``path`` still names the opened file: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
