"""Asks the installed torch which GPUs it can use, in a process of its own, before any worker starts.

NVML lists a GPU whether or not torch can use it. A build of torch without CUDA, a driver that is too old and a GPU
whose architecture torch has left behind appear only when CUDA starts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from search.runtime.gpus.listing import Gpu
from search.runtime.gpus.torch_devices import NoAnswer, ask_torch


def unusable_gpus(gpus: Sequence[Gpu]) -> dict[str, str]:
    """Reasons by UUID why torch cannot use a GPU; GPUs that it can use are left out."""
    whole = [gpu for gpu in gpus if not gpu.is_instance]
    found = _ask(whole)
    by_parent: dict[int, list[Gpu]] = {}
    for gpu in gpus:
        if gpu.is_instance:
            by_parent.setdefault(gpu.index, []).append(gpu)
    for instances in by_parent.values():  # a process sees one instance, and those of one GPU are alike
        reason = _ask(instances[:1]).get(instances[0].uuid)
        if reason:
            found |= dict.fromkeys((gpu.uuid for gpu in instances), reason)
    return found


def _ask(gpus: Sequence[Gpu]) -> dict[str, str]:
    if not gpus:
        return {}
    try:
        seen = _run([gpu.uuid for gpu in gpus])
    except NoAnswer as problem:
        if len(gpus) == 1:
            return {gpus[0].uuid: str(problem)}
    else:
        if seen.cuda:
            return dict.fromkeys((gpu.uuid for gpu in gpus), seen.cuda)
        if len(seen.gpus) == len(gpus):
            return {gpu.uuid: reason for gpu, reason in zip(gpus, seen.gpus, strict=True) if reason}
        if len(gpus) == 1:
            return {gpus[0].uuid: "torch does not see it"}
    # One GPU may end the process, or hide those that follow it: CUDA ignores what comes after an unknown name.
    return {uuid: reason for gpu in gpus for uuid, reason in _ask([gpu]).items()}


@dataclass(frozen=True)
class _Report:
    """See `search.runtime.gpus.torch_report`."""

    cuda: str
    gpus: list[str]


def _run(uuids: Sequence[str]) -> _Report:
    return _Report(**json.loads(ask_torch(",".join(uuids))))
