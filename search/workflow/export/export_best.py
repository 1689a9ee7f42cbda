"""``search export-best``: refits the best recipes and writes the export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from search.engines.plan import Workers
from search.export.candidates.comparable import check_comparable
from search.export.earlier_export import EarlierExportStays
from search.export.expected_score import forecast_export
from search.export.files import write_export
from search.export.final_model import gather_refits
from search.export.output.export import Export
from search.export.output.folder import Owner, check_output, output_folder
from search.export.output.manifest import MODEL
from search.export.output.outside_data import check_folder
from search.export.plan import ExportPlan, plan_export, queue_refits
from search.page.command import REPORT, add_to_export, remove_from_export
from search.report.dashboard.publish import publish
from search.report.summary import print_export
from search.runtime.commands import completed
from search.runtime.console import note, open_console, say
from search.runtime.home import Home
from search.study_setup.data_folder import NoData, known_folder
from search.study_setup.open_images import open_for_training
from search.study_state.confirmation import read_confirmation
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import refits_are_over
from search.study_state.study import Study, read_study, require_search
from search.study_state.time_left import read_ended
from search.study_state.training_costs import hours_to_continue
from search.tracking.options import TrackingOptions
from search.tracking.tracker import TrackedExport
from search.tracking.trackers import Trackers
from search.workflow.export.draw_pictures import draw_pictures, seconds_of_report
from search.workflow.export.final_training import say_refits
from search.workflow.watch import run_refits
from storage.database.outages import OUTAGE_TIMEOUT
from storage.stores import Stores, open_stores
from trainer.common.environment import check_torch_pair
from trainer.conversion.files import FOLDERS, SINGLE_FOLDER
from trainer.data.image_set import ImageSet
from trainer.evaluation.metrics import METRICS
from trainer.formats.submission import decide_kind
from trainer.recipe.recipe import LINEAR_PROBE

MAP_SECONDS = 25.0
"""Cautious estimate of the time that the map of the images takes beside the rest of the report."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """Options of ``search export-best``. None: not given."""

    studies: Sequence[str]
    """Studies whose recipes may take part; the export belongs to the first. Empty: the latest study."""
    data: Path | None
    storage_url: str
    output: Path | None
    seeds: int | None
    full_data: bool
    submission_kind: str | None
    workers: Workers


def export_best(request: ExportRequest) -> None:
    """Refit the best recipes of one or several studies and write the export. Local workers start if none are live.

    Raises:
        StudiesDiffer: the studies cannot be blended; nothing was started.
        NothingFinished, RefitFailed: there is nothing to export.
        OutputNotOurs, OutputNotWritable, OutputBusy, OutputInData: the folder cannot be exported to; nothing
            was started.
        SubmissionError: the submission cannot be of the requested kind; nothing was started. Or it would not be valid.
        ExportBroken: the export would not be valid; nothing was written.
        NoData, DataMismatch, DataError: there are no images, or not the study's.
    """
    check_torch_pair()
    console = open_console()
    stores = open_stores(request.storage_url, outage_timeout=OUTAGE_TIMEOUT)
    named = [read_study(stores, name) for name in dict.fromkeys(request.studies)]
    study, *other_studies = named or [read_study(stores, None)]
    for source in (study, *other_studies):
        require_search(source, "exports", or_second=True)
    check_comparable([study, *other_studies])
    home = Home(root=request.workers.home)
    owner = Owner.of(stores, study.name)
    data = request.data or known_folder(stores, study.stored)
    if request.output is not None and data is not None:
        check_folder(request.output, [data], home.root)
    check_output(output_folder(owner, home, request.output), owner)
    if data is None:
        raise NoData
    say(console, f"Reading the images in {data}.")
    images = open_for_training(data, study, stores)
    if images.submission is not None:  # refits may take hours, so a kind that does not fit is refused first
        decide_kind(images.submission, images.class_names, METRICS[study.metric].needs, request.submission_kind)
    say(console, "Choosing the recipes of the final model.")
    plan = plan_export(
        stores, study, seeds=request.seeds, full_data=request.full_data, other_studies=other_studies, home=home
    )
    if request.seeds is not None and all(member.recipe.method == LINEAR_PROBE for member in plan.members):
        note(console, "linear probes are the same with every seed, so --seeds trains nothing more")
    snapshots = [read_snapshot(stores, source.name) for source in plan.studies]
    say_refits(stores, plan, home, console)
    ids = queue_refits(stores, plan, home)
    for snapshot in snapshots:
        if not refits_are_over(read_snapshot(stores, snapshot.study.name)):
            shown = len(snapshot.records)
            run_refits(stores, snapshot.study, data, request.workers, home, console, shown=shown)
    finish_export(
        console,
        stores,
        plan,
        ids,
        images,
        home,
        request.output,
        request.submission_kind,
        steps=True,
        tracking=request.workers.tracking,
    )


def finish_export(
    console: Console,
    stores: Stores,
    plan: ExportPlan,
    ids: Sequence[Sequence[int]],
    images: ImageSet,
    home: Home,
    output: Path | None,
    submission_kind: str | None,
    *,
    keep_better: bool = False,
    steps: bool = False,
    tracking: TrackingOptions | None = None,
) -> None:
    """Make the final model from the refits, write the export and print the result.

    Args:
        ids: work items by member, from `search.export.plan.queue_refits`.
        output: folder of the export; None: that of the study in ``home``.
        submission_kind: what the submission holds; None: as the sample submission and the metric imply.
        keep_better: keep an earlier export that averages more networks and is no worse, and say so. Where there is no
            time for another report, keep one that is the same as well.
        steps: print a line before each slow step.
        tracking: what else records the export; None: nothing.

    Raises:
        RefitFailed, SubmissionError, ExportBroken: as `export_best`.
    """

    def step(line: str) -> None:
        if steps:
            say(console, line)

    step(f"Averaging the predictions of {len(plan.members)} recipe{'s' * (len(plan.members) > 1)}.")
    refits = gather_refits(stores, plan, ids)
    folder = output_folder(Owner.of(stores, plan.study.name), home, output)
    step("Forecasting the score on the test images." if refits.test is not None else "Scoring the final model.")
    predicted = forecast_export(stores, plan, refits)
    forecast = None if predicted is None else predicted.to_json()
    step(f"Writing the export to {folder}, and checking its networks on a few images.")
    # A report that is there is worth more than the same export without one.
    keep_same = (
        keep_better
        and (folder / REPORT).is_file()
        and not is_time_for_report(stores, plan.study.name, more=MAP_SECONDS)
    )
    derived = [name for name in (SINGLE_FOLDER, *FOLDERS) if (folder / MODEL / name).is_dir()]
    try:
        export = write_export(
            stores,
            plan,
            refits,
            images,
            home,
            folder,
            submission_kind,
            forecast=forecast,
            keep_better=keep_better,
            keep_same=keep_same,
        )
    except EarlierExportStays as reason:
        say(console, str(reason))
        return
    if derived:
        note(
            console,
            f"removed with the earlier model: {', '.join(f'{MODEL}/{name}' for name in derived)}; `search single` and "
            "`search convert` make them of the new one",
        )
    publish(stores, plan.study.name, home, export.folder)
    _track(stores, plan.study, export, tracking or TrackingOptions())
    reported = False
    try:
        if is_time_for_report(stores, plan.study.name):
            step("Drawing the pictures of the report.")
            draw_pictures(stores, plan.study, refits, images, home)
            step("Writing the report.")
            has_time = is_time_for_report(stores, plan.study.name, more=MAP_SECONDS)
            reported = add_to_export(stores, plan.study.name, export.folder, home, with_map=has_time)
        else:
            remove_from_export(export.folder)
            command = completed(f"search report --study {plan.study.name}")
            say(console, f"The report is left out for the deadline. `{command}` writes it.")
    finally:  # the export is complete whatever becomes of its report
        ended = read_ended(stores, plan.study.id).trials
        print_export(
            console,
            replace(export, files=(*export.files, *[REPORT] * reported)),
            study=plan.study.name,
            compared=bool(read_confirmation(stores, plan.study.name).finalists),
            probed=plan.study.budget == 0,
            more_hours=hours_to_continue(ended) if plan.study.runs_until_deadline else 0,
        )


def _track(stores: Stores, study: Study, export: Export, tracking: TrackingOptions) -> None:
    files = [export.folder / name for name in export.files]
    with Trackers.of(tracking, stores) as trackers:
        trackers.on_export(
            study.tracked(stores.database.identity),
            TrackedExport(
                folder=export.folder,
                score=export.score,
                pictures=[file for file in files if file.suffix == ".png"],
                files=[file for file in files if file.suffix in (".md", ".csv") and file.is_file()],
            ),
        )


def is_time_for_report(stores: Stores, name: str, more: float = 0.0) -> bool:
    """Whether the report of a study is written before its deadline, by a cautious estimate; true after the deadline.

    Args:
        more: seconds beside those of `seconds_of_report`.
    """
    study, now = read_study(stores, name), stores.database.now()
    if study.deadline is None or now >= study.deadline:
        return True
    return now + more + seconds_of_report(stores, study) < study.deadline
