"""The verbs that do work: start and export-best."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from search.competition import Competition, inspect, open_for_training
from search.devices import Placement, list_gpus, place_workers, usable_cores
from search.engines.local import LocalFleet, WorkerCommand
from search.export import ExportPlan, gather_refits, plan_export, queue_refits
from search.export_files import write_export
from search.founding import Founding, compare, found
from search.home import Home
from search.ledger import Ledger, exists, open_ledger
from search.publishing import publish
from search.standing import Standing, read_standing
from search.stopping import EXIT_INTERRUPTED, StopSignals
from search.summary import print_export, print_interrupted, print_ranking, print_study
from search.supervision import Interrupted, refits_are_over, search_is_over, watch
from storage.database import connect
from storage.stored_studies import StoredStudy
from storage.values import StudyState
from studies.backbones import backbones_of, check_backbones
from studies.catalog import check_name, find_study
from studies.spec import StudySpec, load_study
from trainer.backbones import BackboneError
from trainer.environment import check_torch_pair
from trainer.imageset import ImageSet
from trainer.samples import write_digits
from trainer.weights import missing_weights, missing_weights_message

NO_DATA = (
    "where are the images? Say --data FOLDER, or set RETABLE_DATA; `search check FOLDER` tells what is in a folder"
)


class NoData(ValueError):  # noqa: N818 - named for the fact
    """Nobody said where the images are."""


@dataclass(frozen=True, kw_only=True)
class LocalWorkers:
    """How workers are to run on this host."""

    workers: int | None
    gpus: Sequence[int] | None
    weights: Path | None
    home: Path


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """``search start`` as typed."""

    study: str
    name: str | None
    data: Path | None
    storage_url: str
    trials: int | None
    hours: float | None
    overrides: Sequence[str]
    folds: Path | None
    output: Path | None
    local: LocalWorkers


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """``search export-best`` as typed."""

    study: str | None
    data: Path | None
    storage_url: str
    output: Path | None
    seeds: int | None
    full_data: bool
    submission_kind: str | None
    local: LocalWorkers


def start(request: StartRequest) -> None:
    """Begin or continue a study, search, and export the best.

    Everything that can be wrong is found out before anything is written.

    Raises:
        StudyError, BackboneError, DataError, EnvironmentProblem, DeviceError, StorageError: bad input; nothing was
        begun. DataMismatch, StudyChanged: a stored study of that name is another one. WorkersLost: the workers died;
        what they finished is kept.
    """
    console = Console()
    spec, file_spec = load_study(request.study, request.overrides), load_study(request.study)
    name = check_name(request.name or find_study(request.study).name)
    connect(request.storage_url)
    placement = _place(request.local)
    home = Home(root=request.local.home)
    # What is wrong with the images is found out before timm is imported, which takes seconds; but a sample of ours is
    # written only when nothing else can be wrong.
    data, competition = request.data or _data_of_stored(request.storage_url, name), None
    if data is not None:
        competition = _inspect(console, data, spec)
    elif spec.data.sample is None:
        raise NoData(NO_DATA)
    check_torch_pair()
    spec, file_spec = _with_backbones(spec, request.local.weights), check_backbones(file_spec)
    if data is None or competition is None:
        data = write_digits(home.samples / "digits")
        competition = _inspect(console, data, spec)
    founding = Founding(
        name=name,
        spec=spec,
        file_spec=file_spec,
        overrides=request.overrides,
        competition=competition,
        folder=data,
        folds=request.folds,
        budget=request.trials or spec.search_settings.trials,
    )
    ledger = open_ledger(request.storage_url, create=True)
    stored = ledger.studies.find(name)
    if stored is None:
        stored = found(ledger, founding)
        console.print(f"Study [bold]{name}[/] begins.")
    else:
        compare(stored, founding)
        console.print(f"Study [bold]{name}[/] goes on.")
    _set_limits(ledger, stored, request)
    print_study(console, ledger.studies.get(name), spec, competition, placement)

    with ExitStack() as stack:
        fleet = stack.enter_context(
            LocalFleet(_worker_command(ledger, name, data, request.local), placement, home.logs(name))
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
    _finish(console, ledger, plan, ids, competition.images, home, request.output, None)


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
    data = request.data or _known_folder(ledger, stored)
    if data is None:
        raise NoData(NO_DATA)
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


def _with_backbones(spec: StudySpec, weights: Path | None) -> StudySpec:
    """The study with its backbones checked and found, and their pre-trained weights at hand."""
    spec = check_backbones(spec)
    inits = [d.choices or () for d in spec.space if d.field == "init"] or [(spec.recipe["init"],)]
    if any("imagenet" in choices for choices in inits):
        missing = missing_weights(backbones_of(spec), weights)
        if missing:
            raise BackboneError(missing_weights_message(missing, weights))
    return spec


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


def _inspect(console: Console, data: Path, spec: StudySpec) -> Competition:
    with console.status(f"Reading {escape(str(data))} …"):
        return inspect(data, spec)


def _data_of_stored(url: str, name: str) -> Path | None:
    """The images of a study that is to go on, where nobody says where they are."""
    if not exists(connect(url)):
        return None
    ledger = open_ledger(url, create=True)
    stored = ledger.studies.find(name)
    return None if stored is None else _known_folder(ledger, stored)


def _known_folder(ledger: Ledger, stored: StoredStudy) -> Path | None:
    """Where the data was when the study began, if it is still there; its fingerprint is compared in any case."""
    folder = ledger.datasets.get(stored.fingerprint).summary.get("folder")
    return Path(folder) if isinstance(folder, str) and Path(folder).is_dir() else None


def _set_limits(ledger: Ledger, stored: StoredStudy, request: StartRequest) -> None:
    """Budget and deadline. ``--hours`` typed again does not move a deadline that is still ahead."""
    if request.trials is not None and request.trials != stored.budget:
        ledger.studies.set_budget(stored.id, request.trials)
    now = ledger.database.now()
    if stored.deadline is not None and stored.deadline <= now and request.hours is None:
        ledger.studies.set_deadline(stored.id, None)
    elif request.hours is not None and (stored.deadline is None or stored.deadline <= now):
        ledger.studies.set_deadline(stored.id, now + request.hours * 3600.0)
    if stored.state is not StudyState.RUNNING:
        ledger.studies.set_state(stored.id, StudyState.RUNNING)
