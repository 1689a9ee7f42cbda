"""The folder of files beside the database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.artifacts import ArtifactFolder, safe_name


@given(st.text())
def test_no_name_leads_out_of_its_folder(name: str) -> None:
    path = Path("root") / safe_name(name)
    assert path.parent == Path("root")
    assert path.name not in ("", ".", "..") and not path.name.startswith(".")
    assert len(path.name) < 100
    path.name.encode("ascii")


@given(st.text(), st.text())
def test_different_names_stay_different(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


@pytest.mark.parametrize("name", ["a", "aug_tuning", "aug_tuning.confirm", "B4-512"])
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert safe_name(name) == name


def test_removing_a_checkpoint_removes_leftovers_of_writes(tmp_path: Path) -> None:
    artifacts = ArtifactFolder(tmp_path / "retable")
    kept, gone = artifacts.checkpoint("tune", 1), artifacts.checkpoint("tune", 2)
    for path in (kept, gone, gone.with_suffix(".tmp")):
        path.write_bytes(b"x")
    artifacts.remove_checkpoint("tune", 2)
    artifacts.remove_checkpoint("tune", 2)
    assert kept.exists()
    assert not gone.parent.exists()


def test_the_teachers_of_an_item_belong_to_its_checkpoint(tmp_path: Path) -> None:
    artifacts = ArtifactFolder(tmp_path)
    both, teachers = artifacts.checkpoint("tune", 1), artifacts.checkpoint("tune", 2)
    artifacts.checkpoint("tune", 3)  # a folder without files
    for path, size in ((both, 5), (both.with_name("teacher-0-1.pt"), 7), (teachers.with_name("teacher-0-1.pt"), 3)):
        path.write_bytes(b"x" * size)
    os.utime(both, (100.0, 100.0))
    os.utime(both.with_name("teacher-0-1.pt"), (200.0, 200.0))
    found = {checkpoint.work_id: checkpoint for checkpoint in artifacts.checkpoints("tune")}
    assert {work_id: checkpoint.size for work_id, checkpoint in found.items()} == {1: 12, 2: 3}
    assert (found[1].path, found[1].modified, found[2].path.parent) == (both, 200.0, teachers.parent)
    artifacts.remove_checkpoint("tune", 2)
    assert [checkpoint.work_id for checkpoint in artifacts.checkpoints("tune")] == [1]


def test_every_study_and_item_has_a_folder_of_its_own(tmp_path: Path) -> None:
    artifacts = ArtifactFolder(tmp_path)
    folders = [artifacts.weights("a/../b", 1), artifacts.weights("b", 1), artifacts.weights("b", 2)]
    assert len(set(folders)) == 3
    assert all(folder.is_dir() and folder.resolve().is_relative_to(tmp_path.resolve()) for folder in folders)


def test_pictures_go_through_optunas_store(tmp_path: Path) -> None:
    store = ArtifactFolder(tmp_path).pictures()
    (tmp_path / "a.png").write_bytes(b"png")
    with (tmp_path / "a.png").open("rb") as content:
        store.write("id", content)
    with store.open_reader("id") as stored:
        assert stored.read() == b"png"
