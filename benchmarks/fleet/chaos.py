"""Real trials while workers are killed and the database server restarts: nothing lost, nothing twice, nothing changed.

    python -m benchmarks.fleet.chaos --database postgresql --trials 200 --workers 8 --json chaos.json

Worker processes train the little competition of the tests, from recipes that wait in Optuna's queue. Every few seconds
one of them, drawn at random, is killed with SIGKILL and started again at once, as a cluster would. A PostgreSQL server
is stopped and started twice in the middle: once with ``-m fast`` and up again at once, once with ``-m immediate`` (as
good as a crash) and away for longer than a lease.

Expected: every trial done once, exactly the budget; our records and Optuna's trials agree, and none is left running;
values, curves and predictions equal, bit for bit, those of the same recipes trained undisturbed in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
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
from search.runtime.heartbeat import name_prefix
from search.study_setup.create_study import create_study
from search.study_state.study import Study
from search.tuning.suggest import sample
from storage.database.outages import OUTAGE_TIMEOUT
from storage.queue.items import HeldItem
from storage.stores import Stores, open_stores
from storage.values import StudyState, WorkKind, WorkState

RESTARTS = (("fast", 0.0), ("immediate", 15.0))
"""How the server is stopped and for how many seconds, each time; evenly divided over the trials."""
POLL_INTERVAL = 0.5  # seconds
NEWS_INTERVAL = 30.0  # seconds between lines on the terminal
FAREWELL = 120.0  # seconds that workers have to leave in the end


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to happen."""

    trials: int
    workers: int
    kill_every: float
    """Seconds on average; 0: nobody is killed."""
    kills: int | None
    """At most so many."""
    lease: float
    """Seconds."""
    seed: int
    limit: float
    """Seconds after which it is given up."""


@dataclass(kw_only=True)
class Events:
    """What happened."""

    kills: int = 0
    in_training: int = 0
    """Kills that hit a worker with a trial in its hands."""
    restarts: list[str] = field(default_factory=list)
    exits: dict[int, int] = field(default_factory=dict)
    """How many workers ended by themselves with an error, by exit code."""
    seconds: float = 0.0
    complete: bool = False
    """Whether all trials ended within the limit."""


class Storm:
    """Worker processes that are killed at random and started again."""

    def __init__(self, plan: Plan, url: str, data: Path, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._command = [
            *(sys.executable, "-m", "search.cli", "worker", "--storage", url, "--data", str(data)),
            *("--home", str(folder / "home"), "--lease", f"{plan.lease:g}", "--stay"),
        ]
        self._rng = random.Random(plan.seed)  # noqa: S311 - no secret
        self._workers: list[subprocess.Popen[bytes]] = []
        self._next_kill = 0.0
        self.events = Events()

    @property
    def logs(self) -> list[Path]:
        """What the workers print, a file a place."""
        return [self._folder / f"worker-{place}.log" for place in range(self._plan.workers)]

    def __enter__(self) -> Storm:
        self._workers = [self._start(place) for place in range(self._plan.workers)]
        self._put_off()
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self._workers:
            worker.terminate()
        deadline = time.monotonic() + FAREWELL
        for worker in self._workers:
            try:
                worker.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
            self._note_exit(worker.wait())

    def poll(self, held: Callable[[], Sequence[HeldItem]]) -> None:
        """Start again who has ended; kill one when it is time.

        Args:
            held: who works on what at this moment.
        """
        for place, worker in enumerate(self._workers):
            code = worker.poll()
            if code is not None:
                self._note_exit(code)
                self._workers[place] = self._start(place)
        enough = self._plan.kills is not None and self.events.kills >= self._plan.kills
        if self._plan.kill_every and not enough and time.monotonic() >= self._next_kill:
            self._kill(self._victim(held), held)
            self._put_off()

    def _victim(self, held: Callable[[], Sequence[HeldItem]]) -> int:
        """Any worker; every other time one with a trial in its hands, as most of the others are still starting."""
        everybody = range(len(self._workers))
        busy = [place for place in everybody if self._has_trial(place, held)] if self.events.kills % 2 else []
        return self._rng.choice(busy or everybody)

    def _has_trial(self, place: int, held: Callable[[], Sequence[HeldItem]]) -> bool:
        prefix = name_prefix(socket.gethostname(), self._workers[place].pid)
        return any(item.worker.startswith(prefix) and item.trial_number is not None for item in held())

    def _kill(self, place: int, held: Callable[[], Sequence[HeldItem]]) -> None:
        worker = self._workers[place]
        # Stopped first, so that what it holds now is what it holds when it dies.
        worker.send_signal(signal.SIGSTOP)
        hit = self._has_trial(place, held)
        worker.kill()
        worker.wait()
        self.events.kills += 1
        self.events.in_training += hit
        self._workers[place] = self._start(place)

    def _put_off(self) -> None:
        self._next_kill = time.monotonic() + self._plan.kill_every * self._rng.uniform(0.5, 1.5)

    def _start(self, place: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "NO_ALBUMENTATIONS_UPDATE": "1",
        }
        with self.logs[place].open("ab") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)

    def _note_exit(self, code: int) -> None:
        if code:
            self.events.exits[code] = self.events.exits.get(code, 0) + 1


