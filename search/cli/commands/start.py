"""The command that begins or continues a study, with its many options."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import (
    DEFAULT_HOME,
    DEFAULT_STORAGE,
    CacheQuota,
    Data,
    Encoding,
    Gpus,
    Grace,
    GroupColumn,
    HomeFolder,
    IdColumn,
    LabelColumn,
    Layout,
    MLflow,
    NoCorrections,
    PerGpu,
    Quota,
    Set,
    SeveralLabels,
    SimilarLabels,
    SkipBad,
    Storage,
    StudyFile,
    TensorBoard,
    TrainingTable,
    Weights,
    Workers,
    a_number,
    gpu_names,
)
from search.cli.overrides import overrides_of
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
        typer.Option(
            "--trials", min=0, max=100_000, help="Total number of trials, over all calls of `start`; 0: only probes."
        ),
    ] = None,
    hours: Annotated[
        str | None,
        typer.Option(
            "--hours",
            metavar="HOURS",
            help="Hours until the export is written, from the start that set the first deadline or the last one with "
            "+; +2: two hours from now. Without --trials, the deadline alone ends the search.",
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
        float | None,
        typer.Option(
            "--cpus-per-worker",
            min=0.1,
            max=10_000.0,
            callback=a_number,
            help="On Ray; default: with a GPU its share of the node's CPUs, at most 16, else 1.",
        ),
    ] = None,
    ship_data: Annotated[
        bool, typer.Option("--ship-data", help="On Ray: send the images even to nodes that have a folder of this name.")
    ] = False,
    grace: Grace = GRACE,
    checkpoint_quota: Quota = None,
    cache_quota: CacheQuota = None,
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
    pseudo_from: Annotated[
        str | None,
        typer.Option(
            "--pseudo-from",
            metavar="EXPORT",
            help="Name of a study, or folder of its export, whose networks label the test images. --study then names a "
            "second study: the best recipe of the export, trained again with these pseudo-labels, and exported if they "
            "help.",
        ),
    ] = None,
    distil_from: Annotated[
        str | None,
        typer.Option(
            "--distil-from",
            metavar="EXPORT",
            help="Name of a study, or folder of its export. --study then names a second study: the best recipe of the "
            "export, trained again toward half the label, half the prediction of a network of the same recipe, and "
            "exported if that helps.",
        ),
    ] = None,
    two_stage_from: Annotated[
        str | None,
        typer.Option(
            "--two-stage-from",
            metavar="EXPORT",
            help="Name of a study, or folder of its export, that confuses some classes. --study then names a second "
            "study: the best recipe of the export, trained again on the images of these classes alone, to tell them "
            "apart in a second stage. Both stages are exported if that helps.",
        ),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe/--no-probe",
            help="Whether a new study first fits linear classifiers on the frozen features of its backbones.",
        ),
    ] = True,
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
    several_labels: SeveralLabels = None,
    encoding: Encoding = None,
    skip_bad: SkipBad = False,
    no_corrections: NoCorrections = False,
    folds: Annotated[
        Path | None, typer.Option("--folds", help="Table of folds to use, such as folds.csv: columns image_id, fold.")
    ] = None,
    weights: Weights = None,
    tensorboard: TensorBoard = None,
    mlflow: MLflow = None,
    home: HomeFolder = DEFAULT_HOME,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the export; default: retable/STUDY.")
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            help="Print no progress, only warnings, errors and the answer: notes about the images, failed trials, what "
            "ended the search early, and the export.",
        ),
    ] = False,
) -> None:
    """Start or continue a study: search, then export the best recipes. Ctrl-C loses nothing."""
    begun = time.monotonic()
    if quiet and logging.getLogger().level == logging.INFO:  # not with --debug
        logging.getLogger().setLevel(logging.WARNING)
    from search.cli.early_checks import (
        check_engine,
        check_folder,
        check_places,
        check_second_study,
        check_study,
        second_study_option,
    )
    from search.study_setup.deadline import parse_hours
    from search.tracking.options import TrackingOptions

    second = second_study_option(
        {
            "--pseudo-from": pseudo_from,
            "--distil-from": distil_from,
            "--two-stage-from": two_stage_from,
        }
    )
    limit = None if hours is None else parse_hours(hours)
    overrides = overrides_of(
        assignments,
        skip_bad,
        no_corrections,
        id_column=id_column,
        label_column=label_column,
        group_column=group_column,
        table=table,
        layout=layout,
        similar_labels=similar_labels,
        several_labels=several_labels,
        encoding=encoding,
    )
    if not probe:
        overrides = [*overrides, "probe.enabled=false"]
    if second is None:
        check_study(study, overrides, name, storage_url)
    else:
        check_second_study(
            second[0],
            {
                "--name": name not in (None, study),
                "--trials": trials is not None,
                "--hours": hours is not None,
                "--patience": patience is not None,
                "--priority": priority is not None,
                "--from": begin_from is not None,
                "--folds": folds is not None,
                "--set and options of the data": bool(overrides),
            },
        )
    if data is not None:
        check_folder(data)
    tracking = TrackingOptions(tensorboard=tensorboard, mlflow=mlflow).checked()
    check_engine(engine, gpus=gpus, workers_per_gpu=workers_per_gpu, address=address, storage_url=storage_url)
    check_places(home, storage_url, output)
    from search.engines.plan import RayCluster
    from search.engines.plan import Workers as WorkersRequest

    requested = WorkersRequest(
        engine=engine,
        workers=workers,
        gpus=gpu_names(gpus),
        per_gpu=workers_per_gpu,
        weights=weights,
        home=home,
        grace=grace,
        quota=checkpoint_quota,
        cache_quota=cache_quota,
        tracking=tracking,
        ray=RayCluster(
            address=address,
            gpus_per_worker=gpus_per_worker,
            cpus_per_worker=cpus_per_worker,
            ship_data=ship_data,
        ),
    )
    if second is not None:
        from search.workflow.second_study.command import start_second_study
        from search.workflow.second_study.prepare import SecondRequest

        option, first = second
        start_second_study(
            SecondRequest(
                option=option,
                study=study,
                first=first,
                data=data,
                storage_url=storage_url,
                output=output,
                workers=requested,
                quiet=quiet,
            )
        )
        return
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
            quiet=quiet,
            workers=requested,
        )
    )
