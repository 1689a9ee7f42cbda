"""The images in a folder, and everything else that lies there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.trainer.images import save
from trainer.inference.find_images import find_images, ignored_message, unread_message


def test_links_to_folders_are_followed_inside_the_folder_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    save(data / "train" / "dog" / "0.png", 0)
    save(data / "pool" / "1.png", 1)
    save(tmp_path / "disk" / "2.png", 2)
    (data / "train" / "dog" / "more").symlink_to("../../pool")
    (data / "train" / "dog" / "disk").symlink_to(tmp_path / "disk")
    found = find_images(data)
    assert sorted(found.images) == ["pool/1.png", "train/dog/0.png", "train/dog/more/1.png"]
    assert found.linked == {"train/dog/more/1.png"}
    assert list(found.unfollowed) == ["train/dog/disk"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / name / "0.png", 0)
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "here").symlink_to(".")
    (tmp_path / "a" / "self").symlink_to("self")
    (tmp_path / "a" / "b").symlink_to("../b")
    (tmp_path / "b" / "a").symlink_to("../a")
    found = find_images(tmp_path)
    assert sorted(found.images) == ["a/0.png", "a/b/0.png", "b/0.png", "b/a/0.png"]
    assert {path: found.unread[path] for path in ("a/up", "a/here", "a/self")} == {
        "a/up": "link to a folder above it",
        "a/here": "link to a folder above it",
        "a/self": "broken link",
    }
    assert {"a/b/a", "b/a/b"} <= set(found.unfollowed)


def test_files_of_operating_systems_are_counted_apart(tmp_path: Path) -> None:
    save(tmp_path / "0.png", 0)
    save(tmp_path / "__MACOSX" / "._0.png", 1)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png", "._1.png", "0.png:Zone.Identifier"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("~$labels.xlsx", ".~lock.labels.ods#", "~WRL0001.tmp"):
        (tmp_path / name).write_bytes(b"x")
    found = find_images(tmp_path)
    assert found.images == ["0.png"]
    assert not found.unread
    message = ignored_message(found.ignored)
    assert message.startswith("10 hidden or system files (2 ._*, ")
    assert "1 __MACOSX/" in message and "1 Thumbs.db" in message


def test_the_message_counts_by_kind_and_says_what_to_do(tmp_path: Path) -> None:
    unread = {f"dog/{i}.psd": ".psd" for i in range(8)} | {"cat/a.zip": ".zip", "cat/\x1b[0m": "without extension"}
    message = unread_message(unread)
    assert message.startswith("10 files that are no readable image (8 .psd, 1 .zip, 1 without extension)")
    assert "convert" in message and "unpack" in message
    assert "\x1b" not in unread_message({"cat/\x1b[0m": ".\x1bx"})


@pytest.mark.parametrize(
    ("ending", "advice"),
    [
        *((ending, "unpack archives") for ending in (".001", ".002", ".z01", ".zst", ".zip")),
        *((ending, "save the images in them") for ending in (".tfrec", ".h5", ".parquet")),
        (".yaml", ""),
    ],
)
def test_only_images_are_to_be_converted(ending: str, advice: str) -> None:
    message = unread_message({f"a{ending}": ending})
    assert "convert" not in message
    assert advice in message and (";" in message) == bool(advice)
    assert "convert" in unread_message({f"a{ending}": ending, "a.psd": ".psd"})


def test_folders_that_cannot_be_listed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "dog" / "0.png", 0)
    (tmp_path / "shut").mkdir()
    listed = os.scandir

    def scandir(path: str) -> object:  # root may list every folder, so the refusal is simulated
        if os.fspath(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = find_images(tmp_path)
    assert found.images == ["dog/0.png"]
    assert found.closed == {"shut": "Permission denied"}
