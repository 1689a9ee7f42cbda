"""``search start``: begins or continues a study, searches, confirms the best recipes and exports."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from search.engines.interface import Fleet
from search.engines.local import LocalFleet
from search.engines.plan import FleetPlan, plan_fleet
from search.export.output.folder import Owner, check_output, output_folder
from search.export.output.outside_data import check_folder
from search.export.plan import ExportPlan, queue_refits
from search.report.dashboard.publish import StateKeeper
from search.report.finalists.comparison import draw_finalists
from search.report.live.planned_trials import print_warm_starts
from search.report.live.progress import print_trial
from search.report.live.schedule import GivenUpView, ScheduleView, SharingView
from search.report.probe_table import StartsView, print_probes
from search.report.summary import print_interrupted, print_search_over, print_study
from search.runtime.console import loud, open_console, say
from search.runtime.errors import EXIT_INTERRUPTED
from search.runtime.home import Home
from search.statistics.ranking import NothingFinished
from search.study_setup.create_study import StudyPlan, create_study, resume
from search.study_setup.data_folder import Competition
from search.study_setup.deadline import DeadlineTooShort, set_deadline
from search.study_setup.image_weights import weights_lines
from search.study_setup.prepare import StartRequest, prepare
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.stages import refits_are_over, search_is_over
from search.study_state.study import Study, read_study
from search.tracking.options import TrackingOptions
from search.tracking.trackers import Trackers
from search.tuning.probing.further_probe import enqueue_last_probe
from search.tuning.probing.give_up import enqueue_given_up, give_up_waiting_probes
from search.tuning.retry import retry_host_failures
from search.tuning.warm_starts import origins_of
from search.worker.pausing import end_all
from search.workflow.confirm import run_confirmation
from search.workflow.export.export_best import finish_export
from search.workflow.export.final_training import export_is_due, plan_in_time, plan_of_finished, say_refits
from search.workflow.export.provisional_submission import ProvisionalSubmission
from search.workflow.watch import (
    Interrupted,
    either_holds,
    expire_dead_workers,
    make_fleet,
    no_worker_here,
    run_refits,
    stop_signals,
    supervising,
    watch,
)
from storage.database.locks import Purpose, exclusive
from storage.database.outages import OUTAGE_TIMEOUT
from storage.stores import Stores, open_stores, stores_if_any
from trainer.inference.resources import give_back_memory


def start(request: StartRequest) -> None:
    """Begin or continue a study, search, confirm the best recipes, and export.

    All input is checked before anything is written.

    Raises:
        StudyError, BackboneError, DataError, EnvironmentProblem, DeviceError, StorageError: bad input; nothing was
            written.
        OutputNotOurs, OutputNotWritable, OutputBusy, OutputInData: the folder cannot be exported to; nothing
            was written.
        DataMismatch, StudyChanged: the stored study of that name has other images or settings.
        WorkersLost: the workers died; the results of finished trials are kept.
        EngineError: the workers cannot be placed as requested.
        DeadlineTooShort: the deadline came before the first training ended.
    """
    console = open_console(quiet=request.quiet)
    planned = plan_fleet(request.workers)
    study_plan = prepare(request, console)
    name, home = study_plan.name, Home(root=request.workers.home)
    owner = Owner.of(stores_if_any(request.storage_url), name)
    if request.output is not None:
        check_folder(request.output, [study_plan.folder], home.root)
    check_output(output_folder(owner, home, request.output), owner)
    stores = open_stores(request.storage_url, create=True, outage_timeout=OUTAGE_TIMEOUT)
    study, verb = begin_or_continue(stores, study_plan)
    if request.priority is not None:
        stores.studies.set_priority(study.id, request.priority)
    say(console, Text.assemble("Study ", (name, "bold"), f" {verb}."))
    again = retry_host_failures(stores, study)
    if again.total:
        say(console, again.sentence(name))
    study, deadline = set_deadline(stores, study, request.hours, begun=_begin_of_command(stores, request))
    run = _Run(
        console=console,
        stores=stores,
        study=study,
        competition=study_plan.competition,
        folder=study_plan.folder,
        home=home,
        request=request,
        due=export_is_due(stores),
    )
    late = run.is_due()
    notes = (*planned.notes, *weights_lines(stores, study))
    print_study(console, study, study_plan.competition, "no worker" if late else planned.where, notes)
    if verb == "begins":
        print_warm_starts(console, origins_of(stores, name), probes_only=study.budget == 0)
    if deadline:
        say(console, deadline)
    if probes := enqueue_given_up(stores, study):
        say(console, f"{probes} probe{'s' * (probes != 1)} that ran out of time will be made again.")
    if late:
        hint = "" if "`--hours +" in deadline else " `--hours +2` continues for two more hours."
        with loud(console):
            say(console, f"No worker starts, because the export begins now. It holds what has finished.{hint}")
    _export(run, _search(run, None if late else planned))


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A search under way."""

    console: Console
    stores: Stores
    study: Study
    competition: Competition
    folder: Path
    """The data folder."""
    home: Home
    request: StartRequest
    due: Callable[[StudySnapshot], bool]
    """Whether the deadline asks for the export."""

    @property
    def name(self) -> str:
        return self.study.name

    def snapshot(self) -> StudySnapshot:
        return read_snapshot(self.stores, self.name)

    def is_due(self) -> bool:
        return self.due(self.snapshot())


