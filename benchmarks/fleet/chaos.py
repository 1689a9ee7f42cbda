"""Crash test: trials run exactly once and unchanged while workers are killed and the database server restarts.

    python -m benchmarks.fleet.chaos --database postgresql --trials 200 --workers 8 --json chaos.json

Worker processes train the small competition of the tests, on recipes that wait in Optuna's queue. Every few seconds, a
random worker is killed with SIGKILL and restarted, as on a cluster. A PostgreSQL server is restarted twice: once with
``-m fast`` and without a pause, once with ``-m immediate`` (like a crash) and a pause longer than a lease.

Expected: every trial ran once, exactly the budget. Retable's records and Optuna's trials agree, and none is left
running. Values, curves and predictions equal, bit for bit, those of the same recipes trained undisturbed in one
process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.fleet.chaos_check import Verdict, compare
from benchmarks.fleet.databases import KINDS, PostgresServer, open_databases
from benchmarks.machine import describe_machine, one_line, table
from search.runtime.process_names import full_name, new_suffix
from search.runtime.worker_environment import SUFFIX_VARIABLE
from search.study_setup.create_study import create_study
from search.study_state.study import Study
from search.tuning.suggest import sample
from storage.database.outages import OUTAGE_TIMEOUT
from storage.queue.items import HeldItem
from storage.stores import Stores, open_stores
from storage.values import StudyState, WorkKind, WorkState

RESTARTS = (("fast", 0.0), ("immediate", 15.0))
"""Mode of each stop of the server, and the pause in seconds; evenly spaced over the trials."""
POLL_INTERVAL = 0.5  # seconds
PROGRESS_INTERVAL = 30.0  # seconds between lines on the terminal
EXIT_TIMEOUT = 120.0  # seconds for workers to exit at the end


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings of one crash test."""

    trials: int
    workers: int
    kill_every: float
    """Mean time between kills in seconds; 0: no kills."""
    kills: int | None
    """Most kills; None: no limit."""
    lease: float
    """Duration of a lease in seconds."""
    seed: int
    limit: float
    """Time limit of the test in seconds."""
    pruner: str = "none"
    """As in a study file. Promotion pauses trials after each epoch."""


@dataclass(kw_only=True)
class Events:
    """Kills, restarts and exits during the test."""

    kills: int = 0
    in_training: int = 0
    """Kills of workers that held a trial."""
    restarts: list[str] = field(default_factory=list)
    exits: dict[int, int] = field(default_factory=dict)
    """Number of workers that exited with an error, by exit code."""
    seconds: float = 0.0
    complete: bool = False
    """Whether all trials ended within the time limit."""


