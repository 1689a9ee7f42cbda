"""Unique names of worker and supervisor processes, as stored in the database.

The random part alone makes a name unique: containers may share a host name, and each has a process 1.
"""

from __future__ import annotations

import os
import re
import secrets
import socket

from search.runtime.worker_environment import SUFFIX_VARIABLE


def new_suffix() -> str:
    """A random part for a name: 12 hexadecimal digits."""
    return secrets.token_hex(6)


def process_name() -> str:
    """The unique name of this process: ``HOST-PID-SUFFIX``. The suffix is the one that its engine set, or a new one."""
    given = os.environ.get(SUFFIX_VARIABLE, "")
    return full_name(os.getpid(), given if re.fullmatch(r"[0-9a-f]{12}", given) else new_suffix())


def full_name(pid: int, suffix: str) -> str:
    """The name of a process of this host with a suffix of `new_suffix`."""
    return f"{socket.gethostname()}-{pid}-{suffix}"
