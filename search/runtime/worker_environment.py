"""The environment variables by which an engine tells a worker its place, its parent and its share of a GPU."""

from __future__ import annotations

PARENT_VARIABLE = "RETABLE_PARENT"
"""Environment variable that tells a worker which process it serves: when that one ends, so does the worker."""

PLACE_VARIABLE = "RETABLE_PLACE"
"""Environment variable that tells a worker its place among its fleet: 0, 1, 2 ..."""

SHARE_VARIABLE = "RETABLE_GPU_SHARE"
"""Environment variable that tells a worker which part of its GPU is its own, such as 0.5. Unset: all of it."""