class WorkerProcesses:
    """Worker processes that are killed at random and restarted."""

    def __init__(self, plan: Plan, url: str, data: Path, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._command = [
            *(sys.executable, "-m", "search.cli", "worker", "--storage", url, "--data", str(data)),
            *("--home", str(folder / "home"), "--lease", f"{plan.lease:g}", "--stay"),
        ]
        self._rng = random.Random(plan.seed)  # noqa: S311 - no secret
        self._suffix = new_suffix()
        self._workers: list[subprocess.Popen[bytes]] = []
        self._next_kill = 0.0
        self.events = Events()

    @property
    def logs(self) -> list[Path]:
        """Log file of each worker."""
        return [self._folder / f"worker-{index}.log" for index in range(self._plan.workers)]

    def __enter__(self) -> WorkerProcesses:
        self._workers = [self._start(index) for index in range(self._plan.workers)]
        self._schedule_kill()
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self._workers:
            worker.terminate()
        deadline = time.monotonic() + EXIT_TIMEOUT
        for worker in self._workers:
            try:
                worker.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
            self._note_exit(worker.wait())

    def poll(self, held: Callable[[], Sequence[HeldItem]]) -> None:
        """Restart workers that have ended; kill one if a kill is due.

        Args:
            held: reads the work items that workers hold now.
        """
        for index, worker in enumerate(self._workers):
            code = worker.poll()
            if code is not None:
                self._note_exit(code)
                self._workers[index] = self._start(index)
        enough = self._plan.kills is not None and self.events.kills >= self._plan.kills
        if self._plan.kill_every and not enough and time.monotonic() >= self._next_kill:
            self._kill(self._victim(held), held)
            self._schedule_kill()

    def _victim(self, held: Callable[[], Sequence[HeldItem]]) -> int:
        """Draw a worker; every other time one that holds a trial, because most of the others are still starting."""
        all_places = range(len(self._workers))
        busy = [index for index in all_places if self._has_trial(index, held)] if self.events.kills % 2 else []
        return self._rng.choice(busy or all_places)

    def _has_trial(self, index: int, held: Callable[[], Sequence[HeldItem]]) -> bool:
        name = full_name(self._workers[index].pid, self._suffix)
        return any(item.worker == name and item.trial_number is not None for item in held())

    def _kill(self, index: int, held: Callable[[], Sequence[HeldItem]]) -> None:
        worker = self._workers[index]
        # Suspended first, so that it holds the same item when it dies.
        worker.send_signal(signal.SIGSTOP)
        hit = self._has_trial(index, held)
        worker.kill()
        worker.wait()
        self.events.kills += 1
        self.events.in_training += hit
        self._workers[index] = self._start(index)

    def _schedule_kill(self) -> None:
        self._next_kill = time.monotonic() + self._plan.kill_every * self._rng.uniform(0.5, 1.5)

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "NO_ALBUMENTATIONS_UPDATE": "1",
            SUFFIX_VARIABLE: self._suffix,
        }
        with self.logs[index].open("ab") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)

    def _note_exit(self, code: int) -> None:
        if code:
            self.events.exits[code] = self.events.exits.get(code, 0) + 1


def begin_study(stores: Stores, folder: Path, plan: Plan) -> Study:
    """Create the study: trial 0 is the default recipe, and random recipes wait in Optuna's queue."""
    import optuna

    from tests.search.small_study import STUDY, study_plan, write_competition

    study_file = folder / "colours.toml"
    study_file.write_text(STUDY)
    (folder / "data").mkdir()
    rungs = ("search.reduction_factor=2", "search.last_rung=1.0") if plan.pruner == "promotion" else ()
    overrides = (f"search.pruner={plan.pruner}", *rungs)
    begun = study_plan(study_file, write_competition(folder / "data"), *overrides, budget=plan.trials)
    stored = create_study(stores, begun)
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=plan.seed))
    queue = stores.optuna_study(stored.name)
    for _ in range(plan.trials - 1):
        trial = drawn.ask()
        sample(trial, begun.spec)
        queue.enqueue_trial(trial.params)
    return stored


