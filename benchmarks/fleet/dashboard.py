"""How long the pages of Optuna Dashboard take for a study with Retable's attributes, note and pictures.

    python -m benchmarks.fleet.dashboard --trials 100,1000,5000 --json dashboard.json

A SQLite database gets a study of finished trials with 13 parameters, four epochs and all attributes that Retable sets,
learning curves of the five best, and the note. `search dashboard` serves it. Requests are those of a browser that opens
the list of studies, then the study.

Expected at 1,000 trials: less than 2 s for the first page and for the page of the study, the first visit included.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages._rdb import models
from sqlalchemy import insert

from benchmarks.fleet.study import NAME, fill, outcome, prepare, write_images
from benchmarks.machine import describe_machine, one_line, table
from search.report.dashboard.access import TOKEN_VARIABLE
from search.report.dashboard.publish import BEST, CURVES, publish_state
from search.runtime.home import Home
from search.study_state.snapshot import read_snapshot
from search.tracking.learning_curves import draw_curves
from search.tuning.report_to_optuna import attributes_of
from storage.artifacts import ArtifactFolder
from storage.optuna_storage.optuna_trials import trial_id_of
from storage.optuna_storage.trial_artifacts import attach_artifact
from storage.stores import Stores, open_stores

EPOCHS = 4
TOKEN = "benchmark-of-the-dashboard"  # noqa: S105 - of a server that ends with the benchmark
PAGES = {
    "list": ("/dashboard", "/api/meta", "/api/studies"),
    "study": ("/dashboard/studies/1", "/api/meta", "/api/studies/1?after=0", "/api/studies/1/param_importances"),
    "update": ("/api/studies/1?after={trials}",),
}
"""Requests of each page, without the dashboard's own scripts, which a browser keeps: ``update`` every ten seconds."""


def build(url: str, home: Home, folder: Path, trials: int) -> float:
    """Write the study, its attributes and pictures. Returns the seconds that writing the note took."""
    fill(url, prepare(folder / f"{NAME}.toml", write_images(folder / "images"), EPOCHS), trials)
    stores = open_stores(url)
    _add_attributes(stores)
    snapshot = read_snapshot(stores, NAME)
    study = stores.optuna_study(NAME)
    for candidate in snapshot.ranking[:BEST]:
        picture = folder / CURVES
        curves = outcome(candidate.value, EPOCHS, 60.0, candidate.number).curves
        draw_curves(picture, title=f"{NAME}: trial {candidate.number}", metric=snapshot.metric, curves=curves)
        attach_artifact(study, candidate.number, ArtifactFolder(home.artifacts).pictures(), picture)
    began = time.perf_counter()
    publish_state(stores, snapshot, home)
    seconds = time.perf_counter() - began
    stores.database.close()
    return seconds


def _add_attributes(stores: Stores) -> None:
    study = stores.optuna_study(NAME)
    stored = stores.study(NAME)
    rows = [
        {"trial_id": trial_id_of(study, record.number or 0), "key": key, "value_json": json.dumps(value)}
        for record in stores.trials.records(stored.id)
        for key, value in attributes_of(record, "accuracy").items()
    ]
    with stores.database.writing() as connection:
        connection.execute(insert(models.TrialUserAttributeModel), rows)


@contextmanager
def served(url: str, home: Home) -> Iterator[tuple[str, int]]:
    """Run `search dashboard`: the address and the process id of the server."""
    options = ["--storage", url, "--home", str(home.root), "--port", "0"]
    command = [sys.executable, "-m", "search.cli", "dashboard", *options]
    environment = {**os.environ, TOKEN_VARIABLE: TOKEN}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        found = re.search(r"http://\S+(?=/dashboard)", server.stdout.readline())
        try:
            assert found is not None, "the server prints its address"
            yield found[0], server.pid
        finally:
            server.terminate()


def _cpu_seconds(process: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def visit(server: tuple[str, int], paths: Sequence[str], trials: int) -> tuple[float, float, int]:
    """Seconds, seconds of the server's processor and bytes of some requests, one after the other."""
    address, process = server
    began, used, size = time.perf_counter(), _cpu_seconds(process), 0
    for path in paths:
        request = urllib.request.Request(  # noqa: S310 - our own server
            address + path.format(trials=trials), headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
            size += len(answer.read())
    return time.perf_counter() - began, _cpu_seconds(process) - used, size


def measure(trials: int) -> dict[str, Any]:
    """Build and visit a study of this many trials."""
    with tempfile.TemporaryDirectory(prefix="retable-") as name:
        folder, home = Path(name), Home(root=Path(name) / "home")
        url = f"sqlite:///{folder / 'dashboard.db'}"
        row: dict[str, Any] = {"trials": trials, "note written s": build(url, home, folder, trials)}
        with served(url, home) as server:
            for page, paths in PAGES.items():
                first, used, size = visit(server, paths, trials)
                again = min(visit(server, paths, trials)[0] for _ in range(3))
                row |= {f"{page} first s": first, f"{page} first CPU s": used}
                row |= {f"{page} again s": again, f"{page} MB": size / 1e6}
        return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a page of a study with up to 1,000 trials takes 2 s or more."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet.dashboard", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--trials", type=lambda text: [int(part) for part in text.split(",")], default=[100, 1000])
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    options = parser.parse_args(arguments)
    rows = [measure(trials) for trials in options.trials]
    machine = describe_machine("SQLite")
    print(one_line(machine), table(rows), sep="\n\n")
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    return int(any(row["trials"] <= 1000 and max(row["list first s"], row["study first s"]) >= 2.0 for row in rows))


if __name__ == "__main__":
    sys.exit(main())
