"""search confirm: the finalists again on fresh splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from search.engines.plan import Workers


@dataclass(frozen=True, kw_only=True)
class ConfirmRequest:
    """``search confirm``. None: not typed."""

    study: str | None
    data: Path | None
    storage_url: str
    workers: Workers
