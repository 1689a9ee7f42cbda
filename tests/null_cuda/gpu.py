"""The GPU that is not there, as a process under test sees and changes it."""

from __future__ import annotations

import ctypes
import os

LIBRARY_VARIABLE = "NULL_GPU_LIBRARY"
"""Path of the driver's library."""


class Gpu(ctypes.Structure):
    """The driver's state, `struct state` in ``driver/driver.h``."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "total",
            "others",
            "device_bytes",
            "device_peak",
            "pinned_bytes",
            "library_workspace",
            "capability",
        )
    ]
    total: int
    others: int
    device_bytes: int
    device_peak: int
    pinned_bytes: int
    library_workspace: int
    capability: int


def gpu() -> Gpu:
    """The state of the driver in this process; changes count at once."""
    return Gpu.in_dll(ctypes.CDLL(os.environ[LIBRARY_VARIABLE]), "null_gpu")