def lay_out(stores: Stores, folder: Path, plan: Plan) -> Study:
    """Begin the study; trial 0 is the default recipe, and all others wait in Optuna's queue, drawn with a seed."""
    import optuna

    from tests.search.colours import STUDY, study_plan, write_competition

    study_file = folder / "colours.toml"
    study_file.write_text(STUDY)
    (folder / "data").mkdir()
    begun = study_plan(study_file, write_competition(folder / "data"), budget=plan.trials)
    stored = create_study(stores, begun)
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=plan.seed))
    queue = stores.optuna_study(stored.name)
    for _ in range(plan.trials - 1):
        trial = drawn.ask()
        sample(trial, begun.spec)
        queue.enqueue_trial(trial.params)
    return stored


def rage(storm: Storm, stores: Stores, stored: Study, plan: Plan, server: PostgresServer | None) -> None:
    """Let the workers work, and disturb them, until all trials have ended."""
    begun, news = time.monotonic(), 0.0
    restarts = list(RESTARTS) if server is not None else []
    marks = [plan.trials * (k + 1) // (len(restarts) + 1) for k in range(len(restarts))]
    while True:
        done = stores.trials.count(stored.id, WorkKind.SEARCH)
        over = not stores.queue.may_begin(stored.id) and not _open_items(stores, stored)
        storm.events.seconds = time.monotonic() - begun
        storm.events.complete = over and done >= plan.trials
        if over or storm.events.seconds > plan.limit:
            return
        if restarts and server is not None and done >= marks[0]:
            mode, downtime = restarts.pop(0)
            marks.pop(0)
            server.restart(mode, downtime)
            storm.events.restarts.append(f"{mode}, away for {downtime:g} s, after {done} trials")
        storm.poll(lambda: stores.queue.held(stored.id))
        if time.monotonic() >= news:
            news = time.monotonic() + NEWS_INTERVAL
            print(f"{storm.events.seconds:5.0f} s: {done} trials done, {storm.events.kills} kills", file=sys.stderr)
        time.sleep(POLL_INTERVAL)


def _open_items(stores: Stores, stored: Study) -> bool:
    """Whether any work waits or is under way, or Optuna was not told of some yet."""
    if stores.studies.state(stored.id) is not StudyState.RUNNING:
        return False
    counts = stores.queue.counts(stored.id)[WorkKind.SEARCH]
    return bool(counts[WorkState.QUEUED] + counts[WorkState.LEASED] or stores.queue.unreported(stored.id))


@contextmanager
def _database(kind: str) -> Iterator[tuple[str, str, PostgresServer | None]]:
    """URL, release and, where there is one, server."""
    with open_databases(kind) as databases:
        server = databases if isinstance(databases, PostgresServer) else None
        yield databases.create(), databases.version, server


def run(kind: str, plan: Plan, keep: Path | None = None) -> tuple[Events, Verdict, str]:
    """The whole benchmark on one kind of database; what happened, what it came to, and the database's release.

    Args:
        keep: an existing folder for data, home and logs; None: a temporary one.
    """
    with tempfile.TemporaryDirectory(prefix="bench-chaos-") as name, _database(kind) as (url, version, server):
        folder = keep or Path(name)
        stores = open_stores(url, create=True, outage_timeout=OUTAGE_TIMEOUT)
        stored = lay_out(stores, folder, plan)
        with Storm(plan, url, folder / "data", folder) as storm:
            rage(storm, stores, stored, plan, server)
        verdict = compare(stores, stored, folder / "data", folder / "reference", storm.logs)
        stores.database.close()
        return storm.events, verdict, version


def rows(kind: str, plan: Plan, events: Events, verdict: Verdict) -> list[dict[str, object]]:
    """For people."""
    facts: dict[str, object] = {
        "database": kind,
        "trials": f"{verdict.finished} finished of {plan.trials}, {verdict.failed} failed",
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
    """Run it, print what came out, and return 1 if anything was lost, twice or changed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet.chaos", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--database", choices=KINDS, default="postgresql")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--kill-every", type=float, default=8.0, help="seconds on average; 0: never")
    parser.add_argument("--kills", type=int, help="at most so many; default: until the end")
    parser.add_argument("--lease", type=float, default=10.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds after which it is given up")
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
    # Servers and workers are put away on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
