"""Recognising a lack of memory by the error that it raises, without torch.

Libraries report it in different ways. torch's allocator raises `torch.OutOfMemoryError`. What CUDA, cuBLAS and cuDNN
allocate by themselves fails with a RuntimeError that has only a message, and cuDNN may find no algorithm whose
workspace fits.
"""

from __future__ import annotations

import re

_DEVICE = re.compile(
    # The status of cuBLAS, cuDNN, cuSOLVER, cuSPARSE and cuFFT; newer releases of cuDNN name what failed to allocate.
    r"out of memory|ALLOC_FAILED|ALLOCATION_FAILED|cudaErrorMemoryAllocation"
    # cuDNN tried every algorithm: `GET was unable to find an engine to execute this computation`.
    r"|unable to find an engine|unable to find a valid cudnn algorithm",
    re.IGNORECASE,
)
_HOST = re.compile(r"DefaultCPUAllocator|HOST_ALLOCATION_FAILED")


_ALLOCATOR_DETAILS = re.compile(
    r"\s*(?:Process \d+ has|Including non-PyTorch memory|Of the allocated memory|If reserved but|See documentation).*",
    re.DOTALL,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU lacked the memory for an operation, so that the same operation on fewer images may succeed."""
    # By name, because commands that must not import torch ask as well.
    if any(kind.__name__ == "OutOfMemoryError" and kind.__module__.startswith("torch") for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and not is_out_of_host_memory(error) and bool(_DEVICE.search(str(error)))


def is_out_of_host_memory(error: BaseException) -> bool:
    """Whether the process lacked main memory."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_HOST.search(str(error))))


def shortage_in_words(error: BaseException) -> str:
    """The message of an error for which `is_out_of_memory` holds, without what torch adds on its allocator's settings.

    What stays says how much was asked for, and how much is free.
    """
    return _ALLOCATOR_DETAILS.sub("", str(error)).strip() or "out of memory"
