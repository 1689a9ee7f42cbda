"""The command that probes every backbone on this machine. It runs the study file `STUDY` like ``search start``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import (
    DEFAULT_HOME,
    DEFAULT_STORAGE,
    Encoding,
    Gpus,
    Grace,
    GroupColumn,
    HomeFolder,
    IdColumn,
    LabelColumn,
    Layout,
    NoCorrections,
    PerGpu,
    Set,
    SeveralLabels,
    SimilarLabels,
    SkipBad,
    Storage,
    TrainingTable,
    Weights,
    Workers,
    gpu_names,
)
from search.cli.overrides import overrides_of
from search.runtime.signals import GRACE

STUDY = "probe_backbones"
"""The study file that ships with Retable for this command, and the name of the stored study."""


def probe(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images.")],
    match: Annotated[
        list[str] | None,
        typer.Option("--match", help="Only backbones of this name, such as 'vit_small*'; repeatable."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            min=8,
            max=2048,
            help="Side of the images in pixels; default: 224, then enlarged for the best backbones.",
        ),
    ] = None,
    weights: Weights = None,
    name: Annotated[
        str | None,
        typer.Option("--name", "--study-name", "-n", help=f"Name of the stored study; default: {STUDY}."),
    ] = None,
    hours: Annotated[
        str | None,
        typer.Option("--hours", metavar="HOURS", help="Hours until the export is written; +2: two hours from now."),
    ] = None,
    storage_url: Storage = DEFAULT_STORAGE,
    workers: Workers = None,
    gpus: Gpus = None,
    workers_per_gpu: PerGpu = 1,
    grace: Grace = GRACE,
    assignments: Set = None,
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
    home: HomeFolder = DEFAULT_HOME,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the export; default: retable/STUDY.")
    ] = None,
) -> None:
    """Fit a linear classifier on every backbone whose weights are on this machine: a first result in minutes.

    No network is trained. The same command continues what was interrupted. `search start --study probe_backbones
    --trials 20` fine-tunes the best backbones afterwards.
    """
    begun = time.monotonic()
    from search.cli.early_checks import check_engine, check_folder, check_places, check_study
    from search.study_setup.deadline import parse_hours

    limit = None if hours is None else parse_hours(hours)
    overrides = overrides_of(
        [
            *([f"space.backbone.match={json.dumps(match)}"] if match else []),
            *([f"recipe.image_size={size}", "probe.enlarge=1"] if size is not None else []),
            *(assignments or []),
        ],
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
    check_study(STUDY, overrides, name, storage_url)
    check_folder(data)
    check_engine("local", gpus=gpus, workers_per_gpu=workers_per_gpu, address=None, storage_url=storage_url)
    check_places(home, storage_url, output)
    from search.engines.plan import Workers as WorkersRequest
    from search.study_setup.prepare import StartRequest
    from search.workflow.start import start

    start(
        StartRequest(
            study=STUDY,
            name=name,
            data=data,
            storage_url=storage_url,
            hours=limit,
            begun=begun,
            overrides=overrides,
            output=output,
            workers=WorkersRequest(
                workers=workers,
                gpus=gpu_names(gpus),
                per_gpu=workers_per_gpu,
                weights=weights,
                home=home,
                grace=grace,
            ),
        )
    )
