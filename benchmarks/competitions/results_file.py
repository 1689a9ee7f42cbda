"""What is kept of a benchmark of competitions: every run, on disk as soon as it is done."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.competitions.scores import Run, run_row, summary_rows, verdicts
from benchmarks.competitions.small_competitions import SmallCompetition
from benchmarks.machine import describe_machine, one_line, table
from trainer.common.files import replacing


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the figures depend on. Stored with them: a run that is resumed has to have the same."""

    data: str
    study: str
    """Its whole content, with the overrides in effect."""
    first_seed: int
    minutes: float
    by_hand: bool
    default_first: bool


class Mistake(ValueError):
    """Options that cannot be meant so."""


class Book:
    """All runs so far, on disk after each."""

    def __init__(self, file: Path | None, settings: Settings, resume: bool) -> None:
        """
        Raises:
            Mistake: the file holds something else, or holds something and nobody said to go on with it.
        """
        self._file, self._settings = file, settings
        self.runs: list[Run] = []
        self.competitions: dict[int, SmallCompetition] = {}
        self._machines: list[dict[str, Any]] = []
        if resume and file is None:
            raise Mistake("--resume needs the --json file to go on with")
        if file is not None and file.exists():
            if not resume:
                raise Mistake(f"{file} exists; add --resume to go on with it, or name another file")
            self._read(file)
        machine = describe_machine()
        machine["command"] = " ".join(sys.argv)
        self._machines.append(machine)

    def _read(self, file: Path) -> None:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            stored = Settings(**content["settings"])
            self.runs = [Run(**run) for run in content["runs"]]
            self.competitions = {
                int(seed): SmallCompetition(
                    folder=Path(),
                    class_names=tuple(kept["class_names"]),
                    counts=np.array(kept["counts"], dtype=np.int64),
                    test_ids=tuple(kept["test_ids"].split()),
                    test_y=np.array(kept["test_y"].split(), dtype=np.int64),
                )
                for seed, kept in content["competitions"].items()
            }
            self._machines = list(content["machines"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise Mistake(f"{file} cannot be gone on with, it is no file of this benchmark: {error!r}") from error
        ours = dataclasses.asdict(self._settings)
        changed = [name for name, value in dataclasses.asdict(stored).items() if value != ours[name]]
        if changed:
            raise Mistake(f"{file} was begun with another {', another '.join(changed)}; name another file with --json")

    def run_of(self, seed: int, method: str) -> Run | None:
        """A run that is done; None where it is not."""
        return next((run for run in self.runs if (run.competition, run.method) == (seed, method)), None)

    def add(self, run: Run, competition: SmallCompetition) -> None:
        """Keep a run."""
        self.runs.append(run)
        self.competitions[run.competition] = competition
        if self._file is None:
            return
        content = {
            "machines": self._machines,
            "settings": dataclasses.asdict(self._settings),
            "competitions": {
                str(seed): {
                    "class_names": kept.class_names,
                    "counts": kept.counts.tolist(),
                    "test_ids": " ".join(kept.test_ids),
                    "test_y": " ".join(map(str, kept.test_y.tolist())),
                }
                for seed, kept in self.competitions.items()
            },
            "runs": [dataclasses.asdict(run) for run in self.runs],
        }
        with replacing(self._file) as scratch:
            scratch.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")

    def report(self, methods: Sequence[str]) -> str:
        """Everything in Markdown."""
        parts = [one_line(machine) for machine in self._machines[-1:]]
        parts += [table([run_row(run) for run in self.runs])]
        parts += [table(summary_rows(self.runs, methods, self.competitions))]
        parts += ["\n".join(verdicts(self.runs, self.competitions))]
        return "\n\n".join(part for part in parts if part)
