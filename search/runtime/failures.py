"""What can go wrong with a training, and what is done about it: one place for both.

| class | what happened | what is done |
| --- | --- | --- |
| (none) | the loss is not finite | the trial is pruned with its reason, so that the sampler learns |
| (none) | the database is gone, or its disk full | the stores repeat the call with growing pauses, nothing is lost |
| memory | the GPU is full | the batch is repeated in halves, down to one image; then the trial fails |
| memory | the process ran out of memory | released; fails once it has cost `MAX_ATTEMPTS` workers |
| data | images cannot be read here | released to workers that can read them; this one leaves |
| weights | pre-trained weights are not at hand | the trial fails |
| disk | no room to write | the trial fails, nothing half-written is kept; this worker leaves |
| device | the GPU or its driver broke down | released; this worker leaves and is started afresh |
| lost | the worker vanished | adopted when its lease runs out; fails once it has cost too many workers |
| bug | anything else | the trial fails |

Trials that failed do not count against the budget; five in a row stop the study.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from search.runtime.errors import EXIT_DEVICE, EXIT_MISTAKE, SearchError
from storage.values import Failure
from trainer.common.errors import BackboneError, DataError, LoaderError
from trainer.common.files import DISK_FULL
from trainer.inference.errors import ImageError


class Action(StrEnum):
    """What becomes of the trial."""

    FAIL = "fail"
    HAND_BACK = "hand back"
    """Another worker may fare better; counted, so that it is not tried for ever."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is done about a failed training."""

    failure: Failure
    action: Action
    leave: int | None = None
    """Exit code with which the worker leaves, where its next trial would meet the same; None: it goes on."""


ADVICE: dict[Failure, str] = {
    Failure.MEMORY: "smaller images (recipe.image_size), smaller backbones, or fewer workers on one GPU",
    Failure.DATA: "see that --data holds all images on that machine, readable for the worker",
    Failure.WEIGHTS: "put the weights into the folder of --weights, or start from scratch: --set recipe.init=scratch",
    Failure.DISK: "make room on that machine's disk; `search status` tells what the study takes",
    Failure.DEVICE: "look at that machine's GPU (nvidia-smi, dmesg)",
    Failure.LOST: "its workers died while training it: often out of memory (dmesg tells), or switched off",
    Failure.BUG: "the worker's log has the whole traceback",
}
"""What a person can do about it."""

_DEVICE_TROUBLE = ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "CUDNN_STATUS", "device-side assert", "NVML")


class WorkerLeaves(SearchError):
    """A worker cannot go on where it runs; the message says why. Its trial is handed back or has failed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def policy_for(error: BaseException) -> Policy:
    """What is done about an exception that ended a training. Outages of the database are not for here."""
    causes = list(_causes(error))
    if any(_is_full_disk(cause) for cause in causes):
        return Policy(failure=Failure.DISK, action=Action.FAIL, leave=EXIT_MISTAKE)
    # By name, here and below: commands that import this module shall not wait for the import of torch.
    torch_names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    if "OutOfMemoryError" in torch_names:
        return Policy(failure=Failure.MEMORY, action=Action.FAIL)
    if _any(causes, MemoryError, LoaderError):
        return Policy(failure=Failure.MEMORY, action=Action.HAND_BACK)
    if "AcceleratorError" in torch_names or any(text in str(cause) for cause in causes for text in _DEVICE_TROUBLE):
        return Policy(failure=Failure.DEVICE, action=Action.HAND_BACK, leave=EXIT_DEVICE)
    if _any(causes, DataError, ImageError, FileNotFoundError, PermissionError, NotADirectoryError):
        return Policy(failure=Failure.DATA, action=Action.HAND_BACK, leave=EXIT_MISTAKE)
    if _any(causes, BackboneError):
        return Policy(failure=Failure.WEIGHTS, action=Action.FAIL)
    return Policy(failure=Failure.BUG, action=Action.FAIL)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _any(causes: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in causes)


def _is_full_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in DISK_FULL
