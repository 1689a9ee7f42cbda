"""Programs run in forks of a process that has imported their libraries, where a new process imports for seconds.

A fork is a process of its own: with its own arguments, environment, working folder, output, signals and exit code.
It differs from a new one in what Python and libraries read when they are loaded, such as ``OMP_NUM_THREADS``: that is
of the server. Tests of the start of a process need a new one.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).parents[1]


class Program(TypedDict):
    """A program to run, and how."""

    function: str
    """Its entry point, ``MODULE:NAME``."""
    arguments: list[str]
    """``sys.argv``, with the program's name."""
    environment: dict[str, str]
    folder: str
    """The working folder."""
    output: str
    """File for standard output."""
    errors: str
    """File for standard error."""


class ForkServer:
    """A process that imports modules and then forks for each program."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        """
        Args:
            modules: to be imported before the first fork. None of them may use a GPU or start a thread.
        """
        self._modules, self.environment = list(modules), dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def run(
        self, function: str, arguments: Sequence[str], *, environment: Mapping[str, str], folder: Path, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end.

        Args:
            function: its entry point, ``MODULE:NAME``.
            arguments: ``sys.argv``, with the program's name.
            timeout: seconds.

        Raises:
            subprocess.TimeoutExpired: it was killed, with the server, which begins again with the next program.
        """
        with tempfile.TemporaryDirectory() as written:
            output, errors = Path(written) / "output", Path(written) / "errors"
            program: Program = {
                "function": function,
                "arguments": list(arguments),
                "environment": dict(environment),
                "folder": str(folder),
                "output": str(output),
                "errors": str(errors),
            }
            code = self._exit_code(program, timeout)
            return subprocess.CompletedProcess(list(arguments), code, output.read_text(), errors.read_text())

    def _exit_code(self, program: Program, timeout: float) -> int:
        process = self._process = self._process or subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", *self._modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=self.environment,
            cwd=ROOT,
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(program).encode() + b"\n")
        answers, _, _ = select.select([process.stdout], [], [], timeout)
        if not answers:
            self.close()
            raise subprocess.TimeoutExpired(program["arguments"], timeout)
        return int(process.stdout.readline())

    def close(self) -> None:
        """End the server, and a program that still runs."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None


def run(program: Program) -> None:
    """Make the properties of a new process those of this one, and run the program."""
    for path, stream in ((program["output"], sys.stdout), (program["errors"], sys.stderr)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, stream.fileno())
        os.close(file)
    os.environ.clear()
    os.environ.update(program["environment"])
    os.chdir(program["folder"])
    sys.argv = program["arguments"]
    module, _, name = program["function"].partition(":")
    getattr(importlib.import_module(module), name)()


def serve(lines: Iterable[str]) -> None:
    """Run the programs, one a line; answer each with its exit code."""
    for line in lines:
        # It ends as a new process does, but for what Python does at last: to take every imported library apart, which
        # takes longer than most programs run.
        process = get_context("fork").Process(target=run, args=(json.loads(line),))
        process.start()
        process.join()
        print(process.exitcode, flush=True)


if __name__ == "__main__":
    for each in sys.argv[1:]:
        importlib.import_module(each)
    gc.freeze()  # a collection in a fork need not look at what was imported, nor copy it
    serve(sys.stdin)
