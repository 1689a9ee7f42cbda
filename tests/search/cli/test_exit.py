"""How the process ends: quickly, but not before threads, registered functions and output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import ENVIRONMENT

SCRIPT = """
import atexit, threading
from search.cli import __main__ as program, app

class Late:
    def __del__(self):
        print("taken apart")

def main():
    atexit.register(print, "registered")
    threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
    real()

late, real, app.main = Late(), app.main, main
program.run()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["status"], 2)])
def test_threads_and_registered_functions_end_before_the_process(
    arguments: list[str], code: int, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines()[-2:] == ["thread", "registered"], "and nothing is taken apart afterwards"
