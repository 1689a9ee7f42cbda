"""``search status``: how a study stands, who works on it, what failed and why, what it takes on disk."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path

from optuna.trial import TrialState
from rich.console import Console
from rich.markup import escape

from search.export.expected_score import read_optimism
from search.export.members import described
from search.report.progress import bar_line, print_trial
from search.runtime.disk import GIB, DiskUse, disk_use
from search.runtime.failures import ADVICE
from search.runtime.heartbeat import SEEN_WITHIN
from search.runtime.home import Home
from search.study_setup.image_weights import weights_lines
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE
from search.study_state.snapshot import Standing, confirmation_at, read_standing, search_is_over, what_runs
from search.tuning.warm_starts import origins_of
from storage.records.studies import StoredStudy
from storage.records.workers import Role, WorkerRecord
from storage.stores import Ledger, open_ledger
from storage.values import TRIAL_NOTE, Failure, StudyState, TrialRecord, TrialStatus, WorkKind
from studies.spec import StudySpec

SHOWN_TRIALS = 30  # ended trials that are listed without --all
MIB = 2**20


def show_status(name: str | None, url: str, home: Path, *, everything: bool = False) -> None:
    """How one study stands: ended trials, what runs, who works, what was exported, what it takes on disk."""
    console = Console()
    ledger = open_ledger(url)
    study = ledger.study(name)
    standing = read_standing(ledger, study.name)
    default = StudySpec.from_dict(study.spec).default_recipe()
    console.print(_heading(ledger, standing), highlight=False)
    if study.state_reason:
        console.print(f"[yellow]{escape(study.state_reason)}[/]", highlight=False)
    for line in weights_lines(ledger, study):
        console.print(line, highlight=False)
    left_out = 0 if everything else max(0, len(standing.records) - SHOWN_TRIALS)
    if left_out:
        console.print(f"... {left_out} earlier trials; --all shows them", highlight=False)
    origins = origins_of(ledger, study.name)
    for record in standing.records[left_out:]:
        print_trial(console, record, default, origins.get(record.number or 0, ""))
    console.print(
        bar_line(standing, what_runs(ledger, standing) if standing.workers else ""), highlight=False, markup=False
    )
    for line in optimism_lines(ledger, standing):
        console.print(line, highlight=False)
    if standing.confirms_done or standing.confirms_open:
        ended = f"{standing.confirms_done} of {standing.confirms_done + standing.confirms_open} confirmations done"
        console.print(f"{ended}; `search compare --study {study.name}` shows them", highlight=False)
    if standing.waiting:
        console.print(f"{standing.waiting} trial(s) wait for a worker to go on with them", highlight=False)
    for line in (*_failure_lines(ledger, standing), *_worker_lines(ledger, study), *_kept_lines(ledger, study)):
        console.print(line, highlight=False)
    console.print(disk_line(disk_use(ledger, Home(root=home))), highlight=False)
    if standing.paused:
        console.print(f"Paused: `search resume --study {study.name}` goes on.", highlight=False)
    elif not standing.workers and not search_is_over(standing):
        console.print(
            f"Nobody works on it: `search start --study {study.name}` goes on with it, `search worker` joins in.",
            highlight=False,
        )


def show_failed(name: str | None, url: str) -> None:
    """Every training that failed: which, when, where, why, and what helps."""
    console = Console()
    ledger = open_ledger(url)
    study = ledger.study(name)
    failed = ledger.runs.records(study.id, status=TrialStatus.FAILED)
    if not failed:
        console.print(f"Nothing of study {study.name} failed.", highlight=False)
        return
    console.print(f"Study [bold]{study.name}[/]: {_counted(failed)}", highlight=False)
    for record in failed:
        when = f"{datetime.datetime.fromtimestamp(record.finished):%Y-%m-%d %H:%M}"
        where = f"worker {record.worker}, attempt {record.attempt}"
        console.print(
            f"{_what(record)}  [red]{record.failure or Failure.BUG}[/]  {when}  {escape(where)}", highlight=False
        )
        console.print(f"    {escape(record.reason)}", highlight=False, soft_wrap=True)
    console.print("What helps:", highlight=False)
    for failure in sorted({record.failure or Failure.BUG for record in failed}):
        console.print(f"  {failure:8} {escape(ADVICE[failure])}", highlight=False, soft_wrap=True)
    console.print(f"Then: search retry --failed --study {study.name}", highlight=False)


def optimism_lines(ledger: Ledger, standing: Standing) -> list[str]:
    """The best trial's score, and the same without selection bias, which grows with the number of trials."""
    if standing.count(TrialStatus.FINISHED) < 2:
        return []
    optimism = read_optimism(ledger, standing.study)
    assert optimism is not None, "a finished trial can be chosen"
    best, unbiased = optimism.best, optimism.unbiased
    return [f"best seen {best.value:.4f} (trial {best.number}), honest {unbiased.score:.4f} ± {unbiased.error:.4f}"]


