"""``search status``: how a study stands, who works on it, what failed and why, what it takes on disk."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path

from optuna.trial import TrialState
from rich.console import Console
from rich.text import Text

from search.export.expected_score import read_optimism
from search.export.members import described
from search.report.progress import bar_line, print_trial
from search.report.summary import print_ranking
from search.runtime.console import Column, note, open_console, print_table, say, say_facts
from search.runtime.disk import GIB, DiskUse, disk_use
from search.runtime.failures import ADVICE
from search.runtime.heartbeat import SEEN_WITHIN
from search.runtime.home import Home
from search.study_setup.image_weights import weights_lines
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.stages import confirmation_name, running_work, search_is_over
from search.study_state.study import Study
from search.tuning.warm_starts import origins_of
from storage.records.workers import Role
from storage.stores import Stores, open_stores
from storage.values import TRIAL_NOTE, Failure, StudyState, TrialRecord, TrialStatus, WorkKind

SHOWN_TRIALS = 30  # ended trials that are listed without --all
SHOWN_EXPORTS = 3  # the latest
MIB = 2**20


def show_status(name: str | None, url: str, home: Path, *, everything: bool = False) -> None:
    """How one study stands: ended trials and their ranking, what runs, who works, exports, what it takes on disk."""
    console = open_console()
    stores = open_stores(url)
    snapshot = read_snapshot(stores, stores.study(name).name)
    study = snapshot.study
    default = study.spec.default_recipe()
    say(console, _heading(stores, snapshot))
    if study.state_reason:
        note(console, study.state_reason)
    for line in weights_lines(stores, study):
        say(console, line)
    left_out = 0 if everything else max(0, len(snapshot.records) - SHOWN_TRIALS)
    if left_out:
        say(console, f"... {left_out} earlier trials; --all shows them")
    origins = origins_of(stores, study.name)
    for record in snapshot.records[left_out:]:
        print_trial(console, record, default, origins.get(record.number or 0, ""), complete=True)
    if snapshot.ranking:
        say(console)
        print_ranking(console, snapshot)
        say(console)
    say_facts(console, bar_line(snapshot, running_work(stores, snapshot) if snapshot.workers else ""))
    for line in optimism_lines(stores, snapshot):
        say(console, line)
    if snapshot.confirms_done or snapshot.confirms_open:
        ended = f"{snapshot.confirms_done} of {snapshot.confirms_done + snapshot.confirms_open} confirmations done"
        say(console, f"{ended}; `search compare --study {study.name}` shows them")
    if snapshot.waiting:
        say(console, f"{snapshot.waiting} trial(s) wait for a worker to go on with them")
    failed = stores.trials.records(study.id, status=TrialStatus.FAILED)
    if failed:
        hint = "`search status --failed` says why, `search retry --failed` tries them again"
        say(console, Text.assemble((_counted(failed), "red"), f": {hint}"))
    _print_workers(console, stores, study)
    _print_imports(console, stores, study)
    _print_exports(console, stores, study)
    say(console, disk_line(disk_use(stores, Home(root=home))))
    if snapshot.paused:
        say(console, f"Paused: `search resume --study {study.name}` goes on.")
    elif not snapshot.workers and not search_is_over(snapshot):
        say(console, f"No worker runs: `search start --study {study.name}` goes on, `search worker` joins in.")


def show_failed(name: str | None, url: str) -> None:
    """Every training that failed: which, when, where, why, and what helps."""
    console = open_console()
    stores = open_stores(url)
    study = stores.study(name)
    failed = stores.trials.records(study.id, status=TrialStatus.FAILED)
    if not failed:
        say(console, f"Nothing of study {study.name} failed.")
        return
    say(console, Text.assemble("Study ", (study.name, "bold"), f": {_counted(failed)}"))
    for record in failed:
        when = f"{datetime.datetime.fromtimestamp(record.finished):%Y-%m-%d %H:%M}"
        where = f"worker {record.worker}, attempt {record.attempt}"
        kind = (str(record.failure or Failure.BUG), "red")
        say(console, Text.assemble(f"{_what(record)}  ", kind, f"  {when}  {where}"))
        say(console, f"    {record.reason}")
    say(console, "What helps:")
    for failure in sorted({record.failure or Failure.BUG for record in failed}):
        say(console, ADVICE[failure], prefix=f"  {failure:8} ")
    say(console, f"Then: search retry --failed --study {study.name}", whole=True)


def optimism_lines(stores: Stores, snapshot: StudySnapshot) -> list[str]:
    """The best trial's score, and the same without selection bias, which grows with the number of trials."""
    if snapshot.count(TrialStatus.FINISHED) < 2:
        return []
    optimism = read_optimism(stores, snapshot.study)
    assert optimism is not None, "a finished trial can be chosen"
    best, unbiased = optimism.best, optimism.unbiased
    return [
        f"best score without selection bias: {unbiased.score:.4f} ± {unbiased.error:.4f} (trial {best.number} measured "
        f"{best.value:.4f})"
    ]


