"""search export-best: refit the best recipes and write the export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from search.engines.plan import Workers
from search.export.doubts import doubts_of_export
from search.export.expected_score import forecast_export
from search.export.files import write_export
from search.export.final_model import gather_refits
from search.export.plan import ExportPlan, plan_export, queue_refits
from search.export.pool import check_alike
from search.report.dashboard import publish
from search.report.summary import print_export
from search.runtime.console import open_console
from search.runtime.home import Home
from search.study_setup.data_folder import NoData, known_folder, open_for_training
from search.study_state.confirmation import read_confirmation
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import refits_are_over
from search.study_state.study import read_study
from search.workflow.watch import run_refits
from storage.database.outages import OUTAGE_TIMEOUT
from storage.stores import Stores, open_stores
from trainer.common.environment import check_torch_pair
from trainer.data.image_set import ImageSet


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """``search export-best``. None: not typed."""

    studies: Sequence[str]
    """Whose recipes may take part; the export is the first one's. None of them: the latest study."""
    data: Path | None
    storage_url: str
    output: Path | None
    seeds: int | None
    full_data: bool
    submission_kind: str | None
    workers: Workers


def export_best(request: ExportRequest) -> None:
    """Refit the best recipes of a study, or of several, and write the export, with local workers where none live.

    Raises:
        StudiesDiffer: several studies that cannot be blended; nothing was begun.
        NothingFinished, RefitFailed, SubmissionError, ExportBroken: there is nothing to export, or not like this.
        DataMismatch, DataError: the images at hand are not the study's.
    """
    check_torch_pair()
    console = open_console()
    stores = open_stores(request.storage_url, outage_timeout=OUTAGE_TIMEOUT)
    named = [read_study(stores, name) for name in dict.fromkeys(request.studies)]
    study, *also = named or [read_study(stores, None)]
    check_alike([study, *also])
    home = Home(root=request.workers.home)
    data = request.data or known_folder(stores, study.fingerprint)
    if data is None:
        raise NoData
    images = open_for_training(data, study)
    plan = plan_export(stores, study, seeds=request.seeds, full_data=request.full_data, also=also, home=home)
    snapshots = [read_snapshot(stores, source.name) for source in plan.studies]
    ids = queue_refits(stores, plan, home)
    for snapshot in snapshots:
        if not refits_are_over(read_snapshot(stores, snapshot.study.name)):
            shown = len(snapshot.records)
            run_refits(stores, snapshot.study, data, request.workers, home, console, shown=shown)
    finish_export(console, stores, plan, ids, images, home, request.output, request.submission_kind)


def finish_export(
    console: Console,
    stores: Stores,
    plan: ExportPlan,
    ids: Sequence[Sequence[int]],
    images: ImageSet,
    home: Home,
    output: Path | None,
    submission_kind: str | None,
) -> None:
    refits = gather_refits(stores, plan, ids)
    folder = output or home.exports(plan.study.name)
    predicted = forecast_export(stores, plan, refits)
    forecast = None if predicted is None else predicted.to_json()
    export = write_export(stores, plan, refits, images, home, folder, submission_kind, forecast=forecast)
    publish(stores, plan.study.name, home, export.folder)
    latest = stores.study(None).id == plan.study.id
    print_export(
        console,
        export,
        doubts_of_export(stores, plan, export),
        study="" if latest else plan.study.name,
        compared=bool(read_confirmation(stores, plan.study.name).finalists),
    )
