"""The verbs that do work: start, confirm and export-best."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from rich.console import Console
from rich.text import Text

from search.engines.local import LocalFleet
from search.engines.plan import plan_fleet
from search.export.plan import ExportPlan, missing_refits, plan_export, queue_refits
from search.report.comparison import draw_finalists
from search.report.summary import print_interrupted, print_search_over, print_study, print_warm_starts
from search.runtime.console import note, open_console, say
from search.runtime.errors import EXIT_INTERRUPTED
from search.runtime.heartbeat import Presence, process_name
from search.runtime.home import Home
from search.study_setup.create_study import found, resume
from search.study_setup.image_weights import weights_lines
from search.study_setup.prepare import StartRequest, prepare
from search.study_state.snapshot import Standing, read_standing, refits_are_over, refits_before_deadline, search_is_over
from search.tuning.retry import retry_blameless
from search.tuning.warm_starts import origins_of
from search.workflow.confirm import run_confirmation
from search.workflow.export_best import finish_export
from search.workflow.provisional_submission import ProvisionalSubmission
from search.workflow.watch import Interrupted, either_holds, make_fleet, no_worker_here, run_refits, stop_signals, watch
from storage.database.outages import OUTAGE_TIMEOUT
from storage.records.studies import StoredStudy
from storage.records.workers import Role
from storage.stores import Ledger, open_ledger


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
    ledger = open_ledger(request.storage_url, create=True, outage_timeout=OUTAGE_TIMEOUT)
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
        fleet = make_fleet(planned, ledger, stored, founding.folder, request.workers, home)
        if fleet is not None:
            stack.enter_context(fleet)
        signals = stop_signals(fleet, request.workers)
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
            elsewhere = partial(either_holds, refits_are_over, no_worker_here(home))
            until(refits_are_over if isinstance(fleet, LocalFleet) else elsewhere)
        except Interrupted:
            print_interrupted(console, name)
            raise SystemExit(EXIT_INTERRUPTED) from None
    if not refits_are_over(read_standing(ledger, name)):
        run_refits(ledger, stored, founding.folder, request.workers, home, console, shown=shown)
    finish_export(console, ledger, plan, ids, images, home, request.output, None)


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


def _supervising(ledger: Ledger, stored: StoredStudy, home: Home) -> Presence:
    return Presence(
        ledger.workers,
        process_name(),
        device="",
        home=home.identity(),
        role=Role.SUPERVISOR,
        study_id=stored.id,
    )


def _set_deadline(ledger: Ledger, stored: StoredStudy, hours: float | None) -> None:
    """``--hours`` typed again does not move a deadline that is still ahead; one that has passed holds nobody back."""
    now = ledger.database.now()
    if stored.deadline is not None and stored.deadline > now:
        return
    deadline = None if hours is None else now + hours * 3600.0
    if deadline != stored.deadline:
        ledger.studies.set_deadline(stored.id, deadline)
