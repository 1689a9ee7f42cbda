"""Unique names of worker and supervisor processes, as stored in the database.

A name is ``HOST-PID-SUFFIX``. The suffix begins with the `process_space`, in which process ids are unique, and ends
with random digits: containers may share a host name, and each has a process 1.
"""

from __future__ import annotations

import os
import re
import secrets
import socket

from search.runtime.worker_environment import SUFFIX_VARIABLE
from trainer.common.files import lives, process_space

_SUFFIX = r"[0-9a-f]{20}"
_NAME = re.compile(rf"(.*)-([0-9]{{1,40}})-({_SUFFIX})", re.DOTALL)


def new_suffix() -> str:
    """The last part of the name of a process on this host: 20 hexadecimal digits, of which the last 12 are random."""
    return process_space() + secrets.token_hex(6)


def process_name() -> str:
    """The unique name of this process. The suffix is the one that its engine set, or a new one."""
    given = os.environ.get(SUFFIX_VARIABLE, "")
    return full_name(os.getpid(), given if re.fullmatch(_SUFFIX, given) else new_suffix())


def full_name(pid: int, suffix: str) -> str:
    """The name of a process of this host with a suffix of `new_suffix`."""
    return f"{socket.gethostname()}-{pid}-{suffix}"


def short_name(name: str) -> str:
    """Host and process id of a name, which suffice for people."""
    parts = _NAME.fullmatch(name)
    return f"{parts[1]}-{parts[2]}" if parts else name


def is_dead(name: str) -> bool:
    """Whether the process of a name is certainly dead: it ran where this process runs, and its id has gone."""
    parts = _NAME.fullmatch(name)
    return parts is not None and parts[3].startswith(process_space()) and not lives(int(parts[2]))
