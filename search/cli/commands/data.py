"""Commands that show data and labels: check, preview, folds, labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import (
    DEFAULT_HOME,
    DEFAULT_STORAGE,
    Data,
    DataSet,
    Encoding,
    GroupColumn,
    HomeFolder,
    IdColumn,
    LabelColumn,
    Layout,
    NoCorrections,
    Set,
    SeveralLabels,
    SimilarLabels,
    SkipBad,
    Storage,
    StoredIn,
    Study,
    TrainingTable,
    WeightsOnce,
)
from search.cli.overrides import overrides_of


def check(
    data: Annotated[
        Path | None, typer.Argument(metavar="[DATA]", help="Folder of images; default: that of --study.")
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            "--study",
            "-s",
            help="Read as this stored study does: its folder, unless DATA is given, and its settings of [data].",
        ),
    ] = None,
    storage_url: Storage = DEFAULT_STORAGE,
    assignments: DataSet = None,
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
    n_folds: Annotated[
        int | None,
        typer.Option("--folds", min=2, max=50, help="Number of folds to check for; default: that of --study, else 5."),
    ] = None,
    shift: Annotated[
        bool, typer.Option("--shift/--no-shift", help="Whether to compare training and test images.")
    ] = True,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels/--no-labels",
            help="Whether to look for near-duplicates and suspicious labels by the features of a backbone.",
        ),
    ] = True,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            help="Use the features of this backbone; default: one whose weights are available. Without any, the shift "
            "is measured by pixels and labels are not judged.",
        ),
    ] = None,
    weights: WeightsOnce = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="PATH", help="Table of all suspicious labels to write; default: none."),
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Describe a folder of images: format, classes, sizes, duplicates, train/test shift, suspicious labels."""
    from search.report.checks.check import CheckRequest
    from search.report.checks.check import check as run
    from search.report.checks.study_data import read_study_data
    from search.runtime.console import open_console, say
    from search.runtime.home import Home
    from studies.file.overrides import data_settings
    from studies.settings import ProtocolSettings
    from trainer.inference.predictions import file_path

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
    request = CheckRequest(
        shift=shift,
        labels=labels,
        backbone=backbone,
        weights=weights,
        output=file_path(output) if output is not None else None,
        home=Home(root=home),
    )
    if study is not None:
        found = read_study_data(study, storage_url, data, overrides)
        if data is None:
            say(open_console(), f"folder: {found.folder}", whole=True)
        run(found.folder, settings=found.settings, n_folds=n_folds or found.folds, request=request)
    elif data is not None:
        run(data, settings=data_settings(overrides), n_folds=n_folds or ProtocolSettings().folds, request=request)
    else:
        raise typer.BadParameter("give the folder of images, or --study with the name of a stored study")


def preview(
    study: Annotated[
        str, typer.Option("--study", "-s", help="A stored study, a shipped one, or the path of a .toml file.")
    ],
    data: Data = None,
    storage_url: Storage = DEFAULT_STORAGE,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write: .png, .pdf or .svg.")] = Path(
        "preview.png"
    ),
    images: Annotated[
        int, typer.Option("--images", min=1, max=1000, help="Number of different images; the rows show them in turn.")
    ] = 4,
    assignments: Set = None,
    id_column: IdColumn = None,
    label_column: LabelColumn = None,
    group_column: GroupColumn = None,
    table: TrainingTable = None,
    layout: Layout = None,
    similar_labels: SimilarLabels = None,
    several_labels: SeveralLabels = None,
    encoding: Encoding = None,
    no_corrections: NoCorrections = False,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Draw a study's augmentations: each at its weakest and at its strongest."""
    if data is not None:
        from search.cli.early_checks import check_folder

        check_folder(data)
    from search.report.preview.command import PreviewRequest
    from search.report.preview.command import preview as run

    run(
        PreviewRequest(
            study=study,
            data=data,
            storage_url=storage_url,
            home=home,
            output=output,
            images=images,
            overrides=overrides_of(
                assignments,
                False,
                no_corrections,
                id_column=id_column,
                label_column=label_column,
                group_column=group_column,
                table=table,
                layout=layout,
                similar_labels=similar_labels,
                several_labels=several_labels,
                encoding=encoding,
            ),
        )
    )


def folds(
    study: Study = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    output: Annotated[str, typer.Option("--output", "-o", metavar="PATH")] = "folds.csv",
) -> None:
    """Write the folds of a study as a table: image_id, fold, label, duplicate group."""
    from search.export.output.outside_data import check_file
    from search.export.output.tables import write_folds
    from search.runtime.console import open_console, say
    from search.runtime.output_files import creating
    from search.study_setup.data_folder import known_folders
    from search.study_state.study import read_study
    from storage.stores import open_stores
    from storage.values import SEARCH_SPLIT
    from trainer.inference.predictions import file_path

    table = file_path(output)
    stores = open_stores(storage_url)
    found = read_study(stores, study)
    check_file(table, known_folders(stores, found.stored), DEFAULT_HOME)
    with creating(table) as temporary:
        write_folds(stores, found, SEARCH_SPLIT, temporary)
    say(open_console(), f"The folds are written to {table}", whole=True)


def labels(
    study: Study = None,
    data: Data = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the review; default: the folder of the study's exports."),
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(
            "--apply",
            metavar="REVIEW.csv",
            help="Write the decisions of this review as corrections into the folder of images, and make no new review.",
        ),
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """List labels that may be wrong, for review: a page with pictures, and a table; with --apply, correct them.

    Out-of-fold predictions of all finished trials and probes, averaged, are compared with the labels. In the table
    label_review.csv, write into the column `decision` keep, drop or the right class (of several labels all right ones,
    such as `rust|scab`); `--apply` checks all decisions and writes them into retable_corrections.csv in the folder of
    images, which every later study reads.
    """
    if data is not None:
        from search.cli.early_checks import check_folder

        check_folder(data)
    if apply is None:
        from search.page.labels.command import review_labels

        review_labels(study, storage_url, home, data, output)
    elif output is not None:
        raise typer.BadParameter("--output names the folder of a new review, which --apply does not make")
    else:
        from search.workflow.apply_review import apply_review

        apply_review(study, storage_url, data, apply)
