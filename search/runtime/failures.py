"""Failure policies: the classes of errors in a training, and the reaction to each.

| class | cause | reaction |
| --- | --- | --- |
| (none) | the loss is not finite | the trial is pruned with its reason, so that the sampler learns from it |
| (none) | the database is unreachable, or its disk full | the stores repeat the call with growing pauses |
| (none) | other programs hold the GPU's memory | the worker waits, then releases the trial to other workers |
| memory | out of GPU memory | folds are offloaded, then batches halved, down to one image; then the trial fails |
| memory | out of main memory | the trial is released; it fails after `MAX_LOST_WORKERS` |
| data | this host cannot read the images | the trial is released to other workers; this worker leaves |
| weights | pre-trained weights are missing | the trial fails |
| disk | no disk space left | the trial fails, half-written files are removed; this worker leaves |
| device | the GPU or its driver failed | the trial is released; this worker leaves and is restarted |
| lost | the worker died | the trial is released when its lease expires; it fails after `MAX_LOST_WORKERS` |
| bug | anything else | the trial fails |

Failed trials do not count against the budget. `search.worker.dead_workers.MAX_FAILURES` of them in a row stop the
study. `MAX_LOST_WORKERS` is in `storage.queue.settle`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from search.runtime.errors import EXIT_DEVICE, EXIT_MISTAKE, SearchError
from storage.values import Failure
from trainer.common.errors import BackboneError, DataError, LoaderError
from trainer.common.files import DISK_FULL
from trainer.common.memory_errors import is_out_of_host_memory, is_out_of_memory
from trainer.inference.errors import ImageError


class Action(StrEnum):
    """What happens to the trial."""

    FAIL = "fail"
    RELEASE = "release"
    """Back to the queue, for another worker. Each release counts as an attempt; their number is limited."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Reaction to one class of errors in a training."""

    failure: Failure
    action: Action
    leave: int | None = None
    """Exit code of the worker, if its next trial would fail the same way; None: the worker continues."""


ADVICE: dict[Failure, str] = {
    Failure.MEMORY: "smaller images (recipe.image_size), smaller backbones, or fewer workers on one GPU",
    Failure.DATA: "check that --data holds all images on that machine, readable for the worker",
    Failure.WEIGHTS: "put whole files into the folder of --weights; trials, but no probes, may start from scratch: "
    "--set recipe.init=scratch",
    Failure.DISK: "make room on that machine's disk; `search status` shows what the study takes",
    Failure.DEVICE: "look at that machine's GPU (nvidia-smi, dmesg)",
    Failure.LOST: "its workers died while training it: often out of memory (see dmesg), or switched off",
    Failure.BUG: "the worker's log has the whole traceback",
}
"""Advice for the user on each class of failure."""

_DEVICE_ERRORS = ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "CUDNN_STATUS", "device-side assert", "NVML")


class WorkerLeaves(SearchError):
    """A worker cannot continue on its host; the message gives the reason. Its trial is released or has failed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def policy_for(error: BaseException) -> Policy:
    """The policy for an exception that ended a training, from its type, message and explicit causes.

    Outages of the database are not handled here: see `storage.database.outages`.
    """
    causes = list(_causes(error))
    if any(_is_full_disk(cause) for cause in causes):
        return Policy(failure=Failure.DISK, action=Action.FAIL, leave=EXIT_MISTAKE)
    if any(is_out_of_memory(cause) for cause in causes):
        return Policy(failure=Failure.MEMORY, action=Action.FAIL)
    if any(is_out_of_host_memory(cause) for cause in causes) or _has_instance(causes, LoaderError):
        return Policy(failure=Failure.MEMORY, action=Action.RELEASE)
    # Torch's errors are recognised by class name, because commands that must not import torch import this module.
    type_names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    if "AcceleratorError" in type_names or any(text in str(cause) for cause in causes for text in _DEVICE_ERRORS):
        return Policy(failure=Failure.DEVICE, action=Action.RELEASE, leave=EXIT_DEVICE)
    if _has_instance(causes, DataError, ImageError, FileNotFoundError, PermissionError, NotADirectoryError):
        return Policy(failure=Failure.DATA, action=Action.RELEASE, leave=EXIT_MISTAKE)
    if _has_instance(causes, BackboneError):
        return Policy(failure=Failure.WEIGHTS, action=Action.FAIL)
    return Policy(failure=Failure.BUG, action=Action.FAIL)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its chain of explicit causes (``raise ... from``)."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _has_instance(causes: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in causes)


def _is_full_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in DISK_FULL
