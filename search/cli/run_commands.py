"""Commands that train: start, worker, confirm and export-best; and import, which adds predictions for an export."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import (
    DEFAULT_HOME,
    DEFAULT_STORAGE,
    Data,
    Encoding,
    Gpus,
    Grace,
    GroupColumn,
    HomeFolder,
    IdColumn,
    LabelColumn,
    Layout,
    PerGpu,
    Quota,
    Set,
    SimilarLabels,
    SkipBad,
    Storage,
    StoredIn,
    Studies,
    Study,
    StudyFile,
    TrainingTable,
    Weights,
    Workers,
    a_number,
    overrides_of,
)
from search.runtime.signals import GRACE


def start(
    study: StudyFile,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Name of the stored study; default: the name of the file.")
    ] = None,
    data: Data = None,
    storage_url: Storage = DEFAULT_STORAGE,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, max=100_000, help="Total number of trials, over all calls of `start`."),
    ] = None,
    hours: Annotated[
        str | None,
        typer.Option(
            "--hours",
            metavar="HOURS",
            help="Hours from the first start until the export is written; +2: two hours from now. Without --trials, "
            "the deadline alone ends the search.",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            min=0,
            max=100_000,
            help="Stop after this many trials without a gain beyond noise; 0: never.",
        ),
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(
            "--priority",
            min=-1_000_000,
            max=1_000_000,
            help="Workers serve the study with the highest priority first; default: 0.",
        ),
    ] = None,
    workers: Workers = None,
    gpus: Gpus = None,
    workers_per_gpu: PerGpu = 1,
    engine: Annotated[
        str, typer.Option("--engine", help="Where the workers run: local, or ray (needs the ray package).")
    ] = "local",
    address: Annotated[
        str | None, typer.Option("--address", help="Address of the Ray cluster, such as auto or ray://HOST:10001.")
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-worker",
            min=0.0,
            max=1000.0,
            callback=a_number,
            help="On Ray; default: 1 if the cluster has GPUs. 0.5: two workers share a GPU.",
        ),
    ] = None,
    cpus_per_worker: Annotated[
        float, typer.Option("--cpus-per-worker", min=0.1, max=10_000.0, callback=a_number, help="On Ray.")
    ] = 1.0,
    ship_data: Annotated[
        bool, typer.Option("--ship-data", help="On Ray: send the images even to nodes that have a folder of this name.")
    ] = False,
    grace: Grace = GRACE,
    checkpoint_quota: Quota = None,
    assignments: Set = None,
    begin_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STUDY[:TRIAL]",
            help="Start a new study from the recipe of this trial, default: the best; it fixes all fields that are not "
            "sampled.",
        ),
    ] = None,
    memory: Annotated[
        bool,
        typer.Option(
            "--memory/--no-memory", help="Whether a new study first tries recipes that did well in other studies."
        ),
    ] = True,
    id_column: IdColumn = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    table: TrainingTable = None,
    layout: Layout = None,
    similar_labels: SimilarLabels = None,
    encoding: Encoding = None,
    skip_bad: SkipBad = False,
    folds: Annotated[
        Path | None, typer.Option("--folds", help="Table of folds to use, such as folds.csv: columns image_id, fold.")
    ] = None,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the export; default: retable/STUDY.")
    ] = None,
) -> None:
    """Start or continue a study: search, then export the best recipes. Ctrl-C loses nothing."""
    begun = time.monotonic()
    from search.cli.early_checks import check_engine, check_folder, check_study
    from search.study_setup.deadline import parse_hours

    limit = None if hours is None else parse_hours(hours)
    overrides = overrides_of(
        assignments,
        skip_bad,
        id_column=id_column,
        label_column=label_column,
        group_column=group_column,
        table=table,
        layout=layout,
        similar_labels=similar_labels,
        encoding=encoding,
    )
    check_study(study, overrides, name, storage_url)
    if data is not None:
        check_folder(data)
    check_engine(engine, gpus=gpus, workers_per_gpu=workers_per_gpu, address=address, storage_url=storage_url)
    from search.engines.plan import RayCluster
    from search.engines.plan import Workers as WorkersRequest
    from search.study_setup.prepare import StartRequest
    from search.workflow.start import start as run

    run(
        StartRequest(
            study=study,
            name=name,
            data=data,
            storage_url=storage_url,
            trials=trials,
            hours=limit,
            begun=begun,
            patience=patience,
            priority=priority,
            overrides=overrides,
            begin_from=begin_from,
            memory=memory,
            folds=folds,
            output=output,
            workers=WorkersRequest(
                engine=engine,
                workers=workers,
                gpus=gpu_indices(gpus),
                per_gpu=workers_per_gpu,
                weights=weights,
                home=home,
                grace=grace,
                quota=checkpoint_quota,
                ray=RayCluster(
                    address=address,
                    gpus_per_worker=gpus_per_worker,
                    cpus_per_worker=cpus_per_worker,
                    ship_data=ship_data,
                ),
            ),
        )
    )


def worker(
    study: Annotated[
        str | None,
        typer.Option("--study", "-s", help="Name of a stored study; default: all running studies, by priority."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            "-d",
            envvar="RETABLE_DATA",
            show_envvar=True,
            help="Folder of images; repeatable, for several studies.",
        ),
    ] = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
    stay: Annotated[bool, typer.Option("--stay", help="Wait for further work when none is left.")] = False,
    grace: Grace = GRACE,
    checkpoint_quota: Quota = None,
    lease: Annotated[
        float | None,
        typer.Option(
            "--lease",
            min=1.0,
            max=604_800.0,
            callback=a_number,
            help="Seconds without a renewal after which another worker may take over the trial; default: 120.",
        ),
    ] = None,
) -> None:
    """Run a worker: take trials from the database until none is left. Ctrl-C releases the current trial."""
    from search.runtime.disk import QUOTA
    from search.worker.lease import LEASE
    from search.worker.run_worker import WorkerRequest, run_worker

    run_worker(
        WorkerRequest(
            storage_url=storage_url,
            study=study,
            folders=data or (),
            home=home,
            weights=weights,
            stay=stay,
            grace=grace,
            quota=QUOTA if checkpoint_quota is None else checkpoint_quota,
            lease=LEASE if lease is None else lease,
        )
    )


def confirm(
    study: Study = None,
    data: Data = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    workers: Workers = None,
    gpus: Gpus = None,
    weights: Weights = None,
    grace: Grace = GRACE,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Repeat the best trials and the default recipe on fresh splits, and compare them. Ctrl-C loses nothing."""
    from search.engines.plan import Workers as WorkersRequest
    from search.workflow.confirm import ConfirmRequest
    from search.workflow.confirm import confirm as run

    run(
        ConfirmRequest(
            study=study,
            data=data,
            storage_url=storage_url,
            workers=WorkersRequest(workers=workers, gpus=gpu_indices(gpus), weights=weights, home=home, grace=grace),
        )
    )


