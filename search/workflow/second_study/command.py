"""``search start`` with a second study: trains it, and exports the result only if it is better than the first."""

from __future__ import annotations

from rich.console import Console

from search.engines.plan import plan_fleet
from search.export.output.folder import Owner, check_output, output_folder
from search.export.output.outside_data import check_folder
from search.runtime.console import loud, open_console, say
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.study_setup.create_study import StudyPlan
from search.study_setup.second_study import compare_with_first, lines_about
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import refits_are_over, search_is_over
from search.study_state.study import Study
from search.tuning.retry import retry_host_failures
from search.workflow.export.export_best import ExportRequest, export_best
from search.workflow.second_study.prepare import SecondRequest, prepare_second_study
from search.workflow.start import begin_or_continue
from search.workflow.watch import run_refits, run_search
from storage.database.outages import OUTAGE_TIMEOUT
from storage.stores import Stores, open_stores
from storage.values import SEARCH_SPLIT, WorkKind
from studies.file.catalog import check_name
from trainer.common.environment import check_torch_pair
from trainer.training.throughput import best_device


class NothingToCompare(SearchError):
    """A training of a second study failed, so nothing says whether it is better than the first."""


def start_second_study(request: SecondRequest) -> None:
    """Train the best recipe of an export again, and export the result if that has helped.

    The same command continues what was interrupted.

    Raises:
        StudyError: the name is none of a study.
        CannotTrainAgain, AgainstTheRules: no such study can be made of the export, or none may.
        NoExport, NoData, DataMismatch, DataError, NoWeights, DeviceError: bad input; nothing was trained.
        OutputNotOurs, OutputNotWritable, OutputBusy, OutputInData: the folder cannot be exported to; nothing
            was trained.
        WorkersLost: the workers died; finished trainings are kept.
        NothingToCompare: a training failed.
    """
    console = open_console(quiet=request.quiet)
    name = check_name(request.study)
    check_torch_pair()
    planned = plan_fleet(request.workers)
    stores = open_stores(request.storage_url, outage_timeout=OUTAGE_TIMEOUT)
    home = Home(root=request.workers.home)
    owner = Owner.of(stores, name)
    check_output(output_folder(owner, home, request.output), owner)
    on_gpu = request.workers.gpus is None or bool(request.workers.gpus)
    plan = prepare_second_study(request, stores, str(best_device()) if on_gpu else "cpu", console)
    if request.output is not None:
        check_folder(request.output, [plan.folder], home.root)
    study, verb = begin_or_continue(stores, plan)
    assert study.second is not None, "it was planned as a second study"
    say(console, f"Study {name} {verb}: the best recipe of {study.first} again, with {study.second.name}.")
    with loud(console):
        for line in lines_about(stores, study):
            say(console, line)
    again = retry_host_failures(stores, study)
    if again.total:
        say(console, again.sentence(name))
    if not search_is_over(read_snapshot(stores, name)):
        run_search(stores, study, planned, plan.folder, request.workers, home, console)
    _train_other_seeds(stores, study, plan, request, home, console)
    found = compare_with_first(stores, study)
    if found is None:
        raise NothingToCompare(
            f"a training of study {name} failed, so it cannot be compared with {study.first}. `search status --study "
            f"{name}` shows why; the same command tries again"
        )
    with loud(console):
        say(console, found.sentence)
        if not found.adopted:
            say(console, f"The export of {found.first} stays the answer. Nothing is exported here.")
            return
    export_best(
        ExportRequest(
            studies=(name, found.first),
            data=plan.folder,
            storage_url=request.storage_url,
            output=request.output,
            seeds=None,
            full_data=False,
            submission_kind=None,
            workers=request.workers,
        )
    )


def _train_other_seeds(
    stores: Stores,
    study: Study,
    plan: StudyPlan,
    request: SecondRequest,
    home: Home,
    console: Console,
) -> None:
    """Train the recipe with the seeds that the trial does not have. The export uses the networks."""
    snapshot = read_snapshot(stores, study.name)
    for seed in study.spec.compared_seeds:
        if all(record.seed != seed for record in snapshot.records):
            stores.queue.add(
                study.id,
                WorkKind.REFIT,
                split=SEARCH_SPLIT,
                seed=seed,
                recipe=dict(study.spec.recipe),
                home=home.identity(),
            )
    if not refits_are_over(read_snapshot(stores, study.name)):
        run_refits(stores, study, plan.folder, request.workers, home, console, shown=len(snapshot.records))
