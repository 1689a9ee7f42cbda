"""Checkpoints: written in the background, atomic, ignored when they are damaged or foreign."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.training.support import fill_disk_in_torch
from trainer.training.checkpoint import CheckpointFile

CONTENT: dict[str, Any] = {"folds": [{"model": {"w": torch.arange(6.0).view(2, 3)}, "ema": None}], "epoch": 3}


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_content_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "trial.pt"
    CheckpointFile(path, "a").save(CONTENT)
    content = CheckpointFile(path, "a").load()
    assert content is not None
    assert content["epoch"] == 3
    assert torch.equal(content["folds"][0]["model"]["w"], CONTENT["folds"][0]["model"]["w"])
    assert content["folds"][0]["ema"] is None
    assert list(path.parent.iterdir()) == [path]


def test_no_file_is_nothing_to_warn_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert CheckpointFile(tmp_path / "none.pt", "a").load() is None
    assert not caplog.records


def test_another_training_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "trial.pt"
    CheckpointFile(path, "a").save(CONTENT)
    with caplog.at_level(logging.WARNING):
        assert CheckpointFile(path, "b").load() is None
    assert "another recipe" in caplog.text
    assert str(path) in caplog.text


class Attack:
    """An object that runs code when it is unpickled, as in a hostile file."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('unpickled')",))


def test_each_of_300_damaged_files_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One byte is changed at a random place. torch itself loads most of these files."""
    path = tmp_path / "trial.pt"
    CheckpointFile(path, "a").save(CONTENT)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    places = random.choice(len(whole), 300, replace=False)
    loaded_by_torch = 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        assert CheckpointFile(path, "a").load() is None
        with suppress(Exception):
            torch.load(path, weights_only=True)
            loaded_by_torch += 1
    assert len(caplog.records) == 300 and loaded_by_torch > 150


@pytest.mark.parametrize("cut", [1, 10, 40, 60, 1000])
def test_a_shorter_or_longer_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "trial.pt"
    CheckpointFile(path, "a").save(CONTENT)
    whole = path.read_bytes()
    for damaged in (whole[:-cut], whole[cut:], whole + bytes(cut)):
        path.write_bytes(damaged)
        assert CheckpointFile(path, "a").load() is None


def test_a_file_without_a_digest_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "trial.pt"
    torch.save({"format": 1, "identity": "a", "content": CONTENT}, path)
    assert CheckpointFile(path, "a").load() is None
    assert "the training starts again" in caplog.text


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "flipped", "foreign", "hostile", "folder"])
def test_damage_is_ignored_with_a_warning(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "trial.pt"
    CheckpointFile(path, "a").save(CONTENT)
    whole = path.read_bytes()
    if damage == "foreign":
        torch.save([1, 2], path)
    elif damage == "hostile":
        torch.save({"format": 1, "identity": "a", "content": Attack()}, path)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        middle = len(whole) // 3
        path.write_bytes(
            {
                "empty": b"",
                "cut": whole[:middle],
                "text": b"not a checkpoint",
                "flipped": whole[:20] + bytes(255 - b for b in whole[20:middle]) + whole[middle:],
            }[damage]
        )
    with caplog.at_level(logging.WARNING):
        assert CheckpointFile(path, "a").load() is None
    assert str(path) in caplog.text


def test_a_file_is_offered_at_most_once_a_minute(tmp_path: Path) -> None:
    clock = Clock()
    file = CheckpointFile(tmp_path / "trial.pt", "a", clock)
    begun = []
    for second in range(0, 301, 10):
        clock.now = second
        if file.offer(lambda: CONTENT):
            begun.append(second)
        file.close()
    assert begun == [60, 120, 180, 240, 300]


@pytest.mark.parametrize(("cost", "expected"), [(0.5, 60), (2.4, 120), (100.0, 180)])
def test_costly_files_are_rarer_but_never_rarer_than_three_minutes(tmp_path: Path, cost: float, expected: int) -> None:
    clock = Clock()

    def content() -> dict[str, Any]:
        clock.now += cost
        return CONTENT

    file = CheckpointFile(tmp_path / "trial.pt", "a", clock)
    clock.now = 60.0
    assert file.offer(content)
    file.close()
    waited = next(second for second in range(1, expected + 1) if after_a_second(file, clock, content))
    assert waited == expected
    file.close()


def after_a_second(file: CheckpointFile, clock: Clock, content: Any) -> bool:
    clock.now += 1
    return file.offer(content)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1.0, 20.0, 59.0, 61.0, 89.0, 100.0, 179.0, 181.0, 1000.0])
@pytest.mark.parametrize("cost", [0.0, 0.9, 2.0, 5.0])
def test_a_kill_loses_at_most_three_minutes_or_one_epoch(tmp_path: Path, epoch: float, cost: float) -> None:
    """Whichever is longer, plus the time of copying."""
    clock = Clock()

    def content() -> dict[str, Any]:
        clock.now += cost
        return CONTENT

    file = CheckpointFile(tmp_path / "trial.pt", "a", clock)
    kept = longest = 0.0
    written = 0
    for _ in range(60):
        clock.now += epoch
        ended = clock.now
        longest = max(longest, ended - kept)
        if file.offer(content):
            file.close()
            kept = ended
            written += 1
    assert longest <= max(epoch, 180.0) + cost + 1e-6
    assert written <= 1 + clock.now / 60.0


def test_what_is_offered_is_copied_before_the_training_goes_on(tmp_path: Path) -> None:
    clock = Clock()
    file = CheckpointFile(tmp_path / "trial.pt", "a", clock)
    weights = torch.ones(1000, 1000)
    clock.now = 60.0
    assert file.offer(lambda: {"weights": weights})
    weights.zero_()
    file.close()
    content = file.load()
    assert content is not None
    assert content["weights"].sum() == 1_000_000


def test_a_disk_that_cannot_be_written_does_not_end_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    blocked = tmp_path / "file"
    blocked.write_text("in the way of a folder")
    file = CheckpointFile(blocked / "trial.pt", "a", clock)
    clock.now = 60.0
    with caplog.at_level(logging.WARNING):
        assert file.offer(lambda: CONTENT)
        file.close()
        file.save(CONTENT)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    assert all(str(blocked / "trial.pt") in warning and "File exists" in warning for warning in warnings)


@pytest.mark.parametrize("as_torch_does", [False, True])
def test_a_failed_write_leaves_the_last_good_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, as_torch_does: bool
) -> None:
    path = tmp_path / "trial.pt"
    CheckpointFile(path, "a").save(CONTENT)
    fill_disk_in_torch(monkeypatch, as_torch_does)
    with caplog.at_level(logging.WARNING):
        CheckpointFile(path, "a").save({"epoch": 4})
    (warning,) = [record.getMessage() for record in caplog.records]
    assert str(path) in warning
    assert os.strerror(errno.ENOSPC) in warning
    content = CheckpointFile(path, "a").load()
    assert content is not None
    assert content["epoch"] == 3
    assert list(tmp_path.iterdir()) == [path]
