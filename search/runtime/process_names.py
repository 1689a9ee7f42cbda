"""Unique names of worker and supervisor processes, as stored in the database."""

from __future__ import annotations

import os
import secrets
import socket


def process_name() -> str:
    """A new unique name for this process: ``HOST-PID-RANDOM``."""
    return f"{name_prefix(socket.gethostname(), os.getpid())}{secrets.token_hex(3)}"


def name_prefix(host: str, pid: int) -> str:
    """The part of a `process_name` that the process's parent knows: ``HOST-PID-``."""
    return f"{host}-{pid}-"
