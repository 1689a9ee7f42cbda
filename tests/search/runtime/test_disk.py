"""Disk use of a home, and removal of checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search.runtime.disk import GIB, UNTOUCHED, disk_use, limit_features, tidy
from search.worker.lease import LEASE
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from storage.queue.items import WorkItem
from storage.values import Failure, WorkKind
from tests.search.small_study import work_on

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
    use = disk_use(context.stores, context.home)
    assert use.pixels == sum(file.stat().st_size for file in context.home.pixels.iterdir())
    assert use.pixels > 36 * 32 * 32 * 3
    assert use.checkpoints == context.artifacts.checkpoint(context.study.name, item.id).stat().st_size > 0
    assert use.weights > 0
    assert use.database > 0


def test_features_over_the_quota_are_removed_the_longest_unused_first(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / f"{number}-identity.npy"
        path.write_bytes(b"x" * 1000)
        path.with_suffix(".sha256").write_text("digest")
        age(path, 0.0 if number == 3 else LONG_AGO - number)
    assert limit_features(tmp_path, 4000 / GIB) == 0
    assert limit_features(tmp_path, 2500 / GIB) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{number}-identity.{ending}" for number in (2, 3) for ending in ("npy", "sha256")
    ]
    assert limit_features(tmp_path, 0.0) == 1, "those in use stay"
    assert limit_features(tmp_path / "nowhere", 0.0) == 0
