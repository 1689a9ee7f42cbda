"""The verbs that do work: start, confirm and export-best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from search.engines.interface import Fleet, WorkerCommand
from search.engines.local import LocalFleet
from search.engines.plan import FleetPlan, plan_fleet
from search.engines.requests import ConfirmRequest, ExportRequest, StartRequest, Workers
from search.export.doubts import doubts_of_export
from search.export.expected_score import forecast_export
from search.export.files import write_export
from search.export.final_model import gather_refits
from search.export.plan import ExportPlan, missing_refits, plan_export, queue_refits
from search.export.pool import check_alike
from search.report.comparison import draw_finalists, show_comparison
from search.report.publishing import publish
from search.report.summary import print_export, print_interrupted, print_search_over, print_study, print_warm_starts
from search.runtime.console import note, open_console, say
from search.runtime.errors import EXIT_INTERRUPTED
from search.runtime.heartbeat import Presence, process_name
from search.runtime.home import Home
from search.runtime.signals import StopSignals
from search.study_setup.create_study import found, resume
from search.study_setup.data_folder import NoData, open_for_training
from search.study_setup.image_weights import weights_lines
from search.study_setup.prepare import known_folder, prepare
from search.study_state.confirmation import read_confirmation, run_confirmation
from search.study_state.snapshot import Standing, read_standing
from search.tuning.retry import retry_blameless
from search.tuning.warm_starts import origins_of
from search.worker.deadline_guard import refits_before_deadline
from search.workflow.provisional_submission import ProvisionalSubmission
from search.workflow.watch import Interrupted, refits_are_over, search_is_over, watch
from storage.records.studies import StoredStudy
from storage.records.workers import Role
from storage.stores import Ledger, open_ledger
from studies.spec import StudySpec
from trainer.common.environment import check_torch_pair
from trainer.data.image_set import ImageSet


def start(request: StartRequest) -> None:
    """Begin or continue a study, search, confirm the best, and export.

    Everything that can be wrong is found out before anything is written.

    Raises:
        StudyError, BackboneError, DataError, EnvironmentProblem, DeviceError, StorageError: bad input; nothing was
        begun. DataMismatch, StudyChanged: a stored study of that name is another one. WorkersLost: the workers died;
        what they finished is kept. EngineError: workers cannot be placed as asked.
    """
    console = open_console()
    planned = plan_fleet(request.workers)
    founding = prepare(request, console)
    name, images = founding.name, founding.competition.images
    home = Home(root=request.workers.home)
    ledger = open_ledger(request.storage_url, create=True)
    stored = ledger.studies.find(name)
    verb = "begins" if stored is None else "goes on"
    stored = found(ledger, founding) if stored is None else resume(ledger, stored, founding)
    if request.priority is not None:
        ledger.studies.set_priority(stored.id, request.priority)
    say(console, Text.assemble("Study ", (name, "bold"), f" {verb}."))
    again = retry_blameless(ledger, stored)
    if again.total:
        say(console, again.sentence(name))
    _set_deadline(ledger, stored, request.hours)
    notes = (*planned.notes, *weights_lines(ledger, stored))
    print_study(console, stored, founding.spec, founding.competition, planned.where, notes)
    if verb == "begins":
        print_warm_starts(console, origins_of(ledger, name))

    with ExitStack() as stack:
        stack.enter_context(_supervising(ledger, stored, home))
        fleet = _fleet(planned, ledger, stored, founding.folder, request.workers, home)
        if fleet is not None:
            stack.enter_context(fleet)
        signals = _signals(fleet, request.workers)
        try:
            provisional = ProvisionalSubmission(ledger, stored, images, request.output or home.exports(name), console)
            look = provisional.update
            watch(ledger, name, search_is_over, fleet=fleet, signals=signals, console=console, on_standing=look)
            standing = read_standing(ledger, name)
            print_search_over(console, standing)
            shown = len(standing.records)

            def until(over: Callable[[Standing], bool]) -> None:
                watch(ledger, name, over, fleet=fleet, signals=signals, console=console, shown=shown)

            run_confirmation(ledger, stored, images, home, until, console)
            draw_finalists(ledger, name, home)
            plan = _plan_in_time(ledger, stored, home, console)
            ids = queue_refits(ledger, plan, home)
            # Workers of this host keep weights here; those elsewhere do so only where they share this home.
            elsewhere = partial(_either, refits_are_over, _nobody_here(home))
            until(refits_are_over if isinstance(fleet, LocalFleet) else elsewhere)
        except Interrupted:
            print_interrupted(console, name)
            raise SystemExit(EXIT_INTERRUPTED) from None
    if not refits_are_over(read_standing(ledger, name)):
        _run_refits(ledger, stored, founding.folder, request.workers, home, console, shown=shown)
    _finish(console, ledger, plan, ids, images, home, request.output, None)


def confirm(request: ConfirmRequest) -> None:
    """Run the best trials' recipes again on fresh splits, with local workers where none live, and compare them.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
        DataMismatch, DataError: the images at hand are not the study's.
    """
    check_torch_pair()
    console = open_console()
    ledger = open_ledger(request.storage_url)
    stored = ledger.study(request.study)
    home = Home(root=request.workers.home)
    data = request.data or known_folder(ledger, stored)
    if data is None:
        raise NoData
    images = open_for_training(data, StudySpec.from_dict(stored.spec), stored.fingerprint)
    shown = len(read_standing(ledger, stored.name).records)
    with ExitStack() as stack:
        until = _helped(stack, ledger, stored, data, request.workers, home, console, shown=shown, nobody=_nobody)
        try:
            run_confirmation(ledger, stored, images, home, until, console)
        except Interrupted:
            print_interrupted(console, stored.name)
            raise SystemExit(EXIT_INTERRUPTED) from None
    show_comparison(console, ledger, stored.name, home)


def export_best(request: ExportRequest) -> None:
    """Refit the best recipes of a study, or of several, and write the export, with local workers where none live.

    Raises:
        StudiesDiffer: several studies that cannot be blended; nothing was begun.
        NothingFinished, RefitFailed, SubmissionError, ExportBroken: there is nothing to export, or not like this.
        DataMismatch, DataError: the images at hand are not the study's.
    """
    check_torch_pair()
    console = open_console()
    ledger = open_ledger(request.storage_url)
    named = [ledger.study(name) for name in dict.fromkeys(request.studies)]
    stored, *also = named or [ledger.study(None)]
    check_alike([stored, *also])
    spec = StudySpec.from_dict(stored.spec)
    home = Home(root=request.workers.home)
    data = request.data or known_folder(ledger, stored)
    if data is None:
        raise NoData
    images = open_for_training(data, spec, stored.fingerprint)
    plan = plan_export(ledger, stored, seeds=request.seeds, full_data=request.full_data, also=also, home=home)
    standings = [read_standing(ledger, study.name) for study in plan.studies]
    ids = queue_refits(ledger, plan, home)
    for standing in standings:
        if not refits_are_over(read_standing(ledger, standing.study.name)):
            shown = len(standing.records)
            _run_refits(ledger, standing.study, data, request.workers, home, console, shown=shown)
    _finish(console, ledger, plan, ids, images, home, request.output, request.submission_kind)


def _finish(
    console: Console,
    ledger: Ledger,
    plan: ExportPlan,
    ids: Sequence[Sequence[int]],
    images: ImageSet,
    home: Home,
    output: Path | None,
    submission_kind: str | None,
) -> None:
    refits = gather_refits(ledger, plan, ids, images.y)
    folder = output or home.exports(plan.study.name)
    foretold = forecast_export(ledger, plan, refits)
    forecast = None if foretold is None else foretold.to_json()
    export = write_export(ledger, plan, refits, images, home, folder, submission_kind, forecast=forecast)
    publish(ledger, plan.study.name, home, export.folder)
    latest = ledger.study(None).id == plan.study.id
    print_export(
        console,
        export,
        doubts_of_export(ledger, plan, export),
        study="" if latest else plan.study.name,
        compared=bool(read_confirmation(ledger, plan.study.name).finalists),
    )


def _run_refits(
    ledger: Ledger, stored: StoredStudy, data: Path, workers: Workers, home: Home, console: Console, *, shown: int
) -> None:
    """Have the refits done: by the workers that live and share this home, and once none does, by local ones."""
    with ExitStack() as stack:
        until = _helped(stack, ledger, stored, data, workers, home, console, shown=shown, nobody=_nobody_here(home))
        try:
            until(refits_are_over)
        except Interrupted:
            print_interrupted(console, stored.name)
            raise SystemExit(EXIT_INTERRUPTED) from None


def _helped(
    stack: ExitStack,
    ledger: Ledger,
    stored: StoredStudy,
    data: Path,
    workers: Workers,
    home: Home,
    console: Console,
    *,
    shown: int,
    nobody: Callable[[Standing], bool],
) -> Callable[[Callable[[Standing], bool]], None]:
    """A `watch` that leaves the work to whoever lives, once ``nobody`` does to local workers, which ``stack`` ends."""
    fleet: Fleet | None = None

    def until(over: Callable[[Standing], bool]) -> None:
        nonlocal fleet
        if fleet is None:
            signals = _signals(None, workers)
            either = partial(_either, over, nobody)
            watch(ledger, stored.name, either, fleet=None, signals=signals, console=console, shown=shown)
            if over(read_standing(ledger, stored.name)):
                return
            here = replace(workers, engine="local", workers=workers.workers or None)
            fleet = _fleet(plan_fleet(here), ledger, stored, data, here, home)
            assert fleet is not None, "there is at least one worker"
            stack.enter_context(fleet)
        signals = _signals(fleet, workers)
        watch(ledger, stored.name, over, fleet=fleet, signals=signals, console=console, shown=shown)

    return until


def _either(first: Callable[[Standing], bool], second: Callable[[Standing], bool], standing: Standing) -> bool:
    return first(standing) or second(standing)


def _nobody(standing: Standing) -> bool:
    """Whether no worker lives, while the study is not paused."""
    return not standing.workers and not standing.paused


def _plan_in_time(ledger: Ledger, stored: StoredStudy, home: Home, console: Console) -> ExportPlan:
    """The export for which there is time: fewer seeds first, then fewer recipes, one of one in any case. What search
    and confirmation trained costs nothing any more.
    """
    plan = plan_export(ledger, stored, seeds=None, full_data=False, home=home)
    fitting = refits_before_deadline(ledger, stored)
    for seeds in range(plan.seeds, 0, -1):
        fewer = replace(plan, seeds=seeds)
        if fitting is None or missing_refits(fewer, home) <= fitting:
            return fewer
    assert fitting is not None, "without a deadline everything fits"
    if not fitting:
        note(
            console,
            "the deadline leaves no time for a refit: the export may come late, the provisional submission is there",
        )
    return plan_export(ledger, stored, seeds=1, full_data=False, members_at_most=max(1, fitting), home=home)


def _nobody_here(home: Home) -> Callable[[Standing], bool]:
    """Whether no worker lives that keeps weights in this home, while the study is not paused."""
    identity = home.identity()
    return lambda standing: identity not in standing.homes and not standing.paused


def _supervising(ledger: Ledger, stored: StoredStudy, home: Home) -> Presence:
    return Presence(
        ledger.workers,
        process_name(),
        device="",
        home=home.identity(),
        role=Role.SUPERVISOR,
        study_id=stored.id,
    )


def _fleet(
    planned: FleetPlan, ledger: Ledger, stored: StoredStudy, data: Path, workers: Workers, home: Home
) -> Fleet | None:
    """The workers that were asked for; None: others do the work."""
    if planned.make is None:
        return None
    command = WorkerCommand(
        study=stored.name,
        storage_url=ledger.database.url.render_as_string(hide_password=False),
        data=data,
        home=workers.home,
        weights=workers.weights,
        options=workers.options,
    )
    return planned.make(command, home.logs(stored.name))


def _signals(fleet: Fleet | None, workers: Workers) -> StopSignals:
    return StopSignals(at_once=None if fleet is None else fleet.kill, grace=workers.grace).install()


def _set_deadline(ledger: Ledger, stored: StoredStudy, hours: float | None) -> None:
    """``--hours`` typed again does not move a deadline that is still ahead; one that has passed holds nobody back."""
    now = ledger.database.now()
    if stored.deadline is not None and stored.deadline > now:
        return
    deadline = None if hours is None else now + hours * 3600.0
    if deadline != stored.deadline:
        ledger.studies.set_deadline(stored.id, deadline)
