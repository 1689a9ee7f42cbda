"""Files that appear whole or not at all, and what killed processes leave."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.common.files import LEFTOVER_AGE, process_space, remove_leftovers, replacing

OLD = LEFTOVER_AGE + 60.0  # seconds


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave(path: Path, age: float = OLD) -> Path:
    """A file that was last written ``age`` seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    written = time.time() - age
    os.utime(path, (written, written))
    return path


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("older")
    with pytest.raises(KeyError), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_killed_process_leaves_what_is_then_removed(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from trainer.common.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", script, tmp_path / "deep.npy"], cwd=root, check=False)
    (left,) = tmp_path.iterdir()
    assert remove_leftovers(tmp_path) == 0  # just written: it may be another host's, and still be written
    leave(left)
    assert remove_leftovers(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_leftovers_are_removed_at_any_depth(tmp_path: Path, dead: int) -> None:
    leave(tmp_path / f".a.npy.{dead}.tmp")
    leave(tmp_path / "study" / ".hidden" / f".trial.pt.{dead}.tmp")
    leave(tmp_path / f".impossible.npy.{10**30}.tmp")
    assert remove_leftovers(tmp_path) == 3
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert remove_leftovers(tmp_path) == 0


@pytest.mark.slow
def test_all_else_stays(tmp_path: Path, dead: int) -> None:
    kept = {
        leave(tmp_path / f".living.npy.{os.getpid()}.tmp"),
        leave(tmp_path / ".anothers.npy.1.tmp"),
        leave(tmp_path / f".fresh.npy.{dead}.tmp", age=LEFTOVER_AGE - 60.0),
        leave(tmp_path / f"plain.npy.{dead}.tmp"),
        leave(tmp_path / ".without_number.tmp"),
        leave(tmp_path / f".a.npy.{dead}.tmp.npy"),
        leave(tmp_path / f".folder.{dead}.tmp" / "file"),
    }
    assert remove_leftovers(tmp_path) == 0
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == kept


def test_two_writers_of_one_file_have_different_temporary_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also threads of one process, and processes with the same id and host name in two containers."""
    path = tmp_path / "file"
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first", "the last rename wins"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_process_ids_count_in_their_own_container_alone(tmp_path: Path, dead: int) -> None:
    here, other = process_space(), "0123abcd"
    kept = leave(tmp_path / f".a.npy.{here}-{os.getpid()}-00000000.tmp")
    leave(tmp_path / f".a.npy.{here}-{dead}-00000000.tmp")
    leave(tmp_path / f".a.npy.{other}-{os.getpid()}-00000000.tmp")
    fresh = leave(tmp_path / f".a.npy.{other}-{dead}-00000000.tmp", age=LEFTOVER_AGE - 60.0)
    assert remove_leftovers(tmp_path) == 2
    assert set(tmp_path.iterdir()) == {kept, fresh}


def test_no_folder_has_no_leftovers(tmp_path: Path) -> None:
    assert remove_leftovers(tmp_path / "none") == 0


@pytest.mark.slow
def test_what_cannot_be_removed_stays(tmp_path: Path, dead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (leave(tmp_path / f".{name}.npy.{dead}.tmp") for name in "ab")
    original = Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if self == first:
            raise PermissionError(self)
        original(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    assert remove_leftovers(tmp_path) == 1
    assert (first.exists(), second.exists()) == (True, False)
