"""Overhead of a trial beside its training: workers that sleep instead of training, compared with plain Optuna.

    python -m benchmarks.fleet.overhead --database postgresql --workers 32 --earlier 1000 --sleep 60 --json fleet.json

Each cell of the matrix gets a copy of a database with earlier trials, and its own worker processes. Timing begins once
all workers are up. The overhead of a trial is the time from the moment its worker is free until it is free again, minus
the sleep.

Expected with 32 workers and 1,000 earlier trials on PostgreSQL: less than 2% of a trial of 60 s, and no more than plain
Optuna. No errors, no trial run twice, exactly the budget, fewer than 97 connections with 64 workers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import queue
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text

from benchmarks.fleet.databases import KINDS, Databases, PostgresServer, SqliteFiles, open_databases
from benchmarks.fleet.study import NAME, fill, prepare, write_images
from benchmarks.fleet.workers import Load, TrialBudget, WorkerReport, WorkerTask, run_worker
from benchmarks.machine import describe_machine, one_line, table
from search.study_setup.create_study import StudyPlan
from storage.database.connection import connect
from storage.stores import open_stores

CONTENDERS = ("retable", "optuna")
STAGES = ("take", "ask", "report", "store", "tell")
START_TIMEOUT = 1800.0  # seconds until all workers are up: 64 of them read 5,000 trials each, on two cores
POLL_INTERVAL = 0.2  # seconds between looks at the server's connections
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination of the matrix."""

    database: str
    contender: str
    workers: int
    earlier: int
    load: Load
    trials: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """Measurements of one cell; times in seconds."""

    cell: Cell
    finished: int
    """New trials that are complete in Optuna's tables, and for Retable also in its own."""
    duplicates: int
    """Trial numbers that several workers ran."""
    left_running: int
    errors: tuple[str, ...]
    warnings: int
    elapsed: float
    """From the start signal to the end of the last trial."""
    p50: float
    p95: float
    stages: dict[str, float]
    """Median of each part of the overhead."""
    cpu: float
    """Processor time of the workers per trial."""
    transactions: float | None
    """Transactions per trial, as PostgreSQL counts them; None for SQLite."""
    connections: int | None
    """Largest number of open connections; None for SQLite."""
    growth: float
    """Growth of the database per trial in MiB."""
    size: float
    """Final size of the database in MiB."""
    worker_memory: float
    """Peak memory of the largest worker in MiB."""
    torch: bool

    @property
    def rate(self) -> float:
        """Trials a second."""
        return self.finished / self.elapsed if self.elapsed else 0.0

    @property
    def is_exact(self) -> bool:
        """Whether exactly the planned trials ran, once each and without errors."""
        return (
            self.finished == self.cell.trials
            and not self.duplicates
            and not self.left_running
            and not self.errors
            and not self.torch
        )

    def row(self) -> dict[str, object]:
        """The cell as a row of the printed table."""
        return {
            "database": self.cell.database,
            "": self.cell.contender,
            "workers": self.cell.workers,
            "earlier": self.cell.earlier,
            "sleep s": f"{self.cell.load.sleep:g}",
            "trials/s": self.rate,
            "overhead p50 s": self.p50,
            "p95 s": self.p95,
            **{stage: f"{self.stages[stage]:.3f}" if stage in self.stages else "" for stage in STAGES},
            "CPU s": self.cpu,
            "transactions": "" if self.transactions is None else f"{self.transactions:.0f}",
            "connections": "" if self.connections is None else self.connections,
            "MiB a trial": f"{self.growth:.3f}",
            "errors": len(self.errors),
            "twice": self.duplicates,
            "finished": f"{self.finished} of {self.cell.trials}",
        }


@dataclass(frozen=True, kw_only=True)
class Site:
    """Databases and study plan of the cells."""

    databases: Databases
    study_plan: StudyPlan
    _templates: dict[int, str] = field(default_factory=dict)

    def template(self, earlier: int) -> str:
        """URL of a cached database with ``earlier`` trials, to be copied."""
        if earlier not in self._templates:
            url = self._templates[earlier] = self.databases.create()
            fill(url, self.study_plan, earlier)
            if isinstance(self.databases, PostgresServer):
                self.databases.vacuum(url)
        return self._templates[earlier]


