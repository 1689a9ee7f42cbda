"""Commands that change no study: they show data, studies and results, and replay a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import (
    DEFAULT_HOME,
    DEFAULT_STORAGE,
    LARGEST,
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
    Weights,
    WeightsOnce,
    a_number,
)
from search.cli.overrides import overrides_of
from search.runtime.errors import EXIT_DIFFERENT


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


def studies(
    name: Annotated[str | None, typer.Argument(help="A study to explain: shipped, by path, or stored.")] = None,
    assignments: Set = None,
    storage_url: Storage = DEFAULT_STORAGE,
) -> None:
    """List study files and stored studies; with NAME, explain one."""
    if name is None:
        from search.report.study_list import show_studies

        show_studies(storage_url)
    else:
        from search.report.study_list import show_study

        show_study(name, overrides_of(assignments, False), storage_url)


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


def replay(
    trial: Annotated[int, typer.Argument(min=0, max=LARGEST, help="Number of a finished or pruned trial.")],
    study: Study = None,
    data: Data = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    weights: Weights = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Repeat a stored trial with its recorded recipe, seed and folds, and compare the predictions.

    On a CPU of the same model, with the same library versions and number of threads (the recorded number is used), the
    predictions must be equal to the last stored bit. On other CPUs, and on every GPU, bfloat16 and cuDNN's choice of
    algorithms change the order of sums, and training amplifies the differences. There, a mean absolute difference of up
    to 0.02 and a metric within one standard error count as equal. The exit code is 0 within this tolerance, else 1.
    """
    if data is not None:
        from search.cli.early_checks import check_folder

        check_folder(data)
    from search.workflow.replay import ReplayRequest
    from search.workflow.replay import replay as run

    request = ReplayRequest(study=study, trial=trial, data=data, storage_url=storage_url, home=home, weights=weights)
    if not run(request):
        raise typer.Exit(EXIT_DIFFERENT)


def backbones(
    pattern: Annotated[
        str, typer.Argument(help="Pattern of names, such as 'convnext*', or a part of one: lite0.")
    ] = "*",
    family: Annotated[
        list[str] | None, typer.Option("--family", help="cnn, transformer, hybrid or mlp; repeatable.")
    ] = None,
    max_params: Annotated[
        float | None,
        typer.Option(
            "--max-params", min=0.0, max=1e9, callback=a_number, help="Maximum number of parameters, in millions."
        ),
    ] = None,
    max_size: Annotated[
        int | None, typer.Option("--max-size", min=1, max=LARGEST, help="Largest side of the images, in pixels.")
    ] = None,
    license: Annotated[
        list[str] | None,
        typer.Option(
            "--license", help="Licence of the weights: mit, cc-*, '!cc-by-nc-4.0', permissive or unknown; repeatable."
        ),
    ] = None,
    measure: Annotated[
        bool | None,
        typer.Option(
            "--measure/--no-measure",
            help="Measure speed and memory in a few training steps; default: only if few backbones are listed.",
        ),
    ] = None,
    weights: WeightsOnce = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """List backbones with pre-trained weights: family, licence, size, weights at hand, training speed and memory."""
    from search.report.backbone_table import BackbonesRequest, show_backbones

    show_backbones(
        BackbonesRequest(
            pattern=pattern,
            families=tuple(family or ()),
            max_params=max_params,
            max_size=max_size,
            licenses=tuple(license or ()),
            measure=measure,
            weights=weights,
            home=home,
        )
    )


def submissions(
    study: Annotated[
        str | None, typer.Option("--study", "-s", help="Name of a stored study; default: all studies.")
    ] = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    export: Annotated[
        int | None,
        typer.Option("--export", min=1, max=LARGEST, help="Number of the export with this score; default: the latest."),
    ] = None,
    public: Annotated[
        float | None,
        typer.Option("--public", min=-1e9, max=1e9, callback=a_number, help="Record its public leaderboard score."),
    ] = None,
    private: Annotated[
        float | None,
        typer.Option("--private", min=-1e9, max=1e9, callback=a_number, help="Record its private leaderboard score."),
    ] = None,
    public_images: Annotated[
        int | None,
        typer.Option(
            "--public-images",
            min=1,
            max=LARGEST,
            help="Number of test images behind public scores; stored with the data.",
        ),
    ] = None,
) -> None:
    """List all exports with their leaderboard scores, explain the differences, and recommend two."""
    from search.report.exports.submissions import ScoreRequest
    from search.report.exports.submissions import submissions as run

    run(study, storage_url, ScoreRequest(export=export, public=public, private=private, public_images=public_images))


def dashboard(
    storage_url: StoredIn = DEFAULT_STORAGE,
    home: HomeFolder = DEFAULT_HOME,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Every visitor needs the access token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8080,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="Further host names under which browsers may open it; repeatable."),
    ] = None,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let visitors edit, rename and delete studies and end trials by hand.")
    ] = False,
    token: Annotated[
        str,
        typer.Option(
            "--token",
            show_default=False,
            help="Fixed access token; default: a new one. RETABLE_DASHBOARD_TOKEN keeps it out of the command line.",
        ),
    ] = "",
    behind_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-proxy", help="Ask for no token: a proxy in front decides who may visit. See --allow-host."
        ),
    ] = False,
) -> None:
    """Serve Optuna Dashboard on the study database, read-only.

    The printed addresses hold an access token; the second one opens the note of the study that runs,
    else of that worked on last.
    """
    from search.report.dashboard.serve import run_dashboard

    run_dashboard(
        storage_url,
        home=home,
        host=host,
        port=port,
        allowed_hosts=allow_host or [],
        writable=writable,
        token=token,
        behind_proxy=behind_proxy,
    )
