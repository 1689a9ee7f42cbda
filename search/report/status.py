"""``search status``: trials, ranking, workers, failures, exports and disk use of a study."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from search.export.candidates.members import describe_import
from search.export.expected_score import read_optimism
from search.export.output.folder import Owner, output_folder
from search.export.output.manifest import provisional_submission
from search.report.exports.submissions import latest_in_folders, shown_folder
from search.report.failed_trainings import SHOWN_TRIALS, counted
from search.report.live.activity import read_workers
from search.report.live.progress import print_trial
from search.report.live.schedule import schedule_line
from search.report.live.status_line import status_line
from search.report.probe_table import print_probes
from search.report.summary import RANKED, print_ranking
from search.runtime.console import Column, note, open_console, print_table, say, say_facts
from search.runtime.disk import GIB, DiskUse, disk_use
from search.runtime.home import Home
from search.statistics.member_names import trials_named
from search.study_setup.deadline import clock
from search.study_setup.image_weights import weights_lines
from search.study_setup.second_study import compare_with_first, lines_about
from search.study_state.gpu_sharing import sharing_lines
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.stages import running_work, search_is_over
from search.study_state.study import Study
from search.study_state.time_left import given_up_trials
from search.study_state.training_costs import hours_to_continue
from search.tuning.restore_optuna import restore_if_gone
from search.tuning.warm_starts import origins_of
from storage.records.workers import SEEN_WITHIN, Role
from storage.stores import Stores, open_stores
from storage.values import StudyState, TrialStatus
from trainer.inference.printable import excerpt

SHOWN_EXPORTS = 3
"""Number of listed exports, the latest ones. Earlier ones with a public score are listed as well."""
MIB = 2**20


def show_status(name: str | None, url: str, home: Path, *, everything: bool = False) -> None:
    """Print the ended trials of a study, their ranking, its workers, imports, exports and disk use.

    Args:
        name: of the study; None: the latest.
        everything: list all trials.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
        ForeignOptunaStudy: another program has replaced Optuna's study.
    """
    print_status(open_console(), open_stores(url), name, home, everything=everything)


def print_status(console: Console, stores: Stores, name: str | None, home: Path, *, everything: bool) -> None:
    """As `show_status`, on a console of the caller."""
    stored = stores.study(name)
    restore_if_gone(stores, stored)
    snapshot = read_snapshot(stores, stored.name)
    study = snapshot.study
    default = study.spec.default_recipe()
    say(console, _heading(stores, snapshot))
    if study.state_reason:
        note(console, study.state_reason)
    for line in weights_lines(stores, study):
        say(console, line)
    left_out = 0 if everything else max(0, len(snapshot.records) - SHOWN_TRIALS)
    if left_out:
        say(console, f"... {left_out} earlier trials; --all lists them")
    origins = origins_of(stores, study.name)
    for record in snapshot.records[left_out:]:
        print_trial(console, record, default, origins.get(record.number or 0, ""), complete=True)
    if snapshot.ranking:
        say(console)
        if study.budget == 0:
            print_probes(console, snapshot, None if everything else RANKED)
        else:
            print_ranking(console, snapshot)
        say(console)
    say_facts(console, status_line(snapshot, running_work(stores, snapshot) if snapshot.workers else ""))
    over = search_is_over(snapshot)
    schedule = "" if over else schedule_line(stores, snapshot)
    sharing = [] if over else sharing_lines(study.name, snapshot.records)
    for line in (schedule, *optimism_lines(stores, snapshot), *sharing):
        if line:
            say(console, line)
    if snapshot.confirms_done or snapshot.confirms_open:
        progress = f"{snapshot.confirms_done} of {snapshot.confirms_done + snapshot.confirms_open} confirmations done"
        say(console, f"{progress}; `search compare --study {study.name}` shows them")
    for line in lines_about(stores, study):
        say(console, line)
    compared = None if study.second is None else compare_with_first(stores, study)
    stays = compared is not None and not compared.adopted
    if compared is not None:
        say(console, f"{compared.sentence}{f' The export of {compared.first} stays.' * stays}")
    continuing = f"`{study.continuing}`"
    if study.is_pretraining:
        say(console, f"This study trains weights for others: {continuing} registers them when it is done.")
    elif not stores.exports.all(study.id):
        provisional = provisional_submission(output_folder(Owner.of(stores, study.name), Home(root=home)))
        if provisional is not None:
            say(console, f"You can hand in {provisional}: it holds the best so far, until the first export.")
        if over and not snapshot.workers and not stays:
            say(console, f"Nothing is exported yet{_next_step(snapshot, late=_is_late(stores, study))}")
    _print_left(console, snapshot, given_up_trials(stores, study), late=_is_late(stores, study))
    failed = stores.trials.records(study.id, status=TrialStatus.FAILED)
    if failed:
        hint = (
            f"`search status --failed --study {study.name}` shows the reasons, `search retry --failed --study "
            f"{study.name}` runs them again"
        )
        say(console, Text.assemble((counted(failed), "red"), f": {hint}"))
    _print_workers(console, stores, snapshot)
    _print_imports(console, stores, study)
    _print_exports(console, stores, study, everything=everything)
    _print_disk(console, study.name, home, disk_use(stores, Home(root=home), stored))
    if snapshot.paused:
        say(console, f"Paused. `search resume --study {study.name}` continues the study.")
    elif not snapshot.workers and (not over or _lacks_export(stores, snapshot)):
        commands = f"{continuing} continues, `search worker --study {study.name}` adds a worker"
        say(console, f"No worker runs. {commands}.")


def optimism_lines(stores: Stores, snapshot: StudySnapshot) -> list[str]:
    """The best trial's score without selection bias, beside its measured score if that is another; empty before two
    trials finished.
    """
    if snapshot.count(TrialStatus.FINISHED) < 2 or snapshot.study.is_pretraining:
        return []
    optimism = read_optimism(stores, snapshot.study)
    assert optimism is not None, "a finished trial can be chosen"
    best, unbiased = optimism.best, optimism.unbiased
    name = snapshot.name_of(best.number)
    if not optimism.has_bias:
        return [
            f"best score: {unbiased.score:.4f} ± {unbiased.error:.4f} ({name} in the search; nested "
            "selection finds no selection bias)"
        ]
    return [
        f"best score without selection bias: {unbiased.score:.4f} ± {unbiased.error:.4f} ({name} measured "
        f"{best.value:.4f})"
    ]


def state_of(snapshot: StudySnapshot) -> str:
    """The study's state, or "done" where nothing is left to search."""
    done = snapshot.study.state is StudyState.RUNNING and search_is_over(snapshot)
    return "done" if done else str(snapshot.study.state)


