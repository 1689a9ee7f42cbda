"""Environment variables that an engine sets for each of its workers."""

from __future__ import annotations

PARENT_VARIABLE = "RETABLE_PARENT"
"""Process id of the worker's parent; the worker stops when that process ends."""

PLACE_VARIABLE = "RETABLE_PLACE"
"""Index of the worker in its fleet: 0, 1, 2 ..."""

SHARE_VARIABLE = "RETABLE_GPU_SHARE"
"""Share of the GPU's memory that the worker may use, such as 0.5; unset: all of it."""

SUFFIX_VARIABLE = "RETABLE_NAME_SUFFIX"
"""Random part of the worker's name (`search.runtime.process_names`), by which the engine knows the whole name."""

CORES_VARIABLE = "RETABLE_CORES"
"""CPU cores of the worker, for threads and for the processes that read and augment images."""

DEVICE_VARIABLE = "RETABLE_DEVICE"
"""``cuda``: the worker's seat has a GPU, without which it must not train; unset: whatever there is."""