@contextmanager
def open_site(kind: str, epochs: int) -> Iterator[Site]:
    """Databases of a kind, and the plan of the study that is created in them."""
    with tempfile.TemporaryDirectory(prefix="bench-fleet-") as name, open_databases(kind) as databases:
        folder = Path(name)
        study_plan = prepare(folder / f"{NAME}.toml", write_images(folder / "images"), epochs)
        yield Site(databases=databases, study_plan=study_plan)


def run_cell(cell: Cell, site: Site) -> Result:
    """Measure one cell on a database of its own."""
    databases = site.databases
    url = databases.copy(site.template(cell.earlier))
    try:
        _set_up(databases, url, cell)
        size = _size(url)
        server = databases if isinstance(databases, PostgresServer) else None
        before = server.transactions(url) if server else 0
        with tempfile.TemporaryDirectory(prefix="bench-home-") as home, _Connections(server, url) as connections:
            reports, began = _run_workers(cell, site, url, Path(home))
        cycles = [cycle for report in reports for cycle in report.cycles]
        after = server.transactions(url) if server else 0
        finished, running = _outcome(url, cell)
        overheads = [cycle.overhead for cycle in cycles] or [0.0]
        now = _size(url)
        return Result(
            cell=cell,
            finished=finished,
            duplicates=sum(count > 1 for count in Counter(cycle.number for cycle in cycles).values()),
            left_running=running,
            errors=tuple(error for report in reports for error in report.errors),
            warnings=sum(report.warnings for report in reports),
            elapsed=max((cycle.ended for cycle in cycles), default=began) - began,
            p50=float(np.percentile(overheads, 50)),
            p95=float(np.percentile(overheads, 95)),
            stages={
                stage: statistics.median(cycle.stages[stage] for cycle in cycles)
                for stage in STAGES
                if cycles and all(stage in cycle.stages for cycle in cycles)
            },
            cpu=sum(report.cpu for report in reports) / max(1, len(cycles)),
            transactions=(after - before) / cell.trials if server else None,
            connections=connections.peak if server else None,
            growth=(now - size) / MIB / cell.trials,
            size=now / MIB,
            worker_memory=max(report.peak for report in reports),
            torch=any(report.torch for report in reports),
        )
    finally:
        databases.drop(url)


def _run_workers(cell: Cell, site: Site, url: str, home: Path) -> tuple[list[WorkerReport], float]:
    """Run the workers to their end; their reports, and the monotonic time at which all were up."""
    context = multiprocessing.get_context("spawn")
    barrier, budget = context.Barrier(cell.workers + 1), TrialBudget(cell.trials)
    reports: multiprocessing.queues.Queue[WorkerReport] = context.Queue()
    processes: list[SpawnProcess] = []
    try:
        for index in range(cell.workers):
            task = WorkerTask(
                url=url,
                index=index,
                num_workers=cell.workers,
                load=cell.load,
                settings=site.study_plan.spec.search_settings,
                images=site.study_plan.folder,
                home=home,
            )
            arguments = (cell.contender, task, barrier, budget, reports, START_TIMEOUT)
            process = context.Process(target=run_worker, args=arguments, daemon=True)
            process.start()
            processes.append(process)
        while barrier.n_waiting < cell.workers and not barrier.broken:
            if any(process.exitcode is not None for process in processes):
                barrier.abort()
            time.sleep(0.05)
        with suppress(threading.BrokenBarrierError):
            barrier.wait()
        began = time.monotonic()
        return [_next_report(reports, processes) for _ in processes], began
    finally:
        for process in processes:
            process.join(timeout=30)
            process.kill()


def _next_report(
    reports: multiprocessing.queues.Queue[WorkerReport], processes: Sequence[SpawnProcess]
) -> WorkerReport:
    while True:
        try:
            return reports.get(timeout=5)
        except queue.Empty:
            if not any(process.is_alive() for process in processes):
                return WorkerReport(index=-1, errors=["a worker process died without a report"])


