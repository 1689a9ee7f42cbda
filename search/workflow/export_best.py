"""search export-best: refit the best recipes and write the export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.engines.plan import Workers


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
