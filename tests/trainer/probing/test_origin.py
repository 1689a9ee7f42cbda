"""Cached features are found by the images that they are of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainer.probing.origin import Origin, find_features, write_origin

ORIGIN = Origin(fingerprint="f" * 64, backbone="resnet18.a1_in1k", image_size=224)
KEY = "0" * 64


def keep(folder: Path, key: str = KEY, origin: Origin = ORIGIN) -> Path:
    write_origin(folder, key, origin)
    path = folder / f"{key}-identity.npy"
    path.touch()
    return path


def test_the_features_of_an_image_set_are_found(tmp_path: Path) -> None:
    assert find_features(tmp_path / "missing", "f" * 64) == []
    path = keep(tmp_path)
    other = keep(tmp_path, "1" * 64, Origin(fingerprint="e" * 64, backbone="x", image_size=32))
    assert find_features(tmp_path, "f" * 64) == [(path, ORIGIN)]
    assert [found[0] for found in find_features(tmp_path, "e" * 64)] == [other]
    path.unlink()
    assert find_features(tmp_path, "f" * 64) == [], "the features are gone"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b"[" * 3000,
        b"{}" + b" " * 9000,
        b'{"fingerprint": 1, "backbone": "x", "image_size": 32}',
        b'{"fingerprint": "' + b"f" * 64 + b'", "backbone": "x", "image_size": "32"}',
        b'{"fingerprint": "' + b"f" * 64 + b'", "backbone": "x", "image_size": true}',
        b'{"fingerprint": "' + b"f" * 64 + b'", "backbone": "x", "image_size": 32, "more": 1}',
    ],
)
def test_a_damaged_file_is_skipped(tmp_path: Path, content: bytes) -> None:
    keep(tmp_path)
    (tmp_path / f"{KEY}.json").write_bytes(content)
    assert find_features(tmp_path, "f" * 64) == []


def test_a_file_of_another_name_is_skipped(tmp_path: Path) -> None:
    keep(tmp_path)
    (tmp_path / f"{KEY}.json").rename(tmp_path / "notes.json")
    (tmp_path / "notes-identity.npy").touch()
    assert find_features(tmp_path, "f" * 64) == []


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path: Path) -> None:
    write_origin(tmp_path / "missing" / "folder", KEY, ORIGIN)
    assert not (tmp_path / "missing").exists()


def test_a_pipe_and_a_folder_are_skipped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"{KEY}.json")
    (tmp_path / f"{'1' * 64}.json").mkdir()
    assert find_features(tmp_path, "f" * 64) == []
