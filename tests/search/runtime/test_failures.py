"""Failure policies: the class of an error, the reaction to it, and advice."""

from __future__ import annotations

import errno

import pytest
import torch

from search.runtime.errors import EXIT_DEVICE, EXIT_MISTAKE
from search.runtime.failures import ADVICE, Action, Policy, policy_for
from storage.values import Failure
from trainer.common.errors import BackboneError, DataError, LoaderError
from trainer.inference.errors import ImageError

FULL = OSError(errno.ENOSPC, "No space left on device")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "policy"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), Policy(failure=Failure.MEMORY, action=Action.FAIL)),
        (
            RuntimeError("GET was unable to find an engine to execute this computation"),
            Policy(failure=Failure.MEMORY, action=Action.FAIL),
        ),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
            Policy(failure=Failure.MEMORY, action=Action.FAIL),
        ),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
            Policy(failure=Failure.DEVICE, action=Action.RELEASE, leave=EXIT_DEVICE),
        ),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
            Policy(failure=Failure.MEMORY, action=Action.RELEASE),
        ),
        (MemoryError(), Policy(failure=Failure.MEMORY, action=Action.RELEASE)),
        (LoaderError("killed"), Policy(failure=Failure.MEMORY, action=Action.RELEASE)),
        (FULL, Policy(failure=Failure.DISK, action=Action.FAIL, leave=EXIT_MISTAKE)),
        (OSError(errno.EDQUOT, "quota"), Policy(failure=Failure.DISK, action=Action.FAIL, leave=EXIT_MISTAKE)),
        (
            caused(DataError("the disk is full"), FULL),
            Policy(failure=Failure.DISK, action=Action.FAIL, leave=EXIT_MISTAKE),
        ),
        (DataError("a.jpg is cut off"), Policy(failure=Failure.DATA, action=Action.RELEASE, leave=EXIT_MISTAKE)),
        (ImageError("a.jpg"), Policy(failure=Failure.DATA, action=Action.RELEASE, leave=EXIT_MISTAKE)),
        (
            FileNotFoundError(errno.ENOENT, "gone", "a.jpg"),
            Policy(failure=Failure.DATA, action=Action.RELEASE, leave=EXIT_MISTAKE),
        ),
        (BackboneError("no weights"), Policy(failure=Failure.WEIGHTS, action=Action.FAIL)),
        (
            RuntimeError("CUDA error: an illegal memory access was encountered"),
            Policy(failure=Failure.DEVICE, action=Action.RELEASE, leave=EXIT_DEVICE),
        ),
        (KeyError("x"), Policy(failure=Failure.BUG, action=Action.FAIL)),
        (ValueError("a bug while a file was missing"), Policy(failure=Failure.BUG, action=Action.FAIL)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_policy_of_an_error(error: Exception, policy: Policy) -> None:
    assert policy_for(error) == policy


def test_an_implicitly_chained_exception_is_no_cause() -> None:
    try:
        try:
            raise FileNotFoundError("a.jpg")
        except FileNotFoundError:
            raise KeyError("x")  # noqa: B904 - on purpose
    except KeyError as error:
        assert policy_for(error).failure is Failure.BUG


def test_every_failure_has_advice() -> None:
    assert set(ADVICE) == set(Failure)
