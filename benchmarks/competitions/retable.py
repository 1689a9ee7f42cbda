"""Retable itself on a competition, as a user gets it: the command line, its own workers, SQLite, a home of its own."""

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
LEAST_HOURS = 0.01
"""That `search start --hours` takes."""
TRIALS = 10_000  # so that the time decides
WORKERS = 2  # as many as the rivals have processes: one to a core
START_UP = 120.0  # seconds that it may take before its clock starts
LATENESS = 300.0  # seconds after its deadline at which it is ended by force
FAREWELL = 5.0  # seconds between asking it to end and telling it
LAST_WORDS = 2000  # characters
ROOT = Path(__file__).parents[2]
OF_A_PERSON = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that change how many threads it uses by itself; they are not passed on."""


@dataclass(frozen=True, kw_only=True)
class RetableOutcome:
    """What it left behind."""

    ids: tuple[str, ...]
    """Of its submission; empty where there is none."""
    names: tuple[str, ...]
    """Predicted classes, one an id."""
    expected: float | None
    """Its forecast, else the score of its model, else of its best trial."""
    forecast: dict[str, Any] | None
    """As it is stored: expected, low, high, level."""
    trials: int
    finished: int
    seconds: float
    notes: dict[str, Any]


def command(study: str, overrides: Sequence[str], data: Path, place: Path, *, hours: float, seed: int) -> list[str]:
    """What a user types."""
    return [
        *(sys.executable, "-m", "search.cli", "start"),
        *("--study", study, "--name", NAME, "--data", str(data)),
        *("--storage", _url(place), "--home", str(place / "home")),
        *("--hours", f"{hours:.6f}", "--trials", str(TRIALS), "--workers", str(WORKERS)),
        *(part for text in (f"search.seed={seed}", *overrides) for part in ("--set", text)),
    ]


def run_retable(
    study: str, overrides: Sequence[str], data: Path, place: Path, *, hours: float, seed: int
) -> RetableOutcome:
    """Search, confirm and export, and read what came out. What it prints goes to `log_of` the place."""
    place.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name not in OF_A_PERSON}
    environment = {name: value for name, value in environment.items() if not name.startswith("RETABLE_")}
    typed = command(study, overrides, data, place, hours=hours, seed=seed)
    begun = time.time()
    with log_of(place).open("wb") as log:
        process = subprocess.Popen(
            typed, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(START_UP + hours * 3600 + LATENESS)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    ended = time.time()
    return read_outcome(place, begun=begun, ended=ended, code=code, typed=typed)


def read_outcome(place: Path, *, begun: float, ended: float, code: int | None, typed: Sequence[str]) -> RetableOutcome:
    """What lies in the database and in the export's folder; the provisional submission where there is no export.

    Args:
        begun: when it was launched, in Unix seconds, and when it had ended.
        code: its exit code; None: it was ended by force.
    """
    notes: dict[str, Any] = {"command": " ".join(typed), "exit_code": code}
    ids, names = _submission(Home(root=place / "home").exports(NAME) / "submission.csv")
    export: ExportRecord | None = None
    statuses: list[TrialStatus] = []
    best: float | None = None
    if (place / "retable.db").exists():
        stores = open_stores(_url(place))
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
                notes["start_up"] = stored.deadline - float(typed[typed.index("--hours") + 1]) * 3600 - begun
                notes["late"] = ended - stored.deadline
        stores.database.close()
    notes["best_seen"] = best
    notes["provisional"] = export is None
    if export is not None:
        notes |= {"score": export.score, "score_error": export.score_se, "export": export.notes}
    forecast = None if export is None else export.forecast
    told = [(forecast or {}).get("expected"), None if export is None else export.score, best]
    return RetableOutcome(
        ids=ids,
        names=names,
        expected=next((float(number) for number in told if isinstance(number, int | float)), None),
        forecast=forecast,
        trials=len(statuses),
        finished=statuses.count(TrialStatus.FINISHED),
        seconds=ended - begun,
        notes=notes,
    )


def log_of(place: Path) -> Path:
    """What is printed there, by Retable or by a rival."""
    return place / "printed.log"


def last_words(place: Path) -> str:
    """The end of it; empty where nothing was printed."""
    log = log_of(place)
    return log.read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:] if log.exists() else ""


def _url(place: Path) -> str:
    return f"sqlite:///{place / 'retable.db'}"


def _submission(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids and labels; empty where there is no submission."""
    if not path.exists():
        return (), ()
    ids, names = zip(*read_table(path).rows[1:], strict=True)
    return tuple(ids), tuple(names)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what still runs, its workers too, which have sessions of their own: the second signal takes them along."""
    for _ in range(2):
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(FAREWELL)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
