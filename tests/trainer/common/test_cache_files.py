"""Arrays of a cache that are damaged, or of another kind than a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.images import NO_ARRAYS
from trainer.common.cache_files import mapped_array


def test_an_array_is_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    mapped = mapped_array(tmp_path / "a.npy")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", *NO_ARRAYS.values()])
def test_what_is_no_array_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    assert mapped_array(tmp_path / "a.npy") is None


def test_a_missing_file_a_folder_and_a_pipe_are_none(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert [mapped_array(tmp_path / name) for name in ("missing", "folder", "pipe")] == [None] * 3
