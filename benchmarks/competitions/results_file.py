"""The JSON file of the competitions benchmark: every run, written as soon as it ends."""

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
    """Options that the results depend on. Stored with the runs; ``--resume`` needs the same ones."""

    data: str
    study: str
    """JSON of the study with all overrides."""
    first_seed: int
    minutes: float
    by_hand: bool
    default_first: bool


class UsageError(ValueError):
    """Invalid options, or an unusable results file."""


class ResultsFile:
    """All runs so far; `add` writes the file."""

    def __init__(self, file: Path | None, settings: Settings, resume: bool) -> None:
        """
        Raises:
            UsageError: the file exists and ``resume`` is false, or it is not a file of this benchmark and settings.
        """
        self._file, self._settings = file, settings
        self.runs: list[Run] = []
        self.competitions: dict[int, SmallCompetition] = {}
        self._machines: list[dict[str, Any]] = []
        if resume and file is None:
            raise UsageError("--resume needs the --json file to continue")
        if file is not None and file.exists():
            if not resume:
                raise UsageError(f"{file} exists; add --resume to continue it, or name another file")
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
            raise UsageError(f"{file} cannot be continued, it is no file of this benchmark: {error!r}") from error
        ours = dataclasses.asdict(self._settings)
        changed = [name for name, value in dataclasses.asdict(stored).items() if value != ours[name]]
        if changed:
            raise UsageError(
                f"{file} was begun with another {', another '.join(changed)}; name another file with --json"
            )

    def find(self, seed: int, method: str) -> Run | None:
        """The run of a method on a competition; None if it is missing."""
        return next((run for run in self.runs if (run.competition, run.method) == (seed, method)), None)

    def add(self, run: Run, competition: SmallCompetition) -> None:
        """Add a run and write the file."""
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
        """All tables and goals in Markdown."""
        parts = [one_line(machine) for machine in self._machines[-1:]]
        parts += [table([run_row(run) for run in self.runs])]
        parts += [table(summary_rows(self.runs, methods, self.competitions))]
        parts += ["\n".join(verdicts(self.runs, self.competitions))]
        return "\n\n".join(part for part in parts if part)