def export_best(
    study: Studies = None,
    data: Data = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: retable/STUDY.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, max=100, help="Refits per fold; default: the study's final.seeds."),
    ] = None,
    full_data: Annotated[bool, typer.Option("--full-data", help="Train on all images instead of K folds.")] = False,
    submission_kind: Annotated[
        str | None,
        typer.Option(
            "--submission-kind",
            help="label, integer, probability or probabilities; default: as in the sample submission.",
        ),
    ] = None,
    workers: Workers = None,
    gpus: Gpus = None,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Refit the best recipes of one or several studies; write submission, predictions, model folder and report."""
    run_export(
        studies=study or (),
        data=data,
        storage_url=storage_url,
        output=output,
        seeds=seeds,
        full_data=full_data,
        submission_kind=submission_kind,
        workers=workers,
        gpus=gpus,
        weights=weights,
        home=home,
    )


def run_export(
    *,
    studies: Sequence[str],
    data: Path | None,
    storage_url: str,
    workers: int | None,
    gpus: str | None,
    weights: Path | None,
    home: Path,
    output: Path | None = None,
    seeds: int | None = None,
    full_data: bool = False,
    submission_kind: str | None = None,
) -> None:
    """Export as `export_best` does; shared with ``search stop``."""
    from search.engines.plan import Workers as WorkersRequest
    from search.workflow.export_best import ExportRequest
    from search.workflow.export_best import export_best as run

    run(
        ExportRequest(
            studies=studies,
            data=data,
            storage_url=storage_url,
            output=output,
            seeds=seeds,
            full_data=full_data,
            submission_kind=submission_kind,
            workers=WorkersRequest(workers=workers, gpus=gpu_indices(gpus), weights=weights, home=home),
        )
    )


def import_predictions(
    study: Study = None,
    oof: Annotated[
        Path | None,
        typer.Option("--oof", help="Out-of-fold probabilities: a table with the image id and one column per class."),
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", help="The same model's probabilities for the test images.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", "-n", metavar="LABEL", help="Name of the predictions; default: the name of the file."),
    ] = None,
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="LABEL", help="Remove the predictions imported under this name.")
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the imported predictions.")] = False,
    storage_url: StoredIn = DEFAULT_STORAGE,
) -> None:
    """Import the predictions of another model; `export-best` blends them in if that is a real gain."""
    if sum([oof is not None, remove is not None, list_them]) != 1:
        raise typer.BadParameter(
            "give one of them: --oof FILE, with --test FILE, imports; --list lists; --remove LABEL removes",
            param_hint="--oof, --list, --remove",
        )
    from search.workflow.import_predictions import ImportRequest, list_imports, remove_import
    from search.workflow.import_predictions import import_predictions as run

    if oof is not None:
        run(ImportRequest(study=study, storage_url=storage_url, oof=oof, test=test, label=name))
    elif remove is not None:
        remove_import(study, storage_url, remove)
    else:
        list_imports(study, storage_url)


def gpu_indices(text: str | None) -> list[int] | None:
    """Parse the value of ``--gpus``.

    Raises:
        typer.BadParameter: it is not a list of numbers separated by commas.
    """
    if text is None:
        return None
    if not re.fullmatch(r"\s*[0-9]{1,4}\s*(,\s*[0-9]{1,4}\s*)*", text):
        raise typer.BadParameter(f"{text!r} is not a list of GPU indices such as 0,2", param_hint="--gpus")
    return [int(part) for part in text.split(",")]
