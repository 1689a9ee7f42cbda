"""Assignment of the GPUs and CPU cores of this host to its workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from search.runtime.gpus.listing import DeviceError, Gpu

CPU_OPTION = "--gpus none trains on the CPU"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Devices assigned to local workers."""

    gpus: tuple[str | None, ...]
    """For each worker the UUID of its GPU; None: the CPU."""
    threads: int
    """CPU threads of each worker."""
    cores: int = 1
    """CPU cores of each worker, for threads and for the processes that read and augment images."""
    per_gpu: int = 1
    """Maximum number of workers on one GPU."""
    hide_gpus: bool = False
    """Whether the workers run on the CPU although GPUs exist, which must then be hidden from them."""
    notes: tuple[str, ...] = ()
    """Messages for the user: GPUs that are skipped, and why."""


def place_workers(
    workers: int | None,
    wanted: Sequence[int | str] | None,
    gpus: Sequence[Gpu],
    visible: str | None,
    cores: int,
    per_gpu: int = 1,
    *,
    faults: Callable[[Sequence[Gpu]], Mapping[str, str]] = lambda gpus: {},
) -> Placement:
    """Divide the GPUs and CPU cores of the host among local workers.

    Args:
        workers: number of workers, assigned to the usable GPUs in turn; 0: none. None: ``per_gpu`` for each usable GPU,
            or one on the CPU.
        wanted: indices, UUIDs or beginnings of UUIDs of ``--gpus``, used even if other processes occupy them; empty:
            the CPU is wanted. None: all GPUs that are free.
        gpus: all GPUs of the host.
        visible: value of ``CUDA_VISIBLE_DEVICES``; None: unset, all GPUs are visible.
        cores: CPU cores to divide.
        per_gpu: workers per GPU, unless ``workers`` is given.
        faults: returns by UUID why torch cannot use a GPU (`search.runtime.gpus.torch_check.unusable_gpus`).

    Raises:
        DeviceError: ``wanted`` names a GPU that does not exist, is hidden by ``visible`` or is none for torch; or there
            are GPUs and none of them is free and usable; or ``per_gpu`` is above 1 without a usable GPU.
    """
    allowed = visible_gpus(gpus, visible)
    chosen = _chosen(wanted, allowed) if wanted is not None else [gpu for gpu in allowed if not gpu.occupied]
    notes = [_skipped(gpu) for gpu in allowed if gpu.occupied and wanted is None]
    reasons = faults(chosen) if chosen and workers != 0 else {}
    usable = [gpu for gpu in chosen if gpu.uuid not in reasons]
    broken = _grouped([(gpu, reasons[gpu.uuid]) for gpu in chosen if gpu.uuid in reasons])
    if wanted and broken:
        raise DeviceError(f"{'; '.join(broken)}. {CPU_OPTION}")
    notes += [f"left out: {line}" for line in broken]
    if gpus and not allowed and wanted is None and workers != 0 and not hides_all(visible):
        names = ", ".join(f"{gpu.option} ({gpu.name})" for gpu in gpus)
        raise DeviceError(f"CUDA_VISIBLE_DEVICES={visible} names no GPU of this host, which has {names}; {CPU_OPTION}")
    if allowed and not usable and wanted is None and workers != 0:
        raise DeviceError("; ".join([*broken, *(_skipped(gpu) for gpu in allowed if gpu.occupied)]) + f"; {CPU_OPTION}")
    if per_gpu > 1 and not usable and workers != 0:
        reason = "; ".join(notes) or "there is none that may be used here"
        raise DeviceError(f"--workers-per-gpu {per_gpu} needs a GPU: {reason}. Without one, --workers says how many")
    count = workers if workers is not None else max(1, per_gpu * len(usable))
    places = tuple(usable[i % len(usable)].uuid if usable else None for i in range(count))
    return Placement(
        gpus=places,
        threads=max(1, cores // max(1, count)),
        cores=max(1, cores // max(1, count)),
        per_gpu=max(Counter(places).values(), default=1) if usable else 1,
        hide_gpus=bool(gpus) and not usable,
        notes=tuple(notes),
    )


def _skipped(gpu: Gpu) -> str:
    """Why an occupied GPU is not used, and how it is."""
    used = f"{gpu.memory_used} of {gpu.memory_total} MiB are in use"
    return f"{gpu} is skipped: {used}; --gpus {gpu.option} uses it anyway"


def _grouped(faults: Sequence[tuple[Gpu, str]]) -> list[str]:
    """One line for each reason, which begins with the GPUs that it concerns."""
    reasons = dict.fromkeys(reason for _, reason in faults)
    return [f"{', '.join(str(gpu) for gpu, why in faults if why == reason)}: {reason}" for reason in reasons]


def _chosen(wanted: Sequence[int | str], allowed: Sequence[Gpu]) -> list[Gpu]:
    """The GPUs that ``wanted`` names; the index of a divided GPU stands for all of its instances.

    Raises:
        DeviceError: a name is not among ``allowed``.
    """
    found = {name: [gpu for gpu in allowed if _is_named(str(name), gpu)] for name in wanted}
    missing = [str(name) for name, gpus in found.items() if not gpus]
    if missing:
        usable = ", ".join(f"{gpu.option} ({gpu.name})" for gpu in allowed) or "none"
        raise DeviceError(f"--gpus names GPU {', '.join(missing)}; usable here: {usable}")
    return list(dict.fromkeys(gpu for gpus in found.values() for gpu in gpus))


def _is_named(name: str, gpu: Gpu) -> bool:
    """Whether this is the index, the UUID or the beginning of the UUID of a GPU."""
    return name == str(gpu.index) or (name.startswith(("GPU-", "MIG-")) and gpu.uuid.startswith(name))


def hides_all(visible: str | None) -> bool:
    """Whether this value of ``CUDA_VISIBLE_DEVICES`` begins with no name of a GPU, so that CUDA sees none."""
    return visible is not None and visible.partition(",")[0].strip() in ("", "-1", "NoDevFiles", "none", "void")


def visible_gpus(gpus: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    """The GPUs visible to CUDA: in the order of ``CUDA_VISIBLE_DEVICES``, up to its first name without a GPU."""
    if visible is None:
        return list(gpus)
    seen: list[Gpu] = []
    for place, name in enumerate(part.strip() for part in visible.split(",")):
        gpu = _named(name, gpus, place)
        if gpu is None:
            break
        if gpu not in seen:
            seen.append(gpu)
    return seen


def _named(name: str, gpus: Sequence[Gpu], place: int) -> Gpu | None:
    """The GPU with this index, UUID or beginning of a UUID; None if there is none.

    The index of a divided GPU stands for its first instance. An instance that is named has the index ``place``.
    """
    gpu = next((gpu for gpu in gpus if _is_named(name, gpu)), None)
    if gpus and name.startswith("MIG-"):
        # The driver may refuse to list an instance that CUDA can use.
        return replace(gpu or Gpu(index=place, uuid=name, name="MIG instance", memory_used=0), index=place)
    return gpu