@dataclass(frozen=True, kw_only=True)
class _Searched:
    """What a search leaves to the export."""

    plan: ExportPlan
    refits: list[tuple[int, ...]]
    """Ids of the work items, by member."""
    shown: int
    """Number of ended trials that are printed."""


def _search(run: _Run, planned: FleetPlan | None) -> _Searched:
    """Search, confirm the finalists and refit the members of the final model, until the deadline.

    Args:
        planned: the workers to start; None: the export begins now.
    """
    with ExitStack() as stack:
        stack.enter_context(supervising(run.stores, run.study, run.home))
        fleet = None
        if planned is not None:
            give_back_memory()  # what reading the images took, for the workers
            fleet = make_fleet(planned, run.stores, run.study, run.folder, run.request.workers, run.home)
        if fleet is not None:
            stack.enter_context(fleet)
        try:
            return _watch_stages(run, fleet)
        except NothingFinished as problem:
            if not run.is_due():
                raise
            raise DeadlineTooShort(run.study) from problem
        except Interrupted:
            print_interrupted(run.console, run.name)
            raise SystemExit(EXIT_INTERRUPTED) from None
        finally:
            if run.is_due():
                _end_trainings(run.stores, run.name, fleet)


def _watch_stages(run: _Run, fleet: Fleet | None) -> _Searched:
    """Show the stages of a search one after another while its workers do them."""
    console, stores, study, name, home = run.console, run.stores, run.study, run.name, run.home
    signals, images = stop_signals(fleet, run.request.workers), run.competition.images
    folder = output_folder(Owner.of(stores, name), home, run.request.output)
    provisional = ProvisionalSubmission(stores, study, images, folder, console)
    schedule, page = ScheduleView(stores, console), StateKeeper(stores, home)
    given_up = GivenUpView(stores, console)
    views = (provisional, schedule, given_up, SharingView(console), StartsView(stores, console), page)

    def look(snapshot: StudySnapshot) -> None:
        for view in views:
            view.update(snapshot)

    over = partial(either_holds, search_is_over, run.due)
    watch(stores, name, over, fleet=fleet, signals=signals, console=console, on_snapshot=look)
    snapshot = _end_paused_trials(stores, study, home, console, run.request.workers.tracking)
    if (fleet is not None or snapshot.workers) and enqueue_last_probe(stores, read_study(stores, name)) is not None:
        ended = "No trial is better than the best probe" if snapshot.counted else "No trial ended in time"
        reason = "" if study.budget == 0 else f"{ended}. "
        say(console, f"{reason}The best probe is made once more, on still larger images.")
        shown = len(snapshot.records)
        watch(stores, name, over, fleet=fleet, signals=signals, console=console, shown=shown, on_snapshot=look)
        snapshot = run.snapshot()
    print_search_over(console, snapshot)
    schedule.print_left_out(snapshot)
    if study.budget == 0:
        print_probes(console, snapshot)
    shown = len(snapshot.records)

    def until(over: Callable[[StudySnapshot], bool]) -> None:
        in_time = partial(either_holds, over, run.due)
        watch(
            stores, name, in_time, fleet=fleet, signals=signals, console=console, shown=shown, on_snapshot=page.update
        )

    run_confirmation(stores, study, images, home, until, console)
    draw_finalists(stores, name, home)
    plan = plan_in_time(stores, study, home, console)
    if not run.is_due():  # else no training begins any more
        say_refits(stores, plan, home, console)
    refits = queue_refits(stores, plan, home)
    # Workers of this host keep weights here; those elsewhere do so only where they share this home.
    elsewhere = partial(either_holds, refits_are_over, no_worker_here(home))
    until(refits_are_over if isinstance(fleet, LocalFleet) else elsewhere)
    return _Searched(plan=plan, refits=refits, shown=shown)


