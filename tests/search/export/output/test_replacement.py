"""A killed export leaves the old export or the new one, and never touches files of other origin."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from search.export.output import replacement
from search.export.output.folder import Owner, check_output, writing
from search.export.output.manifest import MANIFEST, NAMES, OutputNotOurs, manifest_of, write_manifest
from search.export.output.replacement import COMMITTED, replace_export

OWNER = Owner(database="a" * 32, study="tune")
OLD = {"submission.csv": "old", "oof.csv": "old", "MODEL_CARD.md": "old", "model/config.json": "old"}
NEW = {"submission.csv": "new", "test_proba.csv": "new", "MODEL_CARD.md": "new", "model/config.json": "new"}
WRITES = ("os.", "open", "shutil.", "ctypes.")  # audit events before calls that may change the folder

State = dict[str, str]


def export(folder: Path, files: State) -> None:
    with writing(folder, OWNER) as (target, made):
        for name, content in files.items():
            (made / name).parent.mkdir(exist_ok=True)
            (made / name).write_text(content)
        write_manifest(made, manifest_of(made, database=OWNER.database, study=OWNER.study))
        replace_export(made, target)


def read(folder: Path) -> tuple[State, State]:
    """The files of an export in ``folder``, and all visible others."""
    ours: State = {}
    others: State = {}
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") for part in parts):
            (ours if parts[0] in NAMES else others)["/".join(parts)] = path.read_text()
    return ours, others


def killed_at(place: int, action: Callable[[], None]) -> bool:
    """Run ``action`` in a forked process that is killed before its ``place``-th write. Whether it was."""
    child = os.fork()
    if child == 0:
        left = place

        def count(event: str, _arguments: object) -> None:
            nonlocal left
            left -= event.startswith(WRITES) and event != "os.kill"
            if left == -1:
                left -= 1
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            action()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("others", [{}, {"notes.txt": "mine"}, {"notes.txt": "mine", "work/deep.txt": "mine"}])
def test_a_new_export_replaces_the_old_one_alone(tmp_path: Path, others: State) -> None:
    folder = tmp_path / "out"
    export(folder, OLD)
    inodes = {}
    for name, content in others.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
        inodes[name] = (folder / name).stat().st_ino
    (folder / "model" / "__pycache__").mkdir()
    (folder / "model" / "__pycache__" / "predict.cpython-311.pyc").write_bytes(b"compiled")
    export(folder, NEW)
    assert read(folder) == (NEW, others)
    assert {name: (folder / name).stat().st_ino for name in others} == inodes, "the same files, not copies"
    assert list(tmp_path.iterdir()) == [folder], "nothing is left behind"


@pytest.mark.slow
@pytest.mark.parametrize("others", [None, {"notes.txt": "mine"}, {"work/deep.txt": "mine"}])
def test_killed_at_any_write(tmp_path: Path, others: State | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """``others``: files of other origin beside an earlier export; None: there is no folder yet."""
    monkeypatch.setattr("search.export.output.replacement._write_to_disk", lambda folder: None)  # slow, changes nothing
    states = []
    for place in range(1000):
        folder = tmp_path / str(place) / "out"
        folder.parent.mkdir()
        if others is not None:
            export(folder, OLD)
            for name, content in others.items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(content)
        killed = killed_at(place, lambda: export(folder, NEW))  # noqa: B023 - called at once
        if others and "work/deep.txt" in others:
            # The last step is not one system call: the next command finishes it.
            assert read(folder)[1] == others
            check_output(folder, OWNER)
        found = read(folder) if folder.exists() else ({}, {})
        before = {} if others is None else OLD
        assert found in ((before, others or {}), (NEW, others or {})), place
        states.append(found[0])
        if not killed:
            break
        export(folder, NEW)
        assert read(folder) == (NEW, others or {}), "the next export is not disturbed"
    assert len(states) > 20 and states == sorted(states, key=lambda state: state == NEW) and states[-1] == NEW


def test_without_an_exchange_of_folders_it_works_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(one: Path, other: Path) -> None:
        raise OSError("this system has no renameat2")

    monkeypatch.setattr("search.export.output.replacement._rename_exchange", refuse)
    folder = tmp_path / "out"
    export(folder, OLD)
    (folder / "notes.txt").write_text("mine")
    export(folder, NEW)
    assert read(folder) == (NEW, {"notes.txt": "mine"}) and not (folder / COMMITTED).exists()


def test_the_current_folder_stays_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell in it would otherwise stand in a removed folder."""
    folder = tmp_path / "out"
    export(folder, OLD)
    monkeypatch.chdir(folder)
    before = folder.stat().st_ino
    export(Path(), NEW)
    assert folder.stat().st_ino == before and read(folder) == (NEW, {})


