"""Atomic writing of files and folders: each appears complete or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""``errno`` values of an OSError for a full disk or an exhausted quota."""

LEFTOVER_AGE = 3600.0  # seconds since the last write after which a temporary file may be removed


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is renamed to ``path``, on failure it is removed.

    The temporary name is unique, so that several processes and threads can write the same file; the last rename wins.
    A killed process leaves its temporary file behind, for `remove_leftovers`.
    """
    temporary = path.with_name(f".{path.name}.{process_space()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def put_folder(new: Path, target: Path, old: Path) -> None:
    """Rename the folder ``new`` to ``target``. A folder that is there is renamed to ``old``, and back if that fails.

    Raises:
        OSError: a folder cannot be renamed. ``target`` is as before.
    """
    if target.exists():
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise


def remove_leftovers(folder: Path) -> int:
    """Remove temporary files of `replacing`, in ``folder`` and below, that killed processes left behind.

    A file stays while its process lives, which only shows in the same `process_space`, and for `LEFTOVER_AGE` after its
    last write, since the process may live on another host that shares the folder. A file that cannot be removed stays,
    too.

    Returns:
        The number of removed files; 0 if the folder does not exist.
    """
    removed = 0
    for path in folder.rglob(".*.tmp"):
        named = re.fullmatch(r"\..+\.(?:([0-9a-f]{8})-)?(\d+)(?:-[0-9a-f]{8})?\.tmp", path.name)
        try:
            # Names of earlier releases lack the process space.
            if (
                named
                and path.is_file()
                and is_old(path)
                and not (named[1] in (None, process_space()) and lives(int(named[2])))
            ):
                path.unlink()
                removed += 1
        except OSError:  # already removed, or owned by another user
            continue
    return removed


@lru_cache(maxsize=1)
def process_space() -> str:
    """Identifies the host, its boot and its container: process ids are unique in it, and only in it. 8 digits, hex."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # not on Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii"))
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:8]


def is_old(path: Path) -> bool:
    """Whether a temporary file or folder was last written more than `LEFTOVER_AGE` ago."""
    return time.time() - path.stat().st_mtime > LEFTOVER_AGE


def lives(pid: int) -> bool:
    """Whether a process with this id, of any user, lives on this host."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
