"""What a person typed, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class LocalWorkers:
    """How workers are to run on this host."""

    workers: int | None
    """How many; None: one per free GPU, or one on the CPU."""
    gpus: Sequence[int] | None
    weights: Path | None
    """Folder of pre-trained weights."""
    home: Path


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """``search start``. None: not typed."""

    study: str
    name: str | None
    data: Path | None
    storage_url: str
    trials: int | None
    hours: float | None
    overrides: Sequence[str]
    folds: Path | None
    output: Path | None
    local: LocalWorkers


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """``search export-best``. None: not typed."""

    study: str | None
    data: Path | None
    storage_url: str
    output: Path | None
    seeds: int | None
    full_data: bool
    submission_kind: str | None
    local: LocalWorkers