def human_size(size: int) -> str:
    """Bytes as ``3.4 MiB`` or ``1.2 GiB``."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.1f} MiB"


def _heading(stores: Stores, snapshot: StudySnapshot) -> Text:
    study = snapshot.study
    waits = study.state is StudyState.RUNNING and not snapshot.workers and not search_is_over(snapshot)
    parts = ["unfinished, no worker runs" if waits else state_of(snapshot)]
    if study.stored.priority:
        parts.append(f"priority {study.stored.priority}")
    if study.deadline is not None:
        parts.append(f"deadline {clock(study.deadline)}" + " (over)" * _is_late(stores, study))
    facts = ", ".join(["", *parts, f"in {stores.database.place}"])
    return Text.assemble("Study ", (study.name, "bold"), facts)


def _is_late(stores: Stores, study: Study) -> bool:
    """Whether the deadline has passed."""
    return study.deadline is not None and stores.database.now() >= study.deadline


def _lacks_export(stores: Stores, snapshot: StudySnapshot) -> bool:
    """Whether the search until a deadline was interrupted when no trial fitted any more: its export is yet to come.

    `print_status` has another line for a study without any export.
    """
    left, exports = snapshot.seconds_to_deadline, stores.exports.all(snapshot.study.id)
    is_ahead = left is not None and left > 0.0
    return is_ahead and bool(exports) and exports[-1].created < snapshot.study.period_began


def _next_step(snapshot: StudySnapshot, *, late: bool) -> str:
    """What continues a study whose search is over and that nothing is exported of, to follow that sentence."""
    study = snapshot.study
    if not snapshot.count(TrialStatus.FINISHED):
        more = f" --hours +{hours_to_continue(snapshot.records)}" * late
        return f", because no trial has finished: `{study.continuing}{more}` continues the search."
    if study.state is StudyState.STOPPED and study.second is None:
        return (
            f": `search export-best --study {study.name}` exports the best so far, `{study.continuing}` continues the "
            "search."
        )
    return f": `{study.continuing}` continues with the next stage."


def _print_left(console: Console, snapshot: StudySnapshot, given_up: Mapping[int, str], *, late: bool) -> None:
    """The trials that wait for more time or for a worker, or are paused.

    Args:
        given_up: why trials were given up for the deadline, by number.
        late: whether the deadline has passed, so that none of them continues before another one is set.
    """
    lines = []
    if given_up:
        reason = next((f" ({excerpt(text)})" for text in given_up.values() if text), "")
        were = "was" if len(given_up) == 1 else "were"
        lines.append(f"{trials_named(sorted(given_up))} {were} given up for the deadline{reason}")
    if waiting := snapshot.waiting - len(given_up):
        lines.append(f"{waiting} trial{' waits' if waiting == 1 else 's wait'} for a worker")
    if snapshot.trials_paused:
        count = f"{snapshot.trials_paused} trial{' is' if snapshot.trials_paused == 1 else 's are'} paused"
        lines.append(count if late else f"{count}; the best of them continue")
    if lines and late:
        hours = hours_to_continue(snapshot.records)
        command = f"`search start --study {snapshot.study.name} --hours +{hours}`"
        lines = [f"{', '.join(lines)}; the deadline has passed, and {command} continues"]
    for line in lines:
        say(console, line)


def _print_workers(console: Console, stores: Stores, snapshot: StudySnapshot) -> None:
    """The live workers of the study with their activity, and the studies at which others work."""
    own = read_workers(stores, snapshot)
    for worker in own:
        say(console, f"worker {worker.name} ({worker.device}): {worker.doing}")
    workers = [process for process in stores.workers.alive(SEEN_WITHIN) if process.role is Role.WORKER]
    names = {study.id: study.name for study in stores.studies.all()} if len(workers) > len(own) else {}
    others = Counter(names[w.study_id] for w in workers if w.study_id in names and w.study_id != snapshot.study.id)
    for name, count in others.items():
        say(console, f"{count} worker{'s' * (count > 1)} at study {name}: `search status --study {name}`")


def _print_imports(console: Console, stores: Stores, study: Study) -> None:
    for record in stores.imports.all(study.id):
        say(console, f"imported {record.label}: {describe_import(record, study.metric)}")


def _print_exports(console: Console, stores: Stores, study: Study, *, everything: bool) -> None:
    """The latest exports, those on the public leaderboard, and the number of the others."""
    found = stores.exports.all(study.id)
    recent = {export.id for export in (found if everything else found[-SHOWN_EXPORTS:])}
    exports = [export for export in found if export.id in recent or export.public_score is not None]
    if not exports:
        return
    numbers, latest = ("out-of-fold", "public", "private"), latest_in_folders(stores)
    print_table(
        console,
        "Exports",
        [Column(name="when"), *(Column(name=name, number=True) for name in numbers), Column(name="folder", prose=True)],
        [
            (
                f"{datetime.datetime.fromtimestamp(export.created):%Y-%m-%d %H:%M}",
                "-" if export.score is None else f"{export.score:.4f} ± {export.score_se or 0.0:.4f}",
                *("-" if score is None else f"{score:.4f}" for score in (export.public_score, export.private_score)),
                shown_folder(export, latest),
            )
            for export in exports
        ],
    )
    if left_out := len(found) - len(exports):
        say(console, f"… and {left_out} earlier: `search submissions --study {study.name}` lists every export.")


def _print_disk(console: Console, name: str, home: Path, use: DiskUse) -> None:
    """What the study keeps on disk, and what its home holds for all studies."""
    own = {"of networks": use.study_weights, "of checkpoints": use.study_checkpoints, "of exports": use.study_export}
    kept = ", ".join(f"{human_size(size)} {what}" for what, size in own.items() if size)
    say(console, f"disk: study {name} keeps {kept or 'no files yet'}, besides its rows in the database")
    shared = {
        "decoded images": use.pixels,
        "features": use.features,
        "networks": use.weights,
        "checkpoints": use.checkpoints,
        "exports": use.exports,
        "other files": use.other_files,
    }
    parts = ", ".join(f"{what} {human_size(size)}" for what, size in shared.items())
    say(
        console,
        f"{home} holds {human_size(use.total)} for all studies ({parts}), the database "
        f"{human_size(use.database)}; {human_size(use.free)} of the disk are free",
        prefix="      ",
    )