def run_until_done(
    processes: WorkerProcesses, stores: Stores, stored: Study, plan: Plan, server: PostgresServer | None
) -> None:
    """Kill workers and restart the server until all trials have ended or the time limit passes."""
    begun, next_progress = time.monotonic(), 0.0
    restarts = list(RESTARTS) if server is not None else []
    marks = [plan.trials * (k + 1) // (len(restarts) + 1) for k in range(len(restarts))]
    while True:
        done = stores.trials.count(stored.id, WorkKind.SEARCH)
        over = not stores.queue.may_begin(stored.id) and not _open_items(stores, stored)
        processes.events.seconds = time.monotonic() - begun
        processes.events.complete = over and done >= plan.trials
        if over or processes.events.seconds > plan.limit:
            return
        if restarts and server is not None and done >= marks[0]:
            mode, downtime = restarts.pop(0)
            marks.pop(0)
            server.restart(mode, downtime)
            processes.events.restarts.append(f"{mode}, away for {downtime:g} s, after {done} trials")
        processes.poll(lambda: stores.queue.held(stored.id))
        if time.monotonic() >= next_progress:
            next_progress = time.monotonic() + PROGRESS_INTERVAL
            print(
                f"{processes.events.seconds:5.0f} s: {done} trials done, {processes.events.kills} kills",
                file=sys.stderr,
            )
        time.sleep(POLL_INTERVAL)


def _open_items(stores: Stores, stored: Study) -> bool:
    """Whether any work item is queued, running, paused, or not yet reported to Optuna."""
    if stores.studies.state(stored.id) is not StudyState.RUNNING:
        return False
    counts = stores.queue.counts(stored.id)[WorkKind.SEARCH]
    items = counts[WorkState.QUEUED] + counts[WorkState.LEASED] + stores.queue.count_paused(stored.id)
    return bool(items or stores.queue.unreported(stored.id))


@contextmanager
def _database(kind: str) -> Iterator[tuple[str, str, PostgresServer | None]]:
    """URL and release of a new database, and its PostgreSQL server, if any."""
    with open_databases(kind) as databases:
        server = databases if isinstance(databases, PostgresServer) else None
        yield databases.create(), databases.version, server


def run(kind: str, plan: Plan, keep: Path | None = None) -> tuple[Events, Verdict, str]:
    """Run the benchmark on one kind of database; events, verdict, and the database's release.

    Args:
        keep: an existing folder for data, home and logs; None: a temporary one.
    """
    with tempfile.TemporaryDirectory(prefix="bench-chaos-") as name, _database(kind) as (url, version, server):
        folder = keep or Path(name)
        stores = open_stores(url, create=True, outage_timeout=OUTAGE_TIMEOUT)
        stored = begin_study(stores, folder, plan)
        with WorkerProcesses(plan, url, folder / "data", folder) as processes:
            run_until_done(processes, stores, stored, plan, server)
        verdict = compare(stores, stored, folder / "data", folder / "reference", processes.logs)
        stores.database.close()
        return processes.events, verdict, version


def rows(kind: str, plan: Plan, events: Events, verdict: Verdict) -> list[dict[str, object]]:
    """The result as rows of a table."""
    facts: dict[str, object] = {
        "database": kind,
        "trials": f"{verdict.finished} finished and {verdict.pruned} pruned of {plan.trials}, {verdict.failed} failed",
        "workers": plan.workers,
        "kills": f"{events.kills}, of these {events.in_training} with a trial in hand",
        "restarts of the server": "; ".join(events.restarts) or "none",
        "adoptions": f"{verdict.adoptions}, at most {verdict.most_attempts} attempts on one trial",
        "records and Optuna's trials": "agree" if verdict.agree else "DISAGREE",
        "left running": verdict.left_running,
        "other recipes than enqueued": verdict.other_recipes,
        "not equal to undisturbed": f"{len(verdict.unequal)} of {verdict.compared}",
        "workers that ended with an error": sum(events.exits.values()),
        "tracebacks in logs": verdict.tracebacks,
        "seconds": round(events.seconds),
    }
    return [{"": name, "measured": value} for name, value in facts.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print the result; 1 if a trial was lost, ran twice or changed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet.chaos", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--database", choices=KINDS, default="postgresql")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--kill-every", type=float, default=8.0, help="seconds on average; 0: never")
    parser.add_argument("--kills", type=int, help="most kills; default: no limit")
    parser.add_argument("--lease", type=float, default=10.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=3600.0, help="time limit in seconds")
    parser.add_argument("--pruner", choices=("none", "promotion"), default="none", help="of the study")
    parser.add_argument("--keep", type=Path, help="an existing folder for data, home and logs, to look at afterwards")
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    options = parser.parse_args(arguments)
    plan = Plan(
        trials=options.trials,
        workers=options.workers,
        kill_every=options.kill_every,
        kills=options.kills,
        lease=options.lease,
        seed=options.seed,
        limit=options.limit,
        pruner=options.pruner,
    )
    events, verdict, version = run(options.database, plan, options.keep)
    machine = describe_machine(version)
    print(one_line(machine), table(rows(options.database, plan, events, verdict)), sep="\n\n")
    for problem in (*verdict.unequal, *verdict.last_words):
        print(problem, file=sys.stderr)
    if options.json:
        measured = {"plan": asdict(plan), "events": asdict(events), "verdict": asdict(verdict)}
        options.json.write_text(json.dumps({"machine": machine, **measured}, indent=1))
    return 0 if events.complete and verdict.is_clean(plan.trials) else 1


if __name__ == "__main__":
    # Exit handlers end servers and workers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
