"""The command line end to end: real processes, real files."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from search.cli import app as application
from storage.stores import open_stores
from storage.values import TrialStatus, WorkKind
from tests.command_line import ENVIRONMENT, CommandLine
from tests.search.small_study import STUDY

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(command_line: CommandLine, tmp_path: Path) -> Run:
    def call(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = command_line.run(*arguments, cwd=tmp_path)
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done

    return call


def test_help_and_mistakes_import_neither_torch_nor_timm(tmp_path: Path) -> None:
    """One process types all of them, and says after each which libraries are loaded."""
    torch_and_timm = ["torch", "timm", "albumentations"]
    typed = [
        (["--help"], [*torch_and_timm, "optuna", "sqlalchemy"]),
        (["start", "--help"], [*torch_and_timm, "optuna", "sqlalchemy"]),
        (["studies", "quickstrt"], torch_and_timm),
        (["start", "--study", "quickstrt"], torch_and_timm),
        (["start", "--study", "quickstart", "--set", "recipe.epohcs=3"], torch_and_timm),
        (["start", "--study", "quickstart", "--set", "protocol.metric=acuracy"], torch_and_timm),
        (["check", "nowhere"], torch_and_timm),
        (["start", "--study", "aug_tuning"], torch_and_timm),
        (["start", "--study", "aug_tuning", "--data", "nowhere"], torch_and_timm),
        (["start", "--study", "quickstart", "--storage", "mysql://a:secret@b/c"], torch_and_timm),
        (["worker"], torch_and_timm),
        (["status"], torch_and_timm),
    ]
    script = (
        "import json, sys; from search.cli.app import main\n"
        "for arguments, heavy in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['search', *arguments]\n"
        "    try: main()\n"
        "    except SystemExit as end: print('ENDED', bool(end.code), *sorted(set(heavy) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(typed)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        check=True,
    )
    ended = [line for line in done.stdout.splitlines() if line.startswith("ENDED")]
    assert ended == [f"ENDED {'--help' not in arguments}" for arguments, _ in typed]
    assert list(tmp_path.iterdir()) == [], "a mistake writes nothing"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["start", "--study", "quickstrt"], ["quickstrt", "quickstart"]),
        (["start", "--study", "quickstart", "--set", "recipe.epohcs=3"], ["epohcs", "epochs"]),
        (["start", "--study", "quickstart", "--set", "recipe.optimizer.name=adamm"], ["adamm", "adam or"]),
        (["start", "--study", "quickstart", "--set", "recipe.backbone=resnet5o"], ["resnet5o", "resnet50"]),
        (["start", "--study", "quickstart", "--set", "space.augment.sepai=[0.0, 0.1]"], ["sepai", "sepia"]),
        (["start", "--study", "aug_tuning"], ["--data", "RETABLE_DATA"]),
        (["start", "--study", "quickstart", "--storage", "mysql://a:secret@b/c"], ["mysql", "postgresql"]),
        (["start", "--study", "quickstart", "--gpus", "17"], ["17"]),
        (["worker", "--study", "quickstart"], ["search start"]),
        (["predict", "nowhere", "nothing"], ["nowhere"]),
        (["predict", "nowhere", ""], ["argument 3 is empty", "shell variable"]),
        (["predict", "nowhere", "nothing", "--output", "new/"], ["new/ is a folder by its ending", "new.csv"]),
        (["check", "--id-column="], ["argument 2 is empty"]),
        (["check", ".", "--output", "new/"], ["new.csv"]),
    ],
)
def test_mistakes_are_explained_on_stderr(run: Run, arguments: list[str], parts: list[str]) -> None:
    done = run(*arguments, code=2)
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr and "secret" not in done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("arguments", [["studies"], ["studies", "quickstart"], ["--help"], ["backbones"]])
def test_a_full_disk_is_no_bug(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "search.cli", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "error: the output cannot be written: no space left on device\n"


@pytest.mark.parametrize(
    ("code", "parts"),
    [(errno.ENOSPC, ["no space left", "free space on this disk"]), (errno.ENAMETOOLONG, ["too long", "a shorter one"])],
)
def test_errors_of_the_disk_are_no_bugs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int, parts: list[str]
) -> None:
    def fail() -> None:
        raise OSError(code, os.strerror(code), "model/weights/trial1.safetensors")

    monkeypatch.setattr(application, "app", fail)
    monkeypatch.setattr(sys, "argv", ["search", "export-best"])
    with pytest.raises(SystemExit) as ended:
        application.main()
    shown = capsys.readouterr().err
    assert ended.value.code == 2 and "bug" not in shown
    assert all(part in shown for part in (*parts, "model/weights/trial1.safetensors"))


@pytest.mark.parametrize("arguments", [["status"], ["check", "data"]])
def test_a_current_folder_that_is_removed_is_named(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "removed").mkdir()
    monkeypatch.chdir(tmp_path / "removed")
    (tmp_path / "removed").rmdir()
    monkeypatch.setattr(sys, "argv", ["search", *arguments])
    with pytest.raises(SystemExit) as ended:
        application.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the current folder does not exist any more: change to another one")


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "search.cli", "studies"]
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT, check=False
    )
    os.close(write)
    assert done.stderr == ""


def test_missing_pretrained_weights_are_named_before_anything_is_written(
    run: Run, competition_folder: Path, tmp_path: Path
) -> None:
    done = run("start", "--study", "aug_tuning", "--data", competition_folder, code=2)
    assert "tf_efficientnet_b4.ns_jft_in1k" in done.stderr and "recipe.init=scratch" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_refused_before_the_study_is_created(run: Run, study_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    done = run("start", "--study", study_file, "--data", folder, code=2)
    assert "known" in done.stderr
    assert not (tmp_path / "retable.db").exists()


def test_check_describes_a_folder(run: Run, competition_folder: Path) -> None:
    out = run("check", competition_folder, "--folds", "20").stdout
    for part in ("train.csv", "30", "'picture'", "red", "test images: 6", "fewer than the 20 folds", "shift: not"):
        assert part in out


def test_from_a_folder_of_images_to_a_submission_with_an_interruption(
    run: Run, competition_folder: Path, study_file: Path, tmp_path: Path
) -> None:
    # Enough epochs that the signal arrives before a fast machine has finished.
    study_file.write_text(STUDY.replace("epochs = 3", "epochs = 40"))
    command = ["start", "--study", str(study_file), "--data", str(competition_folder), "--trials", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "search.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
    ) as process:
        log = tmp_path / "retable" / ".cache" / "logs" / "colours" / "worker-0.log"
        wait_until(lambda: log.exists() and "trial 0: epoch 2 of 40" in log.read_text(), process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "interrupted" in output and "same command" in output

    stores = open_stores(f"sqlite:///{tmp_path / 'retable.db'}")
    study = stores.study(None)
    assert stores.trials.records(study.id) == []
    assert stores.workers.alive(1000) == [], "no worker outlives `start`"

    done = run(*command)
    assert "continues" in done.stdout
    assert "Continuing after epoch" in log.read_text(), "the trial went on from its checkpoint"
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH)
    assert [(r.number, r.status) for r in records] == [(0, TrialStatus.FINISHED), (1, TrialStatus.FINISHED)]
    assert records[0].attempt == 2 and records[0].epochs_done == 40
    out = tmp_path / "retable" / "colours"
    sample = list(csv.reader((competition_folder / "sample_submission.csv").open()))
    assert [row[0] for row in csv.reader((out / "submission.csv").open())] == [row[0] for row in sample]

    assert "2/2 trials" in run("status").stdout
    assert "optimizer.lr@adamw" in run("studies", "colours").stdout
    assert "colours" in run("studies").stdout
    run("folds", "--output", tmp_path / "f.csv")
    assert (tmp_path / "f.csv").read_text() == (out / "folds.csv").read_text()

    run("predict", out / "model", competition_folder / "test", "--output", tmp_path / "p.csv")
    predicted = {Path(row[0]).stem: row[2:] for row in list(csv.reader((tmp_path / "p.csv").open()))[1:]}
    for image, *cells in list(csv.reader((out / "test_proba.csv").open()))[1:]:
        assert [float(c) for c in predicted[image]] == pytest.approx([float(c) for c in cells], abs=1e-5)

    changed = run(*command, "--set", "recipe.batch_size=4", code=2)
    assert "batch_size: 8 -> 4" in changed.stderr


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], patience: float = 120.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert process.poll() is None, "the process ended too early"
        assert time.monotonic() < deadline, "not within two minutes"
        time.sleep(0.05)
