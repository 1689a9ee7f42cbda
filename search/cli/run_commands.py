"""Commands that train: start, worker, confirm, export-best; and import, which adds predictions to an export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import (
    DEFAULT_HOME,
    DEFAULT_STORAGE,
    Data,
    Gpus,
    Grace,
    HomeFolder,
    PerGpu,
    Quota,
    Set,
    SkipBad,
    Storage,
    StoredIn,
    Studies,
    Study,
    StudyFile,
    Weights,
    Workers,
    overrides_of,
)
from search.runtime.signals import GRACE


def start(
    study: StudyFile,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Name of the stored study; default: the file's stem.")
    ] = None,
    data: Data = None,
    storage_url: Storage = DEFAULT_STORAGE,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Trials in total, however often `start` is typed.")
    ] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", min=0.01, help="Begin no trial that would end later than this.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option("--patience", min=0, help="Stop once this many trials gained nothing beyond noise; 0: never."),
    ] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", help="Workers of many studies serve the highest first; default: 0.")
    ] = None,
    workers: Workers = None,
    gpus: Gpus = None,
    workers_per_gpu: PerGpu = 1,
    engine: Annotated[
        str, typer.Option("--engine", help="Where workers run: local, or ray (needs the ray package).")
    ] = "local",
    address: Annotated[
        str | None, typer.Option("--address", help="Ray cluster, such as auto or ray://HOST:10001.")
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option("--gpus-per-worker", min=0.0, help="On Ray; default: 1 where there are GPUs. 0.5: two share one."),
    ] = None,
    cpus_per_worker: Annotated[float, typer.Option("--cpus-per-worker", min=0.1, help="On Ray.")] = 1.0,
    ship_data: Annotated[
        bool, typer.Option("--ship-data", help="On Ray: send the images also to nodes that have such a folder.")
    ] = False,
    grace: Grace = GRACE,
    checkpoint_quota: Quota = None,
    assignments: Set = None,
    begin_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STUDY[:TRIAL]",
            help="Begin a new study at that trial's recipe, default: the best: what is not sampled is fixed to it.",
        ),
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Whether a new study first tries what did well in others.")
    ] = True,
    skip_bad: SkipBad = False,
    folds: Annotated[
        Path | None, typer.Option("--folds", help="Folds to use, as written in folds.csv: columns image_id, fold.")
    ] = None,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the export; default: retable/STUDY.")
    ] = None,
) -> None:
    """Search, then export the best: begins a study, or continues it. Ctrl-C is safe."""
    from search.cli.early_checks import check_engine, check_folder, check_study

    overrides = overrides_of(assignments, skip_bad)
    check_study(study, overrides, name)
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
            hours=hours,
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
        str | None, typer.Option("--study", "-s", help="A stored study; default: every running one, by priority.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            "-d",
            envvar="RETABLE_DATA",
            show_envvar=True,
            help="Folder of images; repeatable, for many studies.",
        ),
    ] = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
    stay: Annotated[bool, typer.Option("--stay", help="Wait for further work where none is left.")] = False,
    grace: Grace = GRACE,
    checkpoint_quota: Quota = None,
    lease: Annotated[
        float | None,
        typer.Option(
            "--lease",
            min=1.0,
            help="Seconds without a sign of life after which others take its trial over; default: 120.",
        ),
    ] = None,
) -> None:
    """Join the fleet: take trials from the database until none is left. Ctrl-C hands the trial in hand back."""
    from search.runtime.disk import QUOTA
    from search.worker.lease import LEASE
    from search.worker.loop import WorkerRequest, run_worker

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
    """The best trials and the default recipe again on fresh splits, and how they compare. Ctrl-C is safe."""
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
        typer.Option("--submission-kind", help="label, integer, probability or probabilities; default: as the sample."),
    ] = None,
    workers: Workers = None,
    gpus: Gpus = None,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Refit the best recipes, of one study or of several; write submission, predictions, model folder and report."""
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
        typer.Option("--oof", help="Out-of-fold probabilities: a table with the image id and a column for each class."),
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", help="The same model's probabilities for the test images.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", metavar="LABEL", help="What they are called; default: as the file.")
    ] = None,
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="LABEL", help="Forget what was imported under that name.")
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="What was imported.")] = False,
    storage_url: StoredIn = DEFAULT_STORAGE,
) -> None:
    """Admit predictions of a model that was made elsewhere: `export-best` blends them in where that is a real gain."""
    if sum([oof is not None, remove is not None, list_them]) != 1:
        raise typer.BadParameter("say one of: --oof FILE --test FILE to import, --list, --remove LABEL")
    from search.workflow.import_predictions import ImportRequest, list_imports, remove_import
    from search.workflow.import_predictions import import_predictions as run

    if oof is not None:
        run(ImportRequest(study=study, storage_url=storage_url, oof=oof, test=test, label=name))
    elif remove is not None:
        remove_import(study, storage_url, remove)
    else:
        list_imports(study, storage_url)


def gpu_indices(text: str | None) -> list[int] | None:
    if text is None:
        return None
    if not all(part.strip().isdigit() for part in text.split(",")):
        raise typer.BadParameter(f"{text!r} is not a list of GPU indices such as 0,2", param_hint="--gpus")
    return [int(part) for part in text.split(",")]
