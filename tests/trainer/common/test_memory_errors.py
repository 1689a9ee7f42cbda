"""Which errors mean that a GPU, or the machine, has too little memory."""

from __future__ import annotations

import pytest
import torch

from trainer.common.memory_errors import is_out_of_host_memory, is_out_of_memory, shortage_in_words

ON_THE_GPU = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    torch.OutOfMemoryError("anything"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other call"),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("FIND was unable to find an engine to execute this computation"),
    RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
]
IN_MAIN_MEMORY = [
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4611686018427387904 bytes."),
]
NEITHER = [
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("out of memory"),
    OSError(12, "out of memory"),
]


@pytest.mark.parametrize("error", ON_THE_GPU, ids=str)
def test_a_gpu_without_memory_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_host_memory(error)


@pytest.mark.parametrize("error", IN_MAIN_MEMORY, ids=str)
def test_main_memory_is_no_matter_of_the_gpu(error: Exception) -> None:
    assert is_out_of_host_memory(error)
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", NEITHER, ids=str)
def test_other_errors_are_no_lack_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)
    assert not is_out_of_host_memory(error)


def test_torchs_own_failure_in_main_memory_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_host_memory(caught.value)


def test_the_words_say_what_was_asked_for_and_not_how_torch_divides_it() -> None:
    said = (
        "CUDA out of memory. Tried to allocate 2.00 MiB. GPU 0 has a total capacity of 28.61 MiB of which 624.88 KiB "
        "is free. "
    )
    details = (
        "Process 7 has 3.00 GiB memory in use. Including non-PyTorch memory, this process has 17179869184.00 GiB "
        "memory in use. Of the allocated memory 27.00 MiB is allocated by PyTorch.\nIf reserved but unallocated "
        "memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True."
    )
    assert shortage_in_words(torch.OutOfMemoryError(said + details)) == said.strip()
    own = "resnet18 at 64 px needs about 0.2 GiB for one fold; smaller images or another backbone help"
    assert shortage_in_words(torch.OutOfMemoryError(own)) == own
    assert shortage_in_words(torch.OutOfMemoryError("")) == "out of memory"
