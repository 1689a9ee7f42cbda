"""What a person typed, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.runtime.signals import GRACE


@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """Where and how the Ray engine places workers."""

    address: str | None = None
    """As ``ray.init`` takes it; None: the cluster of this machine, or one of this machine alone."""
    gpus_per_worker: float | None = None
    """A part of one, or a whole number; None: one where the cluster has GPUs."""
    cpus_per_worker: float = 1.0
    ship_data: bool = False
    """Send the images also where a folder of that name exists."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Which workers are to be started, and what they are told."""

    home: Path
    engine: str = "local"
    """Name in `search.engines.plan.ENGINES`."""
    workers: int | None = None
    """How many; None: one per free GPU, or one on the CPU. 0: none, others do the work."""
    gpus: Sequence[int] | None = None
    per_gpu: int = 1
    weights: Path | None = None
    """Folder of pre-trained weights."""
    grace: float = GRACE
    """Seconds, see `search.runtime.signals`."""
    quota: float | None = None
    """GiB for checkpoints, see `search.runtime.disk`; None: the usual."""
    ray: RayCluster = RayCluster()

    @property
    def options(self) -> tuple[str, ...]:
        """What every worker is told besides study, database, images and home, as arguments of `search worker`."""
        quota = () if self.quota is None else ("--checkpoint-quota", f"{self.quota:g}")
        return ("--grace", f"{self.grace:g}", *quota)


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """``search start``. None: not typed."""

    study: str
    name: str | None
    data: Path | None
    storage_url: str
    trials: int | None
    hours: float | None
    patience: int | None
    """Trials that may gain nothing beyond noise before the search stops; 0: any number."""
    priority: int | None
    overrides: Sequence[str]
    begin_from: str | None
    """``STUDY`` or ``STUDY:TRIAL`` of the same database, at whose recipe a new study begins."""
    memory: bool
    """Whether a new study tries what did well in earlier ones."""
    folds: Path | None
    output: Path | None
    workers: Workers


@dataclass(frozen=True, kw_only=True)
class ConfirmRequest:
    """``search confirm``. None: not typed."""

    study: str | None
    data: Path | None
    storage_url: str
    workers: Workers


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """``search export-best``. None: not typed."""

    studies: Sequence[str]
    """Whose recipes may take part; the export is the first one's. None of them: the latest study."""
    data: Path | None
    storage_url: str
    output: Path | None
    seeds: int | None
    full_data: bool
    submission_kind: str | None
    workers: Workers


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """``search import``. None: not typed."""

    study: str | None
    storage_url: str
    oof: Path
    test: Path | None
    label: str | None


@dataclass(frozen=True, kw_only=True)
class ReplayRequest:
    """``search replay``. None: not typed."""

    study: str | None
    trial: int
    data: Path | None
    storage_url: str
    home: Path
    weights: Path | None


@dataclass(frozen=True, kw_only=True)
class TryRequest:
    """``search try``. None: not typed."""

    study: str | None
    storage_url: str
    assignments: Sequence[str]
    """``FIELD=VALUE``, as typed."""
    like: int | None
    """Number of the trial that gives what is not assigned; None: the default recipe."""
