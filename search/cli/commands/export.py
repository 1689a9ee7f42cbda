"""Commands around exports: export-best, import, which adds predictions for one, and submissions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import (
    DEFAULT_HOME,
    DEFAULT_STORAGE,
    LARGEST,
    Data,
    Gpus,
    HomeFolder,
    StoredIn,
    Studies,
    Study,
    Weights,
    Workers,
    a_number,
    gpu_names,
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
            help="label, integer, probability or probabilities; of several labels: labels, indicators or "
            "probabilities. Default: as in the sample submission.",
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
    from search.workflow.export.export_best import ExportRequest
    from search.workflow.export.export_best import export_best as run

    run(
        ExportRequest(
            studies=studies,
            data=data,
            storage_url=storage_url,
            output=output,
            seeds=seeds,
            full_data=full_data,
            submission_kind=submission_kind,
            workers=WorkersRequest(workers=workers, gpus=gpu_names(gpus), weights=weights, home=home),
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
