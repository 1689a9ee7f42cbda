"""``search confirm``: cross-validates the finalists again on fresh splits, round after round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from search.engines.plan import Workers
from search.report.finalists.comparison import show_comparison
from search.report.summary import print_interrupted
from search.runtime.console import note, open_console, say
from search.runtime.errors import EXIT_INTERRUPTED
from search.runtime.home import Home
from search.runtime.kept_networks import artifacts_of, remove_networks
from search.statistics.estimates import Estimates
from search.statistics.member_names import MemberName, members_named, trials_named
from search.study_setup.data_folder import NoData, known_folder
from search.study_setup.open_images import open_for_training
from search.study_state.confirmation import Confirmation, judge, plan_step, queue_step, read_confirmation, why_skipped
from search.study_state.confirmation_schedule import TRIALS_PER_FINALIST, Limit, Step, confirmation_budget, least_share
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.stages import confirmations_are_over
from search.study_state.study import Study, read_study, require_search
from search.study_state.training_costs import hours_to_continue
from search.workflow.watch import Interrupted, no_worker_lives, watch_with_local_workers
from storage.database.outages import OUTAGE_TIMEOUT
from storage.stores import Stores, open_stores
from storage.values import TRIAL_NOTE, TrialRecord, WorkKind
from studies.settings import ConfirmSettings
from trainer.common.environment import check_torch_pair
from trainer.common.errors import DataError
from trainer.data.image_set import ImageSet
from trainer.inference.printable import excerpt


@dataclass(frozen=True, kw_only=True)
class ConfirmRequest:
    """Options of ``search confirm``. None: not given."""

    study: str | None
    data: Path | None
    storage_url: str
    workers: Workers


_MOST_SHARE = 0.9
"""The largest ``confirm.share``."""

Until = Callable[[Callable[[StudySnapshot], bool]], None]
"""Waits until a condition on a study holds, see `search.workflow.watch.watch`."""


def run_confirmation(
    stores: Stores,
    study: Study,
    images: ImageSet,
    home: Home,
    until: Until,
    console: Console,
    *,
    advise: bool = False,
) -> None:
    """Confirm a study's finalists and print the progress. A second call continues an interrupted confirmation.

    Args:
        home: folder of checkpoints and weights; those of withdrawn confirmations and eliminated finalists are removed.
        until: waits for a condition on the study; its errors pass through.
        advise: name the command that allows more confirmations, if there is one.
    """
    confirmation = read_confirmation(stores, study.name)
    reason = why_skipped(confirmation)
    if reason:
        advice = _advice_on_skipped(confirmation) if advise else ""
        say(console, f"No confirmation: {reason}.{advice}")
        return
    _withdraw(stores, confirmation, home, everything=False)
    reported: set[int] = set()
    while True:
        until(confirmations_are_over)
        _withdraw(stores, confirmation, home, everything=True)
        confirmation = read_confirmation(stores, study.name)
        _report_failures(console, confirmation.broken, reported)
        estimates = judge(stores, confirmation)
        _remove_eliminated(stores, confirmation, estimates, home)
        step = plan_step(stores, confirmation, estimates)
        if step.left_out:
            left_out = trials_named(step.left_out, confirmation.probes)
            advice = _advice(confirmation, step) if advise else ""
            say(console, f"Confirmation: {step.why}; left out: {left_out}.{advice}")
        if not step.items:
            if not step.left_out:
                advice = _advice(confirmation, step) if advise else ""
                say(console, f"Confirmation is over: {step.why}.{advice}")
            return
        try:
            queue_step(stores, confirmation, step, images)
        except DataError as problem:
            note(console, f"no confirmation on a fresh split: {problem}")
            return
        say(console, _heading(confirmation, step, estimates))


def _withdraw(stores: Stores, confirmation: Confirmation, home: Home, *, everything: bool) -> None:
    """Withdraw waiting confirmations: all of them, or those whose recipe the current ``[final]`` table changes."""
    study = confirmation.study
    wanted = {} if everything else {n: confirmation.final_recipe(n) for n in confirmation.numbers}
    for item in stores.queue.waiting(study.id, WorkKind.CONFIRM):
        if wanted.get(item.note.get(TRIAL_NOTE, -1)) != item.recipe and stores.queue.withdraw(item.id):
            artifacts_of(stores, home).remove_checkpoint(study.name, item.id)


def _remove_eliminated(stores: Stores, confirmation: Confirmation, estimates: Estimates | None, home: Home) -> None:
    """Remove the weights of eliminated finalists: no export uses them, and they take much disk space."""
    eliminated = {row.number for row in estimates.rows if row.eliminated} if estimates is not None else set()
    artifacts = artifacts_of(stores, home)
    for finalist in confirmation.finalists:
        if finalist.number in eliminated:
            for record in (finalist.trial, *finalist.rounds):
                remove_networks(artifacts, confirmation.study.name, record)


def _report_failures(console: Console, broken: Sequence[TrialRecord], reported: set[int]) -> None:
    """Print each failed confirmation once; ``reported`` holds the ids of those printed before."""
    for record in broken:
        if record.id not in reported:
            reported.add(record.id)
            name = MemberName(trial=record.repeated_trial, is_probe=record.repeats_probe)
            note(
                console,
                f"{name} is no longer a finalist: on split {record.split} it {record.status} "
                f"({excerpt(record.reason)})",
            )


def _advice_on_skipped(confirmation: Confirmation) -> str:
    """The command by which a study comes to have finalists, a sentence behind a blank; empty: unknown."""
    study = confirmation.study
    if not study.spec.confirm.rounds:
        return f" `{study.continuing} --set confirm.rounds={ConfirmSettings().rounds}` confirms on fresh splits."
    if study.budget is not None and study.budget < TRIALS_PER_FINALIST:
        return f" `{study.continuing} --trials {TRIALS_PER_FINALIST}` continues the search up to as many."
    more = "" if study.deadline is None else f" {_more_time(confirmation)}"
    return f" `{study.continuing}{more}` continues the search."


def _advice(confirmation: Confirmation, step: Step) -> str:
    """The command after which more confirmations would run, a sentence behind a blank; empty: none would."""
    study = confirmation.study
    settings = study.spec.confirm
    budget = confirmation_budget(confirmation.seconds, settings.share) + step.lacking_seconds
    share = least_share(confirmation.seconds, budget) if budget > 0.0 else settings.share
    options = {
        Limit.ROUNDS: f"--set confirm.rounds={settings.rounds + 1}",
        Limit.SHARE: f"--set confirm.share={share:g}",
        Limit.DEADLINE: _more_time(confirmation),
    }
    if step.limit is None or (step.limit is Limit.SHARE and share > _MOST_SHARE):
        return ""
    return f" `{study.continuing} {options[step.limit]}` allows more."


def _more_time(confirmation: Confirmation) -> str:
    return f"--hours +{hours_to_continue(list(confirmation.trials.values()))}"


def _heading(confirmation: Confirmation, step: Step, estimates: Estimates | None) -> str:
    """The next round: number of finalists, split, and finalists that are eliminated."""
    count, split = len(step.items), step.items[0][1]
    finalists = "the finalist" if count == 1 else f"{count} finalists"
    eliminated = [] if estimates is None else [row.name for row in estimates.rows if row.eliminated]
    line = f"Confirming {finalists} on fresh split {split} (of up to {confirmation.study.spec.confirm.rounds})"
    return line + (f"; clearly beaten: {members_named(eliminated)}" if eliminated else "")


def confirm(request: ConfirmRequest) -> None:
    """Confirm the best recipes on fresh splits and compare them. Without live workers, local ones are started.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
        NoData, DataMismatch, DataError: there are no images, or not the study's.
    """
    check_torch_pair()
    console = open_console()
    stores = open_stores(request.storage_url, outage_timeout=OUTAGE_TIMEOUT)
    study = require_search(read_study(stores, request.study), "confirms")
    home = Home(root=request.workers.home)
    data = request.data or known_folder(stores, study.stored)
    if data is None:
        raise NoData
    images = open_for_training(data, study, stores)
    shown = len(read_snapshot(stores, study.name).records)
    with ExitStack() as stack:
        until = watch_with_local_workers(
            stack,
            stores,
            study,
            data,
            request.workers,
            home,
            console,
            shown=shown,
            start_local_workers=no_worker_lives,
        )
        try:
            run_confirmation(stores, study, images, home, until, console, advise=True)
        except Interrupted:
            print_interrupted(console, study.name)
            raise SystemExit(EXIT_INTERRUPTED) from None
    show_comparison(console, stores, study.name, home)
