"""Disk use of a home, and removal of checkpoints."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock

from search.runtime.disk import GIB, UNTOUCHED, disk_use, limit_caches, tidy
from search.runtime.home import Home
from search.worker.lease import LEASE
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from storage.queue.items import WorkItem
from storage.values import Failure, WorkKind
from tests.search.small_study import work_on
from trainer.batches.pixel_cache import open_pixels
from trainer.common.cache_files import mark_in_use
from trainer.data.read import read_images
from trainer.probing.origin import Origin, find_features, write_origin

LONG_AGO = 10 * UNTOUCHED


def begin(context: StudyContext) -> tuple[WorkItem, Path]:
    """A trial in training with a checkpoint of 1000 bytes, written long ago."""
    item = context.stores.queue.take(context.study.id, context.worker, LEASE)
    assert item is not None
    path = context.artifacts.checkpoint(context.study.name, item.id)
    path.write_bytes(b"x" * 1000)
    age(path, LONG_AGO - item.id)
    return item, path


def age(path: Path, seconds: float) -> None:
    now = path.stat().st_mtime
    os.utime(path, (now - seconds, now - seconds))


def test_the_checkpoint_of_an_ended_trial_is_removed(context: StudyContext) -> None:
    """Also if a worker of another host ended the trial."""
    (ended, old), (held, live) = begin(context), begin(context)
    young = context.artifacts.checkpoint(context.study.name, held.id + 1)
    young.write_bytes(b"x")
    context.stores.queue.fail(ended, Failure.BUG, "elsewhere")
    assert tidy(context.stores, context.home) == 1
    assert (old.exists(), live.exists(), young.exists()) == (False, True, True)


def test_a_checkpoint_that_changed_recently_is_kept(context: StudyContext) -> None:
    ended, path = begin(context)
    context.stores.queue.fail(ended, Failure.BUG, "elsewhere")
    os.utime(path)
    assert tidy(context.stores, context.home) == 0
    assert path.exists()


def test_the_oldest_checkpoints_of_queued_trials_are_removed_over_the_quota(
    context: StudyContext, caplog: pytest.LogCaptureFixture
) -> None:
    items = [begin(context) for _ in range(3)]
    for item, _path in items[:2]:
        context.stores.queue.release(item)
    assert tidy(context.stores, context.home, quota=2000 / GIB) == 0
    assert tidy(context.stores, context.home, quota=1999 / GIB) == 1
    assert [path.exists() for _item, path in items] == [False, True, True]
    assert "quota" in caplog.text
    assert tidy(context.stores, context.home, quota=0.0) == 1
    assert items[2][1].exists(), "a trial in training keeps its checkpoint"


@pytest.mark.slow
def test_no_checkpoint_is_left_after_a_study(context: StudyContext) -> None:
    work_on(context)
    assert list((context.home.artifacts / "checkpoints").rglob("*.pt")) == []


@pytest.mark.slow
def test_disk_use_is_the_size_of_the_files(context: StudyContext) -> None:
    item = context.stores.queue.take(context.study.id, context.worker, LEASE)
    assert item is not None
    run_item(context, item, lambda: True)
    context.stores.queue.add(context.study.id, WorkKind.REFIT, split=0, seed=1, recipe=context.spec.default_recipe())
    refit = context.stores.queue.take(context.study.id, context.worker, LEASE, kinds=(WorkKind.REFIT,))
    assert refit is not None
    run_item(context, refit, lambda: False)
    other = replace(context.study.stored, id=-1, name="other")
    assert disk_use(context.stores, context.home, other).study_weights == 0
    use = disk_use(context.stores, context.home, context.study.stored)
    assert (use.study_weights, use.study_checkpoints) == (use.weights, use.checkpoints)
    assert use.total >= use.pixels + use.weights + use.checkpoints and use.free > 0 and use.study_export == 0
    assert use.pixels == sum(file.stat().st_size for file in context.home.pixels.iterdir())
    assert use.pixels > 36 * 32 * 32 * 3
    assert use.checkpoints == context.artifacts.checkpoint(context.study.name, item.id).stat().st_size > 0
    assert use.weights > 0
    assert use.database > 0


def cached(home: Home, number: int) -> Path:
    """A file of 1000 bytes in one of the caches, with a lock and, of features, with a digest; older ones for larger
    numbers.
    """
    folder = (home.pixels, home.features)[number % 2]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"{number}.npy" if folder == home.pixels else f"{number}-identity.npy")
    path.write_bytes(b"x" * 1000)
    path.with_name(f"{number}.lock").touch()
    if folder == home.features:
        path.with_suffix(".sha256").write_text("digest")
    age(path, LONG_AGO * number)
    return path


def test_the_origin_of_features_goes_with_the_last_view(tmp_path: Path) -> None:
    home, key = Home(root=tmp_path), "0" * 64
    home.features.mkdir(parents=True)
    views = [home.features / f"{key}-{view}.npy" for view in ("hflip", "identity")]
    for number, path in enumerate(views):
        path.write_bytes(b"x" * 1000)
        age(path, LONG_AGO * (2 - number))
    write_origin(home.features, key, Origin(fingerprint="f" * 64, backbone="x", image_size=32))
    assert limit_caches(home, 1500 / GIB) == 1
    assert [found[0] for found in find_features(home.features, "f" * 64)] == views[1:]
    assert limit_caches(home, 0.0) == 1
    assert not list(home.features.glob("*.json"))


def test_cached_files_over_the_quota_are_removed_the_longest_unused_first(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    assert limit_caches(home, 0.0) == 0
    paths = [cached(home, number) for number in range(4)]
    assert limit_caches(home, 4000 / GIB) == 0
    assert limit_caches(home, 2500 / GIB) == 2
    assert [path.exists() for path in paths] == [True, True, False, False]
    assert [path.name for path in home.features.glob("*.sha256")] == ["1-identity.sha256"]
    user = np.zeros(1)
    mark_in_use(paths[1], user)
    assert limit_caches(home, 1000 / GIB) == 1
    assert [path.exists() for path in paths[:2]] == [False, True]
    del user
    assert limit_caches(home, 0.0) == 1


def test_the_caches_leave_a_share_of_the_disk_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(root=tmp_path)
    paths = [cached(home, number) for number in range(4)]

    def free(size: int) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=size))

    free(4000)
    assert limit_caches(home) == 0
    free(2000)  # 6000 without the caches, which may take half of them
    assert limit_caches(home) == 1
    assert [path.exists() for path in paths] == [True, True, True, False]


def test_cached_files_that_a_process_uses_or_creates_are_kept(tmp_path: Path, competition_folder: Path) -> None:
    home, script = Home(root=tmp_path), "import pickle, sys; pickle.load(sys.stdin.buffer).train[0]; print(1)"
    images = read_images(competition_folder)
    pixels = open_pixels(images, size=8, resize="squash", interpolation="bilinear", folder=home.pixels)
    assert limit_caches(home, 0.0) == 0
    # A process that gets the images from this one maps them later.
    other = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(pixels), check=True, capture_output=True)
    assert other.stdout == b"1\n"
    path = pixels.path
    shown = pixels.train
    del pixels
    with FileLock(path.with_suffix(".lock")):
        assert limit_caches(home, 0.0) == 0, "another process creates or opens it"
    assert limit_caches(home, 0.0) == 1
    assert not path.exists() and shown.sum() >= 0, "a map outlives its file"
    again = open_pixels(images, size=8, resize="squash", interpolation="bilinear", folder=home.pixels)
    assert np.array_equal(again.train, shown)


@pytest.mark.slow
def test_caches_are_removed_while_other_processes_open_them(tmp_path: Path, competition_folder: Path) -> None:
    """No opener fails, however often the file disappears."""
    home, images = Home(root=tmp_path), read_images(competition_folder)
    removed, stop = 0, threading.Event()

    def remove() -> None:
        nonlocal removed
        while not stop.is_set():
            removed += limit_caches(home, 0.0)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for _ in range(50):
            pixels = open_pixels(images, size=8, resize="squash", interpolation="bilinear", folder=home.pixels)
            assert pixels.train.shape == (30, 8, 8, 3)
            del pixels
    finally:
        stop.set()
        remover.join()
    assert removed > 0
