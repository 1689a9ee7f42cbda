"""Commands that train outside of a search: worker, confirm, pretrain."""

from __future__ import annotations

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
    Quota,
    Set,
    SeveralLabels,
    SimilarLabels,
    SkipBad,
    Storage,
    StoredIn,
    Study,
    TensorBoard,
    TrainingTable,
    Weights,
    Workers,
    a_number,
    gpu_names,
)
from search.cli.overrides import overrides_of
from search.runtime.signals import GRACE


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
    tensorboard: TensorBoard = None,
    mlflow: MLflow = None,
    home: HomeFolder = DEFAULT_HOME,
    stay: Annotated[bool, typer.Option("--stay", help="Wait for further work when none is left.")] = False,
    grace: Grace = GRACE,
    checkpoint_quota: Quota = None,
    cache_quota: CacheQuota = None,
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
    from search.runtime.disk import CACHE_QUOTA, QUOTA
    from search.tracking.options import TrackingOptions
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
            cache_quota=CACHE_QUOTA if cache_quota is None else cache_quota,
            lease=LEASE if lease is None else lease,
            tracking=TrackingOptions(tensorboard=tensorboard, mlflow=mlflow).checked(),
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
            workers=WorkersRequest(workers=workers, gpus=gpu_names(gpus), weights=weights, home=home, grace=grace),
        )
    )


def pretrain(
    data: Data = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Name of the weights, which `init` gives in a study file.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", help="timm name of the network; default: tf_efficientnet_b0.ns_jft_in1k."),
    ] = None,
    begin_from: Annotated[
        str,
        typer.Option("--from", metavar="pretrained|scratch", help="Starting weights: the published ones, or random."),
    ] = "pretrained",
    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            metavar="FILE",
            help="Table of two columns: each class of the images, and a coarser one to learn instead; empty: left out.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, max=10_000, help="Default: by the number of images.")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size", min=8, max=2048, help="Side of the images in pixels; default: the backbone's own."
        ),
    ] = None,
    hours: Annotated[
        str | None,
        typer.Option("--hours", metavar="HOURS", help="Hours until the training ends; +2: two hours from now."),
    ] = None,
    license_note: Annotated[
        str,
        typer.Option(
            "--license-note", metavar="TEXT", help="Licence of the images, for the model cards of later models."
        ),
    ] = "",
    self_supervised: Annotated[
        bool,
        typer.Option(
            "--self-supervised",
            help="Learn from the images of DATA without their labels, test images included, and keep the weights if "
            "their probe is better.",
        ),
    ] = False,
    test_images: Annotated[
        bool, typer.Option("--test-images/--no-test-images", help="Whether --self-supervised learns from test images.")
    ] = True,
    replace: Annotated[
        bool, typer.Option("--replace", help="Train weights of this name again with other images or settings.")
    ] = False,
    list_them: Annotated[bool, typer.Option("--list", help="List the registered weights.")] = False,
    assignments: Set = None,
    storage_url: Storage = DEFAULT_STORAGE,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="Folder of pre-trained weights to begin from (NAME.safetensors or NAME.pth), into which the new "
            "weights are written as well; default: retable/weights.",
        ),
    ] = None,
    gpus: Gpus = None,
    grace: Grace = GRACE,
    id_column: IdColumn = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    table: TrainingTable = None,
    layout: Layout = None,
    similar_labels: SimilarLabels = None,
    several_labels: SeveralLabels = None,
    encoding: Encoding = None,
    skip_bad: SkipBad = False,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Train a backbone on other labelled images and register its weights: `init = "NAME"` begins a study from them.

    A tenth of the images is held out and scores the weights. They go to the folder of --weights, else to
    retable/weights. Ctrl-C loses nothing: the same command continues.
    """
    begun = time.monotonic()
    if list_them:
        from search.runtime.home import Home
        from search.workflow.pretraining.messages import list_weights

        list_weights(weights or Home(root=home).weights)
        return
    if name is None or data is None:
        raise typer.BadParameter("give both, or --list", param_hint="--data, --name")
    if self_supervised and classes is not None:
        raise typer.BadParameter("--self-supervised uses no classes", param_hint="--classes")
    if begin_from not in ("pretrained", "scratch"):
        raise typer.BadParameter(f"{begin_from!r} is neither pretrained nor scratch", param_hint="--from")
    from search.cli.early_checks import check_folder, check_places
    from search.study_setup.deadline import parse_hours
    from trainer.formats.weights.description import check_weights_name
    from trainer.formats.weights.value_rules import LONGEST_TEXT

    check_weights_name(name)
    if len(license_note) > LONGEST_TEXT or not license_note.isprintable():
        raise typer.BadParameter(f"takes up to {LONGEST_TEXT} printable characters", param_hint="--license-note")
    limit = None if hours is None else parse_hours(hours)
    check_folder(data)
    check_places(home, storage_url, None)
    from search.engines.plan import Workers as WorkersRequest
    from search.workflow.pretraining.command import pretrain as run
    from search.workflow.pretraining.prepare import PretrainRequest

    run(
        PretrainRequest(
            name=name,
            data=data,
            storage_url=storage_url,
            workers=WorkersRequest(gpus=gpu_names(gpus), weights=weights, home=home, grace=grace),
            backbone=backbone,
            init=begin_from,
            classes=classes,
            epochs=epochs,
            image_size=image_size,
            hours=limit,
            license_note=license_note,
            replace=replace,
            self_supervised=self_supervised,
            test_images=test_images,
            overrides=overrides_of(
                assignments,
                skip_bad,
                id_column=id_column,
                label_column=label_column,
                group_column=group_column,
                table=table,
                layout=layout,
                similar_labels=similar_labels,
                several_labels=several_labels,
                encoding=encoding,
            ),
            begun=begun,
        )
    )