def state_of(snapshot: StudySnapshot) -> str:
    """The study's state, or "done" where nothing is left to search."""
    done = snapshot.study.state is StudyState.RUNNING and search_is_over(snapshot)
    return "done" if done else str(snapshot.study.state)


def disk_line(use: DiskUse) -> str:
    """What is taken on disk, for people."""
    parts = {
        "database": use.database,
        "images": use.pixels,
        "checkpoints": use.checkpoints,
        "networks": use.weights,
    }
    return "disk: " + ", ".join(f"{name} {human_size(size)}" for name, size in parts.items())


def human_size(size: int) -> str:
    """Bytes as ``3.4 MiB`` or ``1.2 GiB``."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.1f} MiB"


def _heading(stores: Stores, snapshot: StudySnapshot) -> Text:
    study = snapshot.study
    parts = [state_of(snapshot)]
    if study.stored.priority:
        parts.append(f"priority {study.stored.priority}")
    if study.deadline is not None:
        left = study.deadline - stores.database.now()
        when = f"{datetime.datetime.fromtimestamp(study.deadline):%Y-%m-%d %H:%M}"
        parts.append(f"deadline {when}" + (" (over)" if left < 0 else ""))
    facts = ", ".join(["", *parts, f"in {stores.database.name}"])
    return Text.assemble("Study ", (study.name, "bold"), facts)


def _counted(records: list[TrialRecord]) -> str:
    kinds = Counter(record.failure or Failure.BUG for record in records)
    return f"{len(records)} failed (" + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) + ")"


def _what(record: TrialRecord) -> str:
    if record.kind is WorkKind.CONFIRM:
        return f"confirmation of trial {record.note.get(TRIAL_NOTE, '?')} on split {record.split}"
    if record.kind is not WorkKind.SEARCH:
        return f"{record.kind}, seed {record.seed}"
    return "a trial before it had a number" if record.number is None else f"trial {record.number}"


def _print_workers(console: Console, stores: Stores, study: Study) -> None:
    """Who lives and what each does; of those at other studies, how many."""
    present = stores.workers.alive(SEEN_WITHIN)
    workers = [process for process in present if process.role is Role.WORKER]
    here = [worker for worker in workers if worker.study_id in (study.id, None)]
    doing = _doing(stores, study) if here else {}
    for worker in here:
        say(console, f"worker {worker.name} ({worker.device}): {doing.get(worker.name, 'idle')}")
    others = len(workers) - len(here)
    if others:
        say(console, f"{others} worker(s) at other studies")


def _doing(stores: Stores, study: Study) -> dict[str, str]:
    """What each worker is at, by its name."""
    trials = stores.optuna_study(study.name).get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    epochs = {t.number: f"epoch {(t.last_step or 0) + 1}/{t.user_attrs.get(EPOCHS_ATTRIBUTE, '?')}" for t in trials}
    doing = {}
    for held in stores.queue.held(study.id):
        if held.kind is WorkKind.CONFIRM:
            doing[held.worker] = f"confirming {confirmation_name(held)}"
        elif held.kind is not WorkKind.SEARCH:
            doing[held.worker] = f"a {held.kind}"
        elif held.trial_number is None:
            doing[held.worker] = "asking for a trial"
        else:
            doing[held.worker] = f"trial {held.trial_number} {epochs.get(held.trial_number, '')}".rstrip()
    return doing


def _print_imports(console: Console, stores: Stores, study: Study) -> None:
    for record in stores.imports.all(study.id):
        say(console, f"imported {record.label}: {described(record, study.metric)}")


def _print_exports(console: Console, stores: Stores, study: Study) -> None:
    """The latest exports, with what the board said of them."""
    exports = stores.exports.all(study.id)[-SHOWN_EXPORTS:]
    if not exports:
        return
    numbers = ("out-of-fold", "public", "private")
    print_table(
        console,
        "Exports",
        [Column(name="when"), *(Column(name=name, number=True) for name in numbers), Column(name="folder", prose=True)],
        [
            (
                f"{datetime.datetime.fromtimestamp(export.created):%Y-%m-%d %H:%M}",
                "-" if export.score is None else f"{export.score:.4f} ± {export.score_se or 0.0:.4f}",
                *("-" if told is None else f"{told:.4f}" for told in (export.public_score, export.private_score)),
                export.folder,
            )
            for export in exports
        ],
    )
