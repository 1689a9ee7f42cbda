"""Retable on a competition, by its command line, with local workers, SQLite and a home folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.runtime.home import Home
from storage.records.exports import ExportRecord
from storage.stores import open_stores
from storage.values import TrialStatus, WorkKind
from trainer.formats.delimited import read_table

NAME = "competition"
MIN_HOURS = 0.01
"""Smallest value of `search start --hours`."""
TRIALS = 10_000  # so many that the deadline ends the search
WORKERS = 2  # one for each core, as many as the rivals' processes
START_UP = 120.0  # seconds at most before its clock starts
DEADLINE_GRACE = 300.0  # seconds after the deadline at which it is killed
TERMINATION_TIMEOUT = 5.0  # seconds between the signals that end it
LOG_TAIL = 2000  # characters
ROOT = Path(__file__).parents[2]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that override Retable's own number of threads; they are not passed on."""


@dataclass(frozen=True, kw_only=True)
class RetableOutcome:
    """Submission, forecast and trials of one run."""

    ids: tuple[str, ...]
    """Test ids of the submission; empty without one."""
    names: tuple[str, ...]
    """Predicted class of each id."""
    expected: float | None
    """Expected score of the forecast, else the score of the model, else of the best trial."""
    forecast: dict[str, Any] | None
    """The stored forecast: expected, low, high, level."""
    trials: int
    finished: int
    seconds: float
    notes: dict[str, Any]


def command(study: str, overrides: Sequence[str], data: Path, work_dir: Path, *, hours: float, seed: int) -> list[str]:
    """The command `search start`, as a user would type it."""
    return [
        *(sys.executable, "-m", "search.cli", "start"),
        *("--study", study, "--name", NAME, "--data", str(data)),
        *("--storage", _url(work_dir), "--home", str(work_dir / "home")),
        *("--hours", f"{hours:.6f}", "--trials", str(TRIALS), "--workers", str(WORKERS)),
        *(part for text in (f"search.seed={seed}", *overrides) for part in ("--set", text)),
    ]


def run_retable(
    study: str, overrides: Sequence[str], data: Path, work_dir: Path, *, hours: float, seed: int
) -> RetableOutcome:
    """Search, confirm and export, then read the outcome. The output goes to `log_of` ``work_dir``."""
    work_dir.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    environment = {name: value for name, value in environment.items() if not name.startswith("RETABLE_")}
    arguments = command(study, overrides, data, work_dir, hours=hours, seed=seed)
    begun = time.time()
    with log_of(work_dir).open("wb") as log:
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(START_UP + hours * 3600 + DEADLINE_GRACE)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    ended = time.time()
    return read_outcome(work_dir, begun=begun, ended=ended, code=code, arguments=arguments)


def read_outcome(
    work_dir: Path, *, begun: float, ended: float, code: int | None, arguments: Sequence[str]
) -> RetableOutcome:
    """Read the database and the export's folder; without an export, the provisional submission.

    Args:
        begun: Unix time of the launch.
        ended: Unix time of the exit.
        code: exit code; None: it was killed.
    """
    notes: dict[str, Any] = {"command": " ".join(arguments), "exit_code": code}
    ids, names = _submission(Home(root=work_dir / "home").exports(NAME) / "submission.csv")
    export: ExportRecord | None = None
    statuses: list[TrialStatus] = []
    best: float | None = None
    if (work_dir / "retable.db").exists():
        stores = open_stores(_url(work_dir))
        stored = stores.studies.find(NAME)
        if stored is not None:
            export = next(reversed(stores.exports.all(stored.id)), None)
            records = stores.trials.records(stored.id)
            statuses = [record.status for record in records if record.kind is WorkKind.SEARCH]
            values = [r.value for r in records if r.kind is WorkKind.SEARCH and r.status is TrialStatus.FINISHED]
            best = max((value for value in values if value is not None), default=None)
            for kind in WorkKind:
                notes[f"{kind}_seconds"] = sum(record.seconds for record in records if record.kind is kind)
                notes[f"{kind}_items"] = sum(record.kind is kind for record in records)
            if stored.deadline is not None:
                notes["start_up"] = stored.deadline - float(arguments[arguments.index("--hours") + 1]) * 3600 - begun
                notes["late"] = ended - stored.deadline
        stores.database.close()
    notes["best_seen"] = best
    notes["provisional"] = export is None
    if export is not None:
        notes |= {"score": export.score, "score_error": export.score_se, "export": export.notes}
    forecast = None if export is None else export.forecast
    reported = [(forecast or {}).get("expected"), None if export is None else export.score, best]
    return RetableOutcome(
        ids=ids,
        names=names,
        expected=next((float(number) for number in reported if isinstance(number, int | float)), None),
        forecast=forecast,
        trials=len(statuses),
        finished=statuses.count(TrialStatus.FINISHED),
        seconds=ended - begun,
        notes=notes,
    )


def log_of(work_dir: Path) -> Path:
    """Log file of Retable or of a rival."""
    return work_dir / "printed.log"


def log_tail(work_dir: Path) -> str:
    """The end of the log; empty if there is none."""
    log = log_of(work_dir)
    return log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:] if log.exists() else ""


def _url(work_dir: Path) -> str:
    return f"sqlite:///{work_dir / 'retable.db'}"


def _submission(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids and labels; empty without a submission."""
    if not path.exists():
        return (), ()
    ids, names = zip(*read_table(path).rows[1:], strict=True)
    return tuple(ids), tuple(names)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its workers. Workers have sessions of their own; the second signal ends them."""
    for _ in range(2):
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(TERMINATION_TIMEOUT)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
