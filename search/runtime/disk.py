"""Disk use of a home folder, and removal of checkpoints and cached files that are not needed or exceed their quota."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from search.runtime.home import Home
from search.runtime.kept_networks import artifacts_of
from storage.artifacts import ArtifactFolder, Checkpoint
from storage.queue.items import RungValues
from storage.records.study_rows import StoredStudy
from storage.stores import Stores
from storage.values import WorkState
from trainer.common.cache_files import remove_unused
from trainer.common.files import remove_leftovers

TIDY_INTERVAL = 600.0  # seconds between two calls of `tidy` by a worker
QUOTA = 20.0
"""Maximum size, in GiB, of the checkpoints of queued and paused trials in one home folder."""
UNTOUCHED = 900.0
"""Seconds for which a checkpoint must be unchanged before it is removed. A copy of the database may share the home, and
its worker may be training into the same file."""
CACHE_QUOTA = 20.0
"""Maximum size, in GiB, of the caches of one home folder: decoded images, and features of frozen backbones."""
CACHE_SHARE = 0.5
"""Maximum size of the caches as a share of the space that their disk would have free without them."""
GIB = 2**30  # bytes per GiB

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """Disk use by kind of file, in bytes."""

    study_checkpoints: int
    """Checkpoints of one study."""
    study_weights: int
    """Networks of one study."""
    study_export: int
    """The files of its latest export."""
    database: int
    pixels: int
    features: int
    checkpoints: int
    """Checkpoints of all studies that share the home."""
    weights: int
    """Networks of all studies that share the home."""
    exports: int
    """Exports of all studies of the database into the home, with their reports."""
    total: int
    """Everything in the home."""
    free: int
    """What the disk of the home has free."""

    @property
    def other_files(self) -> int:
        """The rest of the home: pictures, logs, samples, registered weights, exports of other databases."""
        known = self.pixels + self.features + self.weights + self.checkpoints + self.exports
        return max(0, self.total - known)  # a worker may write meanwhile


def disk_use(stores: Stores, home: Home, study: StoredStudy) -> DiskUse:
    """Disk use of a study, of the database and of a home folder."""
    folder, exports = artifacts_of(stores, home), stores.exports.all(study.id)
    return DiskUse(
        study_checkpoints=size_of(folder.folder_of(study.name, "checkpoints")),
        study_weights=size_of(folder.folder_of(study.name, "weights")),
        study_export=size_of(Path(exports[-1].folder)) if exports else 0,
        database=stores.database.size(),
        pixels=size_of(home.pixels),
        features=size_of(home.features),
        checkpoints=size_of(home.artifacts / "checkpoints"),
        weights=size_of(home.artifacts / "weights"),
        exports=sum(size_of(each) for each in _export_folders(stores, home)),
        total=size_of(home.root),
        free=_free(home),
    )


def _export_folders(stores: Stores, home: Home) -> Iterator[Path]:
    """The folders of exports in a home: ``STUDY``, and ``STUDY@DATABASE`` beside that of another database."""
    names = {home.exports(study.name).name for study in stores.studies.all()}
    for folder in home.root.iterdir() if home.root.is_dir() else ():
        if folder.name.partition("@")[0] in names:
            yield folder


def _free(home: Home) -> int:
    """Free bytes of the disk of a home, which need not exist."""
    there = next(folder for folder in (home.root.absolute(), *home.root.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(there).free


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


def tidy(
    stores: Stores,
    home: Home,
    *,
    quota: float = QUOTA,
    cache_quota: float = CACHE_QUOTA,
    now: Callable[[], float] = time.time,
) -> int:
    """Remove checkpoints of ended trials, checkpoints and cached files over their quota, and partial files of killed
    processes.

    Paused trials come first, those with the lowest scores before others: one that loses its checkpoint ends as pruned.
    A queued trial that loses its checkpoint starts over, which costs time and nothing else. Trials in training keep
    theirs.

    Args:
        quota: GiB, see `QUOTA`; of the queued trials, the oldest checkpoints are removed first.
        cache_quota: GiB, as in `limit_caches`.
        now: Unix time in seconds, on this host's clock like the times of its files.

    Returns:
        The number of removed checkpoints.
    """
    folder = artifacts_of(stores, home)
    removed, queued = 0, list[_Found]()
    for found in _checkpoints(stores, folder):
        if now() - found.checkpoint.modified < UNTOUCHED:
            continue
        if found.state in (WorkState.STORED, WorkState.FAILED):
            folder.remove_checkpoint(found.checkpoint.study, found.checkpoint.work_id)
            removed += 1
        elif found.state is WorkState.QUEUED:
            queued.append(found)
    excess = sum(found.checkpoint.size for found in queued) - quota * GIB
    for found in sorted(queued, key=lambda found: found.order):
        if excess <= 0:
            break
        checkpoint, fate = found.checkpoint, "starts over"
        if found.paused is not None:
            fate = "ends as pruned"
            if not stores.queue.end_paused(found.study_id, lambda trials, work_id=checkpoint.work_id: {work_id}):  # type: ignore[misc]
                continue  # a worker has promoted it meanwhile
        log.warning("checkpoints exceed the quota of %g GiB: %s is removed, its trial %s", quota, checkpoint.path, fate)
        folder.remove_checkpoint(checkpoint.study, checkpoint.work_id)
        removed += 1
        excess -= checkpoint.size
    for cache in (home.artifacts, home.pixels, home.features):
        if cache.is_dir():
            remove_leftovers(cache)
    limit_caches(home, cache_quota)
    return removed


def limit_caches(home: Home, quota: float = CACHE_QUOTA) -> int:
    """Remove cached images and features until they take ``quota`` GiB, and `CACHE_SHARE` of the free disk, at most.

    Those that were not used for the longest time are removed first, and made again where needed. Files that a process
    uses stay, so that the caches may exceed their quota for a while.

    Returns:
        The number of removed files of images or features.
    """
    found = []
    for path in (*home.pixels.glob("*.npy"), *home.features.glob("*.npy")):
        try:
            found.append((path.stat().st_mtime, path.stat().st_size, path))
        except FileNotFoundError:  # removed meanwhile
            continue
    total = sum(size for _, size, _ in found)
    if not total:
        return 0
    excess = total - min(quota * GIB, CACHE_SHARE * (total + _free(home)))
    removed = 0
    for _, size, path in sorted(found):
        if excess <= 0:
            break
        if _remove_cached(home, path):
            excess, removed = excess - size, removed + 1
    return removed


def _remove_cached(home: Home, path: Path) -> bool:
    """Remove a file of a cache, unless a process uses or creates it. Returns whether it is gone."""
    # Features of several views are created under one lock.
    name = path.stem if path.parent == home.pixels else path.stem.rpartition("-")[0]
    try:
        with FileLock(path.with_name(f"{name}.lock"), timeout=0):
            if not remove_unused(path):
                return False
            path.with_suffix(".sha256").unlink(missing_ok=True)
            if path.parent == home.features and not any(path.parent.glob(f"{name}-*.npy")):
                path.with_name(f"{name}.json").unlink(missing_ok=True)  # the origin of all views
            return True
    except Timeout:
        return False
    except OSError as problem:  # the folder of another user
        log.warning("%s stays: %s", path, problem.strerror or problem)
        return False


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A checkpoint with its work item."""

    checkpoint: Checkpoint
    study_id: int
    state: WorkState | None
    """None: the work item is unknown."""
    paused: RungValues | None
    """None: the trial is not paused."""

    @property
    def order(self) -> tuple[float, ...]:
        """The order in which queued items lose their checkpoints."""
        if self.paused is None or self.paused.paused_after is None:
            return (1.0, self.checkpoint.modified)
        value = self.paused.values.get(self.paused.paused_after)
        return (0.0, self.paused.paused_after / self.paused.epochs, -math.inf if value is None else value)


def _checkpoints(stores: Stores, folder: ArtifactFolder) -> Iterator[_Found]:
    """The checkpoints of all studies."""
    for study in stores.studies.all():
        checkpoints = folder.checkpoints(study.name)
        if not checkpoints:
            continue
        states = stores.queue.states(study.id)
        paused = {t.work_id: t for t in stores.queue.rung_values(study.id) if t.paused_after is not None}
        for checkpoint in checkpoints:
            work_id = checkpoint.work_id
            yield _Found(
                checkpoint=checkpoint, study_id=study.id, state=states.get(work_id), paused=paused.get(work_id)
            )
