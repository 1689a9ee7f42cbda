"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""``errno`` of an OSError that says: no space left, or the quota is used up."""

LEFTOVER_AGE = 3600.0  # seconds without a write until a temporary file counts as left over


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; on success it is renamed to ``path``, on failure removed.

    The temporary name carries the process id: two processes may write the same file, the last rename wins. What a
    killed process leaves is for `remove_leftovers`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> int:
    """Remove the temporary files of `replacing`, in ``folder`` and below, that killed processes left behind.

    A file stays while a process of its number lives on this host, and for `LEFTOVER_AGE` after its last write: the
    process may live on another host that shares the folder. What cannot be removed stays, too.

    Returns:
        How many were removed; 0 where there is no such folder.
    """
    removed = 0
    for path in folder.rglob(".*.tmp"):
        named = re.fullmatch(r"\..+\.(\d+)\.tmp", path.name)
        try:
            if named and path.is_file() and _is_old(path) and not _lives(int(named[1])):
                path.unlink()
                removed += 1
        except OSError:  # gone meanwhile, or another user's
            continue
    return removed


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > LEFTOVER_AGE


def _lives(pid: int) -> bool:
    """Whether there is a process of this number on this host, anybody's."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