def _export(run: _Run, searched: _Searched) -> None:
    """Train what workers elsewhere have left, and export."""
    workers, snapshot = run.request.workers, run.snapshot()
    if not refits_are_over(snapshot) and not run.due(snapshot):
        run_refits(run.stores, run.study, run.folder, workers, run.home, run.console, shown=searched.shown)
    plan, refits = plan_of_finished(run.stores, searched.plan, searched.refits, run.home, run.console)
    with loud(run.console):
        finish_export(
            run.console,
            run.stores,
            plan,
            refits,
            run.competition.images,
            run.home,
            run.request.output,
            None,
            keep_better=True,
            tracking=workers.tracking,
        )


def begin_or_continue(stores: Stores, study_plan: StudyPlan) -> tuple[Study, str]:
    """Create the planned study, or resume the stored one of its name: of two first starts at once, the second resumes.

    Returns:
        The study, and what it does: ``begins`` or ``continues``.

    Raises:
        DataMismatch, StudyChanged: see `search.study_setup.create_study`.
    """
    with exclusive(stores.database, Purpose.STUDIES):
        stored = stores.studies.find(study_plan.name)
        if stored is None:
            return create_study(stores, study_plan), "begins"
        return resume(stores, Study.of(stored), study_plan), "continues"


def _end_paused_trials(
    stores: Stores, study: Study, home: Home, console: Console, tracking: TrackingOptions
) -> StudySnapshot:
    """End and print the trials that a search leaves paused because it was stopped or has no time left.

    Returns:
        The study afterwards.
    """
    before = read_snapshot(stores, study.name)
    if not before.trials_paused:
        return before
    with Trackers.of(tracking, stores) as trackers:
        end_all(stores, study, home, trackers)
    after = read_snapshot(stores, study.name)
    for record in after.records[len(before.records) :]:
        print_trial(console, record, study.spec.default_recipe())
    return after


def _end_trainings(stores: Stores, name: str, fleet: Fleet | None) -> None:
    """End the trainings that are still under way, which would delay the export. A trial may continue with more time."""
    if fleet is not None:
        fleet.kill()
        expire_dead_workers(stores, fleet)
    give_up_waiting_probes(stores, read_study(stores, name))


def _begin_of_command(stores: Stores, request: StartRequest) -> float:
    """When the command began, before it read the images: Unix seconds on the database's clock."""
    return stores.database.now() - (time.monotonic() - request.begun)
