"""The verbs that do work: start and export-best."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from search.competition import NoData, open_for_training
from search.devices import Placement, list_gpus, place_workers, usable_cores
from search.engines.local import LocalFleet, WorkerCommand
from search.exit_codes import EXIT_INTERRUPTED
from search.export import ExportPlan, gather_refits, plan_export, queue_refits
from search.export_files import write_export
from search.founding import found, resume
from search.home import Home
from search.ledger import Ledger, open_ledger
from search.preparation import known_folder, prepare
from search.publishing import publish
from search.requests import ExportRequest, LocalWorkers, StartRequest
from search.standing import Standing, read_standing
from search.stopping import StopSignals
from search.summary import print_export, print_interrupted, print_ranking, print_study
from search.supervision import Interrupted, refits_are_over, search_is_over, watch
from storage.stored_studies import StoredStudy
from studies.spec import StudySpec
from trainer.environment import check_torch_pair
from trainer.imageset import ImageSet


def start(request: StartRequest) -> None:
    """Begin or continue a study, search, and export the best.

    Everything that can be wrong is found out before anything is written.

    Raises:
        StudyError, BackboneError, DataError, EnvironmentProblem, DeviceError, StorageError: bad input; nothing was
        begun. DataMismatch, StudyChanged: a stored study of that name is another one. WorkersLost: the workers died;
        what they finished is kept.
    """
    console = Console()
    placement = _place(request.local)
    founding = prepare(request, console)
    name, images = founding.name, founding.competition.images
    home = Home(root=request.local.home)
    ledger = open_ledger(request.storage_url, create=True)
    stored = ledger.studies.find(name)
    verb = "begins" if stored is None else "goes on"
    stored = found(ledger, founding) if stored is None else resume(ledger, stored, founding)
    console.print(f"Study [bold]{name}[/] {verb}.")
    _set_deadline(ledger, stored, request.hours)
    print_study(console, stored, founding.spec, founding.competition, placement)

    with ExitStack() as stack:
        fleet = stack.enter_context(
            LocalFleet(_worker_command(ledger, name, founding.folder, request.local), placement, home.logs(name))
        )
        signals = StopSignals(at_once=fleet.kill).install()
        try:
            watch(ledger, name, search_is_over, fleet=fleet, signals=signals, console=console)
            standing = read_standing(ledger, name)
            print_ranking(console, standing)
            plan = plan_export(ledger, stored, seeds=None, full_data=False)
            ids = queue_refits(ledger, plan, home)
            shown = len(standing.records)
            watch(ledger, name, refits_are_over, fleet=fleet, signals=signals, console=console, shown=shown)
        except Interrupted:
            print_interrupted(console, name)
            raise SystemExit(EXIT_INTERRUPTED) from None
    _finish(console, ledger, plan, ids, images, home, request.output, None)


def export_best(request: ExportRequest) -> None:
    """Refit the best finished trial and write the export, with local workers where none live.

    Raises:
        NothingFinished, RefitFailed, SubmissionError, ExportBroken: there is nothing to export, or not like this.
        DataMismatch, DataError: the images at hand are not the study's.
    """
    check_torch_pair()
    console = Console()
    ledger = open_ledger(request.storage_url)
    stored = ledger.study(request.study)
    spec = StudySpec.from_dict(stored.spec)
    home = Home(root=request.local.home)
    data = request.data or known_folder(ledger, stored)
    if data is None:
        raise NoData
    images = open_for_training(data, spec, stored.fingerprint)
    plan = plan_export(ledger, stored, seeds=request.seeds, full_data=request.full_data)
    standing = read_standing(ledger, stored.name)
    print_ranking(console, standing)
    ids = queue_refits(ledger, plan, home)
    if not refits_are_over(read_standing(ledger, stored.name)):
        _run_refits(ledger, stored, data, request.local, home, console, shown=len(standing.records))
    _finish(console, ledger, plan, ids, images, home, request.output, request.submission_kind)


def _finish(
    console: Console,
    ledger: Ledger,
    plan: ExportPlan,
    ids: Sequence[int],
    images: ImageSet,
    home: Home,
    output: Path | None,
    submission_kind: str | None,
) -> None:
    refits = gather_refits(ledger, plan, ids, images.y)
    folder = output or home.exports(plan.study.name)
    export = write_export(ledger, plan, refits, images, home, folder, submission_kind)
    publish(ledger, plan.study.name, home, export.folder)
    print_export(console, export)


def _place(local: LocalWorkers) -> Placement:
    return place_workers(local.workers, local.gpus, list_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"), usable_cores())


def _run_refits(
    ledger: Ledger, stored: StoredStudy, data: Path, local: LocalWorkers, home: Home, console: Console, *, shown: int
) -> None:
    """Have the refits done: by the workers that live, and once none does, by local ones."""

    def over_or_alone(standing: Standing) -> bool:
        return refits_are_over(standing) or not standing.workers

    with ExitStack() as stack:
        try:
            signals = StopSignals().install()
            watch(ledger, stored.name, over_or_alone, fleet=None, signals=signals, console=console, shown=shown)
            if refits_are_over(read_standing(ledger, stored.name)):
                return
            command = _worker_command(ledger, stored.name, data, local)
            fleet = stack.enter_context(LocalFleet(command, _place(local), home.logs(stored.name)))
            signals = StopSignals(at_once=fleet.kill).install()
            watch(ledger, stored.name, refits_are_over, fleet=fleet, signals=signals, console=console, shown=shown)
        except Interrupted:
            print_interrupted(console, stored.name)
            raise SystemExit(EXIT_INTERRUPTED) from None


def _worker_command(ledger: Ledger, name: str, data: Path, local: LocalWorkers) -> WorkerCommand:
    url = ledger.database.url.render_as_string(hide_password=False)
    return WorkerCommand(study=name, storage_url=url, data=data, home=local.home, weights=local.weights)


def _set_deadline(ledger: Ledger, stored: StoredStudy, hours: float | None) -> None:
    """``--hours`` typed again does not move a deadline that is still ahead; one that has passed holds nobody back."""
    now = ledger.database.now()
    if stored.deadline is not None and stored.deadline > now:
        return
    deadline = None if hours is None else now + hours * 3600.0
    if deadline != stored.deadline:
        ledger.studies.set_deadline(stored.id, deadline)