def _set_up(databases: Databases, url: str, cell: Cell) -> None:
    """Set Retable's budget; for plain Optuna, turn SQLite's write-ahead logging off, as Optuna has it."""
    if cell.contender == "retable":
        stores = open_stores(url)
        stores.studies.set_budget(stores.study(NAME).id, cell.earlier + cell.trials)
        stores.database.close()
    elif isinstance(databases, SqliteFiles):
        databases.without_wal(url)


def _outcome(url: str, cell: Cell) -> tuple[int, int]:
    """Numbers of new complete trials and of running ones; Retable's trials must be complete in both sets of tables."""
    database = connect(url)
    with database.reading() as connection:
        rows = connection.execute(text("SELECT number, state FROM trials ORDER BY number")).all()
        complete = {row.number for row in rows if row.state == "COMPLETE"}
        if cell.contender == "retable":
            stored = text("SELECT number FROM retable_trial t JOIN retable_work w ON w.id = t.work_id WHERE w.told")
            numbers = Counter(connection.execute(stored).scalars())
            complete &= {number for number, count in numbers.items() if count == 1}
    database.close()
    return len(complete) - cell.earlier, sum(row.state == "RUNNING" for row in rows)


def _size(url: str) -> int:
    database = connect(url)
    try:
        return database.size()
    finally:
        database.close()


class _Connections:
    """Polls the number of open connections to a database; `peak` is the largest."""

    def __init__(self, server: PostgresServer | None, url: str) -> None:
        self.peak = 0
        self._server, self._url = server, url
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Connections:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while self._server is not None and not self._done.wait(POLL_INTERVAL):
            self.peak = max(self.peak, self._server.connections(self._url))


def _numbers(kind: type[int] | type[float]) -> Callable[[str], list[Any]]:
    return lambda given: [kind(part) for part in given.split(",")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix and print it; 1 if any of Retable's cells is not exact."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet.overhead", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--database", choices=KINDS, action="append", help="repeatable; default: both")
    parser.add_argument("--contender", choices=CONTENDERS, action="append", help="repeatable; default: both")
    parser.add_argument("--workers", type=_numbers(int), default=[1, 8], help="such as 1,8,32,64")
    parser.add_argument("--earlier", type=_numbers(int), default=[100], help="earlier trials, such as 100,1000,5000")
    parser.add_argument("--sleep", type=_numbers(float), default=[0.0], help="seconds a trial sleeps, such as 0,0.2,2")
    parser.add_argument("--spread", type=float, default=0.25, help="trials sleep up to this part shorter or longer")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--trials-per-cell", type=int, default=100, help="and at least three a worker")
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    options = parser.parse_args(arguments)
    results: list[Result] = []
    versions = []
    for kind in options.database or KINDS:
        with open_site(kind, options.epochs) as site:
            versions.append(site.databases.version)
            for earlier, workers, sleep, contender in itertools.product(
                options.earlier, options.workers, options.sleep, options.contender or CONTENDERS
            ):
                cell = Cell(
                    database=kind,
                    contender=contender,
                    workers=workers,
                    earlier=earlier,
                    load=Load(sleep=sleep, spread=options.spread, epochs=options.epochs),
                    trials=max(options.trials_per_cell, 3 * workers),
                )
                results.append(run_cell(cell, site))
                print(table([results[-1].row()]).splitlines()[-1], file=sys.stderr, flush=True)
                for error in results[-1].errors:
                    print("  " + error.rstrip().rpartition("\n")[2], file=sys.stderr)
    machine = describe_machine(*versions)
    print(one_line(machine), table([result.row() for result in results]), sep="\n\n")
    if options.json:
        cells = [{**asdict(result), "rate": result.rate} for result in results]
        options.json.write_text(json.dumps({"machine": machine, "cells": cells}, indent=1))
    return 0 if all(result.is_exact for result in results if result.cell.contender == "retable") else 1


if __name__ == "__main__":
    # Servers and workers are put away on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