def state_of(standing: Standing) -> str:
    """The study's state, or "done" where nothing is left to search."""
    done = standing.study.state is StudyState.RUNNING and search_is_over(standing)
    return "done" if done else str(standing.study.state)


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


def _heading(ledger: Ledger, standing: Standing) -> str:
    study = standing.study
    parts = [f"Study [bold]{study.name}[/]", state_of(standing)]
    if study.priority:
        parts.append(f"priority {study.priority}")
    if study.deadline is not None:
        left = study.deadline - ledger.database.now()
        when = f"{datetime.datetime.fromtimestamp(study.deadline):%Y-%m-%d %H:%M}"
        parts.append(f"deadline {when}" + (" (over)" if left < 0 else ""))
    return ", ".join(parts) + f", in {escape(ledger.database.name)}"


def _counted(records: list[TrialRecord]) -> str:
    kinds = Counter(record.failure or Failure.BUG for record in records)
    return f"{len(records)} failed (" + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) + ")"


def _failure_lines(ledger: Ledger, standing: Standing) -> list[str]:
    failed = ledger.runs.records(standing.study.id, status=TrialStatus.FAILED)
    if not failed:
        return []
    return [f"[red]{_counted(failed)}[/]: `search status --failed` tells why, `search retry --failed` tries them again"]


def _what(record: TrialRecord) -> str:
    if record.kind is WorkKind.CONFIRM:
        return f"confirmation of trial {record.note.get(TRIAL_NOTE, '?')} on split {record.split}"
    if record.kind is not WorkKind.SEARCH:
        return f"{record.kind}, seed {record.seed}"
    return "a trial before it had a number" if record.number is None else f"trial {record.number}"


def _worker_lines(ledger: Ledger, study: StoredStudy) -> list[str]:
    """Who lives and what each does; of those at other studies, how many."""
    present = ledger.workers.alive(SEEN_WITHIN)
    workers = [process for process in present if process.role is Role.WORKER]
    here = [worker for worker in workers if worker.study_id in (study.id, None)]
    doing = _doing(ledger, study) if here else {}
    lines = [_worker_line(worker, doing.get(worker.name, "idle")) for worker in here]
    others = len(workers) - len(here)
    return lines + [f"{others} worker(s) at other studies"] * bool(others)


def _worker_line(worker: WorkerRecord, doing: str) -> str:
    return f"worker {escape(worker.name)} ({worker.device}): {doing}"


def _doing(ledger: Ledger, study: StoredStudy) -> dict[str, str]:
    """What each worker is at, by its name."""
    trials = ledger.optuna_study(study.name).get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    epochs = {t.number: f"epoch {(t.last_step or 0) + 1}/{t.user_attrs.get(EPOCHS_ATTRIBUTE, '?')}" for t in trials}
    doing = {}
    for held in ledger.queue.held(study.id):
        if held.kind is WorkKind.CONFIRM:
            doing[held.worker] = f"confirming {confirmation_at(held)}"
        elif held.kind is not WorkKind.SEARCH:
            doing[held.worker] = f"a {held.kind}"
        elif held.trial_number is None:
            doing[held.worker] = "asking for a trial"
        else:
            doing[held.worker] = f"trial {held.trial_number} {epochs.get(held.trial_number, '')}".rstrip()
    return doing


def _kept_lines(ledger: Ledger, study: StoredStudy) -> list[str]:
    """What was imported, and what was exported."""
    metric = str(study.spec["protocol"]["metric"])
    imports = [f"imported {record.label}: {described(record, metric)}" for record in ledger.imports.all(study.id)]
    return [*imports, *_export_lines(ledger, study)]


def _export_lines(ledger: Ledger, study: StoredStudy) -> list[str]:
    lines = []
    for export in ledger.runs.exports(study.id)[-3:]:
        score = "" if export.score is None else f", out-of-fold {export.score:.4f} ± {export.score_se or 0.0:.4f}"
        told = (("public", export.public_score), ("private", export.private_score))
        board = "".join(f", {which} {value:.4f}" for which, value in told if value is not None)
        when = datetime.datetime.fromtimestamp(export.created)
        lines.append(f"exported {when:%Y-%m-%d %H:%M} to {escape(export.folder)}{score}{board}")
    return lines
