"""What a home takes on disk, and keeping it within bounds."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from search.runtime.home import Home
from storage.artifacts import ArtifactFolder, Checkpoint
from storage.stores import Stores
from storage.values import WorkState
from trainer.common.files import remove_leftovers

TIDY_INTERVAL = 600.0  # seconds
QUOTA = 20.0
"""GiB that the checkpoints of trials nobody is training now may take in one home."""
UNTOUCHED = 900.0
"""Seconds that a checkpoint must not have changed before it is removed: two databases may share a home by mistake, and
then a study of the other one may be training into it."""
GIB = 2**30

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """Bytes."""

    database: int
    pixels: int
    checkpoints: int
    weights: int


def disk_use(stores: Stores, home: Home) -> DiskUse:
    """What the database and this home take."""
    return DiskUse(
        database=stores.database.size(),
        pixels=size_of(home.pixels),
        checkpoints=size_of(home.artifacts / "checkpoints"),
        weights=size_of(home.artifacts / "weights"),
    )


def size_of(folder: Path) -> int:
    """Bytes of all files below ``folder``; 0 if there is none."""
    total = 0
    for parent, _folders, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:  # removed meanwhile
                continue
    return total


def tidy(stores: Stores, home: Home, *, quota: float = QUOTA, now: Callable[[], float] = time.time) -> int:
    """Remove checkpoints of trials that have ended, those over the quota, and what killed processes left half-written.

    A trial that loses its checkpoint begins anew: that costs time and nothing else. Trials in training keep theirs.

    Args:
        quota: GiB, see `QUOTA`; the oldest checkpoints go first.
        now: Unix seconds on this host's clock, as files have them.

    Returns:
        How many checkpoints were removed.
    """
    folder = ArtifactFolder(home.artifacts)
    removed, waiting = 0, []
    for checkpoint, state in _checkpoints(stores, folder):
        if now() - checkpoint.modified < UNTOUCHED:
            continue
        if state in (WorkState.STORED, WorkState.FAILED):
            folder.remove_checkpoint(checkpoint.study, checkpoint.work_id)
            removed += 1
        elif state is WorkState.QUEUED:
            waiting.append(checkpoint)
    over = sum(checkpoint.size for checkpoint in waiting) - quota * GIB
    for checkpoint in sorted(waiting, key=lambda c: c.modified):
        if over <= 0:
            break
        log.warning("the quota of %g GiB for checkpoints is used up: %s begins anew", quota, checkpoint.path)
        folder.remove_checkpoint(checkpoint.study, checkpoint.work_id)
        removed += 1
        over -= checkpoint.size
    for place in (home.artifacts, home.pixels):
        if place.is_dir():
            remove_leftovers(place)
    return removed


def _checkpoints(stores: Stores, folder: ArtifactFolder) -> Iterator[tuple[Checkpoint, WorkState | None]]:
    for study in stores.studies.all():
        found = folder.checkpoints(study.name)
        if found:
            states = stores.queue.states(study.id)
            yield from ((checkpoint, states.get(checkpoint.work_id)) for checkpoint in found)
