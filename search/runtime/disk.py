"""Disk use of a home folder, and removal of checkpoints that are no longer needed or exceed the quota."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from search.runtime.home import Home
from search.runtime.kept_networks import artifacts_of
from storage.artifacts import ArtifactFolder, Checkpoint
from storage.stores import Stores
from storage.values import WorkState
from trainer.common.files import remove_leftovers

TIDY_INTERVAL = 600.0  # seconds between two calls of `tidy` by a worker
QUOTA = 20.0
"""Maximum size, in GiB, of the checkpoints of queued trials in one home folder."""
UNTOUCHED = 900.0
"""Seconds for which a checkpoint must be unchanged before it is removed. A copy of the database may share the home, and
its worker may be training into the same file."""
FEATURES_QUOTA = 10.0
"""Maximum size, in GiB, of the cached features of frozen backbones in one home folder."""
GIB = 2**30  # bytes per GiB

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """Disk use by kind of file, in bytes."""

    database: int
    pixels: int
    features: int
    checkpoints: int
    weights: int


def disk_use(stores: Stores, home: Home) -> DiskUse:
    """Disk use of the database and of a home folder."""
    return DiskUse(
        database=stores.database.size(),
        pixels=size_of(home.pixels),
        features=size_of(home.features),
        checkpoints=size_of(home.artifacts / "checkpoints"),
        weights=size_of(home.artifacts / "weights"),
    )


def size_of(folder: Path) -> int:
    """Total size of all files below ``folder``, in bytes; 0 if the folder does not exist."""
    total = 0
    for parent, _folders, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:  # removed meanwhile
                continue
    return total


def tidy(stores: Stores, home: Home, *, quota: float = QUOTA, now: Callable[[], float] = time.time) -> int:
    """Remove checkpoints of ended trials, checkpoints and features over their quota, and partial files of killed
    processes.

    A queued trial that loses its checkpoint starts over, which costs time and nothing else. Trials in training keep
    theirs. Features that were not used for the longest time are removed first, and computed again where needed.

    Args:
        quota: GiB, see `QUOTA`; the oldest checkpoints are removed first.
        now: Unix time in seconds, on this host's clock like the times of its files.

    Returns:
        The number of removed checkpoints.
    """
    folder = artifacts_of(stores, home)
    removed, queued = 0, []
    for checkpoint, state in _checkpoints(stores, folder):
        if now() - checkpoint.modified < UNTOUCHED:
            continue
        if state in (WorkState.STORED, WorkState.FAILED):
            folder.remove_checkpoint(checkpoint.study, checkpoint.work_id)
            removed += 1
        elif state is WorkState.QUEUED:
            queued.append(checkpoint)
    excess = sum(checkpoint.size for checkpoint in queued) - quota * GIB
    for checkpoint in sorted(queued, key=lambda checkpoint: checkpoint.modified):
        if excess <= 0:
            break
        log.warning(
            "checkpoints exceed the quota of %g GiB: %s is removed, its trial starts over", quota, checkpoint.path
        )
        folder.remove_checkpoint(checkpoint.study, checkpoint.work_id)
        removed += 1
        excess -= checkpoint.size
    for cache in (home.artifacts, home.pixels, home.features):
        if cache.is_dir():
            remove_leftovers(cache)
    limit_features(home.features, FEATURES_QUOTA, now=now)
    return removed


def limit_features(folder: Path, quota: float, *, now: Callable[[], float] = time.time) -> int:
    """Remove files of features until ``quota`` GiB are left, those first that were not used for the longest time.

    A process that has mapped a removed file goes on to read it. Files used in the last `UNTOUCHED` seconds stay.

    Returns:
        The number of removed files of features.
    """
    found = []
    for path in folder.glob("*.npy"):
        try:
            found.append((path.stat().st_mtime, path.stat().st_size, path))
        except FileNotFoundError:  # removed meanwhile
            continue
    excess, removed = sum(size for _, size, _ in found) - quota * GIB, 0
    for used, size, path in sorted(found):
        if excess <= 0 or now() - used < UNTOUCHED:
            break
        try:
            path.unlink(missing_ok=True)
            path.with_suffix(".sha256").unlink(missing_ok=True)
        except OSError as problem:  # the folder of another user
            log.warning("features stay in %s: %s", path, problem.strerror or problem)
            break
        excess, removed = excess - size, removed + 1
    return removed


def _checkpoints(stores: Stores, folder: ArtifactFolder) -> Iterator[tuple[Checkpoint, WorkState | None]]:
    """The checkpoints of all studies, with the states of their work items; None: the work item is unknown."""
    for study in stores.studies.all():
        checkpoints = folder.checkpoints(study.name)
        if checkpoints:
            states = stores.queue.states(study.id)
            yield from ((checkpoint, states.get(checkpoint.work_id)) for checkpoint in checkpoints)
