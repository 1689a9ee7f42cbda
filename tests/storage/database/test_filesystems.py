"""A SQLite file on a network file system is refused, and the message names alternatives."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.database import engine
from storage.database.connection import connect
from storage.database.filesystems import network_mount
from storage.errors import StorageError


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    root = tmp_path.resolve()
    (root / "my disk" / "local").mkdir(parents=True)
    (root / "shared").mkdir()
    escaped = str(root / "my disk").replace(" ", "\\040")
    table = root / "mounts"
    table.write_text(
        f"/dev/sda1 / ext4 rw 0 0\nserver:/a {escaped} nfs4 rw 0 0\n/dev/sdb1 {escaped}/local xfs rw 0 0\n"
        f"//server/b {root}/shared cifs rw 0 0\ngarbage\n"
    )
    return table


def test_the_innermost_mount_counts(mounts: Path) -> None:
    root = mounts.parent
    assert network_mount(root / "my disk" / "retable.db", mounts) == ("nfs4", str(root / "my disk"))
    assert network_mount(root / "shared" / "not yet there" / "retable.db", mounts) == ("cifs", str(root / "shared"))
    assert network_mount(root / "my disk" / "local" / "retable.db", mounts) is None
    assert network_mount(root / "retable.db", mounts) is None
    assert network_mount(root / "sharedness" / "retable.db", mounts) is None


def test_symbolic_links_are_resolved(mounts: Path) -> None:
    link = mounts.parent / "link"
    link.symlink_to(mounts.parent / "shared")
    assert network_mount(link / "retable.db", mounts) is not None


def test_without_a_list_of_mounts_every_path_is_accepted(tmp_path: Path) -> None:
    assert network_mount(tmp_path / "retable.db", tmp_path / "none") is None


def test_connecting_is_refused_and_names_postgresql(mounts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "network_mount", lambda path: network_mount(path, mounts))
    with pytest.raises(
        StorageError, match=r"network file system \(cifs.*\n    --storage postgresql://USER@HOST/retable"
    ):
        connect(f"sqlite:///{mounts.parent / 'shared' / 'retable.db'}")
    connect(f"sqlite:///{mounts.parent / 'retable.db'}").close()