CHANGES: dict[str, str] = {"submission.csv": "edited", "model/mine.pt": "mine", "oof.csv": "edited"}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("moment", ["_write_to_disk", "_rename_exchange"])
def test_changes_during_the_writing_are_refused_and_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, moment: str
) -> None:
    """The first check has passed already when a program changes the old export."""
    folder = tmp_path / "out"
    export(folder, OLD)
    (folder / "notes.txt").write_text("mine")
    step = getattr(replacement, moment)

    def changed(*arguments: Path) -> None:
        (folder / name).write_text(CHANGES[name])
        step(*arguments)

    monkeypatch.setattr(replacement, moment, changed)
    with pytest.raises(OutputNotOurs, match=name):
        export(folder, NEW)
    assert read(folder) == ({**OLD, name: CHANGES[name]}, {"notes.txt": "mine"})
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("place", range(12))
def test_changes_while_files_move_are_refused_and_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: int
) -> None:
    """Without an exchange of folders, the files move one by one. A program changes one of them before a move."""

    def refuse(one: Path, other: Path) -> None:
        raise OSError("this system has no renameat2")

    moves = 0

    def move(path: Path, to: Path) -> Path:
        nonlocal moves
        moves += 1
        changed = folder / name
        if moves > place and changed.parent.exists() and not done and not is_new(folder):
            changed.write_text(CHANGES[name])
            done.append(name)
        return rename(path, to)

    def is_new(folder: Path) -> bool:
        top = folder / Path(name).parts[0]
        inside = top / "config.json" if top.is_dir() else top
        return not inside.exists() or inside.read_text() == "new"

    folder = tmp_path / "out"
    export(folder, OLD)
    (folder / "notes.txt").write_text("mine")
    done: list[str] = []
    rename = Path.rename
    monkeypatch.setattr(replacement, "_rename_exchange", refuse)
    monkeypatch.setattr(Path, "rename", move)
    try:
        export(folder, NEW)
    except OutputNotOurs as problem:
        assert name in str(problem)
        assert read(folder) == ({**OLD, name: CHANGES[name]}, {"notes.txt": "mine"})
    else:
        assert not done, "the program came too late: the file had moved already"
        assert read(folder) == (NEW, {"notes.txt": "mine"})
    assert not (folder / COMMITTED).exists()
    assert {path.name for path in folder.iterdir() if path.name.startswith(".")} == {MANIFEST}
    monkeypatch.undo()
    if done:
        (folder / name).unlink()
        export(folder, NEW)
        assert read(folder) == (NEW, {"notes.txt": "mine"})


def test_a_replacement_that_was_killed_after_its_end_is_not_taken_for_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(committed: Path, target: Path) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "out"
    export(folder, OLD)
    (folder / "work").mkdir()
    monkeypatch.setattr(replacement, "_remove", die)
    with pytest.raises(KeyboardInterrupt):
        export(folder, NEW)
    monkeypatch.undo()
    check_output(folder, OWNER)
    assert read(folder) == (NEW, {}) and not (folder / COMMITTED).exists()
