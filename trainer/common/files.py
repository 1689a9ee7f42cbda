"""Atomic writing of files: a file appears complete or not at all."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""``errno`` values of an OSError for a full disk or an exhausted quota."""

LEFTOVER_AGE = 3600.0  # seconds since the last write after which a temporary file may be removed


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is renamed to ``path``, on failure it is removed.

    The temporary name holds the process id, so that two processes can write the same file; the last rename wins. A
    killed process leaves its temporary file behind, for `remove_leftovers`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> int:
    """Remove temporary files of `replacing`, in ``folder`` and below, that killed processes left behind.

    A file stays while a process with its id lives on this host, and for `LEFTOVER_AGE` after its last write, since the
    process may live on another host that shares the folder. A file that cannot be removed stays, too.

    Returns:
        The number of removed files; 0 if the folder does not exist.
    """
    removed = 0
    for path in folder.rglob(".*.tmp"):
        named = re.fullmatch(r"\..+\.(\d+)\.tmp", path.name)
        try:
            if named and path.is_file() and _is_old(path) and not _lives(int(named[1])):
                path.unlink()
                removed += 1
        except OSError:  # already removed, or owned by another user
            continue
    return removed


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > LEFTOVER_AGE


def _lives(pid: int) -> bool:
    """Whether a process with this id, of any user, lives on this host."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
