"""What an export may replace, where it goes, and that two exports into one folder take turns."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from search.export.output import lock
from search.export.output.folder import OutputNotWritable, Owner, check_output, output_folder, writing
from search.export.output.lock import OutputBusy, locked
from search.export.output.manifest import MANIFEST, OutputNotOurs, read_manifest
from search.export.output.replacement import COMMITTED
from search.runtime.home import Home
from tests.search.export.output.test_replacement import NEW, OLD, OWNER, export, read
from trainer.common.files import LEFTOVER_AGE, process_space

Change = Callable[[Path], object]


def snapshot(folder: Path) -> dict[str, object]:
    return {
        path.relative_to(folder).as_posix(): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


FOREIGN: dict[str, tuple[Change, str]] = {
    "a model of one's own": (lambda f: write(f / "model" / "mine.pt"), "model/mine.pt is not of an export"),
    "a file called model": (lambda f: write(f / "model"), "model is not of an export"),
    "a submission of one's own": (lambda f: write(f / "submission.csv"), "submission.csv is not of an export"),
    "a folder called oof.csv": (lambda f: (f / "oof.csv").mkdir(parents=True), "oof.csv is not a file"),
    "a link to a folder": (lambda f: link(f / "model", f.parent / "elsewhere"), "model is a link"),
    "a link to nothing": (lambda f: link(f / "MODEL_CARD.md", f / "nothing"), "MODEL_CARD.md is a link"),
    "a folder with the name of an interrupted export": (
        lambda f: write(f / COMMITTED / "mine.txt"),
        f"{COMMITTED} is not of an export",
    ),
    "an invalid manifest": (lambda f: write(f / MANIFEST), f"{MANIFEST} is not valid"),
}


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("case", FOREIGN)
def test_files_of_other_origin_are_refused_and_stay(tmp_path: Path, case: str) -> None:
    change, problem = FOREIGN[case]
    (tmp_path / "elsewhere").mkdir()
    change(tmp_path / "out")
    before = snapshot(tmp_path)
    for attempt in (lambda: check_output(tmp_path / "out", OWNER), lambda: export(tmp_path / "out", NEW)):
        with pytest.raises(OutputNotOurs, match=problem) as raised:
            attempt()
        assert "--output" in str(raised.value)
        assert snapshot(tmp_path) == before


CHANGES: dict[str, tuple[Change, str]] = {
    "an edited file": (lambda f: (f / "MODEL_CARD.md").write_text("edited"), "MODEL_CARD.md was changed"),
    "an edited model": (lambda f: (f / "model" / "config.json").write_text("edited"), "model/config.json was changed"),
    "a file in the model": (lambda f: (f / "model" / "notes.txt").write_text("x"), "model/notes.txt is not of"),
    "a link in the model": (lambda f: link(f / "model" / "weights", f), "model/weights is a link"),
    "a file of a later export": (lambda f: (f / "test_proba.csv").write_text("x"), "test_proba.csv is not of"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_changes_of_an_export_are_not_overwritten(tmp_path: Path, case: str) -> None:
    change, problem = CHANGES[case]
    export(tmp_path / "out", OLD)
    change(tmp_path / "out")
    before = snapshot(tmp_path)
    with pytest.raises(OutputNotOurs, match=problem):
        export(tmp_path / "out", NEW)
    assert snapshot(tmp_path) == before


def convert(model: Path) -> Path:
    """Lay files as `trainer.conversion.convert` does."""
    network = model / "onnx" / "a.onnx"
    write(network)
    entry = {"file": network.name, "sha256": hashlib.sha256(network.read_bytes()).hexdigest(), "weights_sha256": ""}
    (network.parent / "index.json").write_text(json.dumps({"format": 1, "networks": [entry]}))
    write(model / ".retable-convert-killed" / "new" / "b.onnx")
    return network


def test_converted_networks_go_with_the_model(tmp_path: Path) -> None:
    export(tmp_path / "out", OLD)
    convert(tmp_path / "out" / "model")
    export(tmp_path / "out", NEW)
    assert read(tmp_path / "out") == (NEW, {})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda network: network.write_text("edited"), "model/onnx/a.onnx is not of an export"),
        (lambda network: write(network.parent / "mine.onnx"), "model/onnx/mine.onnx is not of an export"),
        (lambda network: (network.parent / "index.json").write_text("[]"), "model/onnx/a.onnx is not of an export"),
    ],
)
def test_changes_of_converted_networks_are_not_overwritten(tmp_path: Path, change: Change, problem: str) -> None:
    export(tmp_path / "out", OLD)
    change(convert(tmp_path / "out" / "model"))
    with pytest.raises(OutputNotOurs, match=problem):
        export(tmp_path / "out", NEW)


def test_removed_files_are_no_obstacle(tmp_path: Path) -> None:
    export(tmp_path / "out", OLD)
    (tmp_path / "out" / "submission.csv").unlink()
    export(tmp_path / "out", NEW)
    assert read(tmp_path / "out") == (NEW, {})


@pytest.mark.parametrize(
    "files", ['{"../x": ["D"]}', '{"/etc/passwd": ["D"]}', '{"notes.txt": ["D"]}', '{"oof.csv": ["short"]}', "7"]
)
def test_a_hostile_manifest_is_no_manifest(tmp_path: Path, files: str) -> None:
    content = '{"made_by": "retable", "format": 1, "kind": "export", "database": "", "study": "s", "files": %s}'
    (tmp_path / MANIFEST).write_text(content % files.replace("D", "a" * 64))
    assert read_manifest(tmp_path) is None


def test_an_export_of_an_earlier_release_is_known_by_the_database(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for name in OLD:
        write(folder / name)
    with pytest.raises(OutputNotOurs):
        check_output(folder, OWNER)
    owner = Owner(database=OWNER.database, study="tune", recorded=[str(folder.resolve())])
    check_output(folder, owner)
    (folder / "submission.csv").write_text("edited")
    with pytest.raises(OutputNotOurs, match=r"submission\.csv was changed"):
        check_output(folder, owner)


@pytest.mark.parametrize("name", ["file", "file/below", "dangling", "loop", "x" * 300, "nul\0"])
def test_paths_that_cannot_be_a_folder_are_refused_in_words(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    link(tmp_path / "dangling", tmp_path / "nothing")
    link(tmp_path / "loop", tmp_path / "loop")
    with pytest.raises(OutputNotWritable, match="--output"):
        check_output(tmp_path / name, OWNER)


def test_another_databases_export_of_a_study_of_that_name_stays(tmp_path: Path) -> None:
    home = Home(root=tmp_path)
    assert output_folder(OWNER, home) == tmp_path / "tune"
    export(tmp_path / "tune", OLD)
    assert output_folder(OWNER, home) == tmp_path / "tune"
    other = Owner(database="b" * 32, study="tune")
    assert output_folder(other, home) == tmp_path / "tune@bbbbbbbb"
    assert output_folder(other, home, tmp_path / "given") == tmp_path / "given"


def test_a_path_through_a_missing_folder_is_resolved(tmp_path: Path) -> None:
    home = Home(root=tmp_path / "home")
    folder = output_folder(OWNER, home, tmp_path / "missing" / ".." / "out")
    export(folder, NEW)
    assert (folder / "submission.csv").read_text() == "new" and read(tmp_path / "out") == (NEW, {})
    assert output_folder(OWNER, home, Path("out")) == Path("out"), "shown as given"


HOLDER = """
import sys, time
from pathlib import Path
from search.export.output.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(1000)
"""


@pytest.mark.slow
def test_a_second_process_is_refused_until_the_first_dies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    root = Path(__file__).parents[4]
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, folder], cwd=root, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(OutputBusy, match=r"another export is writing into .*out"), locked(folder, wait=0.0):
            pass
        with pytest.raises(OutputBusy), locked(folder, wait=0.3):
            pass
        assert "Waiting for another export" in " ".join(capsys.readouterr().out.split())
        with locked(tmp_path / "other", wait=0.0):
            pass
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
    with locked(folder, wait=5.0):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_leftovers_of_killed_exports_go_by_age(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export(folder, OLD)
    old, young = (tmp_path / f".out.retable-0123abcd-7-0000000{n}" for n in "01")
    similar = [tmp_path / name for name in (".out.retable-mine", ".other.retable-0123abcd-7-00000000", ".out-abcdefgh")]
    for path in (old, young, *similar):
        write(path / "submission.csv")
        written = time.time() - (0 if path == young else LEFTOVER_AGE + 60.0)
        os.utime(path, (written, written))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    killed, alive = (tmp_path / f".out.retable-{process_space()}-{pid}-00000000" for pid in (dead.pid, os.getpid()))
    for path in (killed, alive):
        write(path / "submission.csv")
    export(folder, NEW)
    assert not old.exists() and not killed.exists()
    assert alive.exists() and young.exists() and all(path.exists() for path in similar)


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), writing(tmp_path / "deep" / "out", OWNER) as (_, scratch):
        (scratch / "submission.csv").write_text("half")
        raise KeyError
    assert list((tmp_path / "deep").iterdir()) == []
    assert lock.workplace(tmp_path / "deep" / "out") == tmp_path / "deep"
