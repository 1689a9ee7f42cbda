"""The commands that show a study: its state and its finalists, for people and for scripts, and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import DEFAULT_HOME, DEFAULT_STORAGE, HomeFolder, StoredIn, Study, a_number

WATCH_SECONDS = 5.0
"""From one look of ``--watch`` to the next."""


def status(
    seconds: Annotated[
        float | None,
        typer.Argument(
            min=1.0,
            max=86_400.0,
            callback=a_number,
            help=f"With --watch: seconds from one look to the next; default: {WATCH_SECONDS:g}.",
        ),
    ] = None,
    study: Study = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    home: HomeFolder = DEFAULT_HOME,
    failed: Annotated[bool, typer.Option("--failed", help="List the failed trainings with reason and advice.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List all of them, not only the latest.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again and again until the study has ended or Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as one JSON document, described in docs/json.md.")
    ] = False,
) -> None:
    """Show the state of a study: trials, the best so far, workers, failures, disk use."""
    if seconds is not None and not watch:
        raise typer.BadParameter(f"{seconds:g}: a number of seconds goes with --watch; --study NAME names a study")
    if as_json and (watch or failed or everything):
        raise typer.BadParameter("--json goes without --watch, --failed and --all: its document holds everything")
    if as_json:
        from search.report.documents.print import print_status_document

        print_status_document(study, storage_url, home)
    elif watch:
        from search.report.live.watch_status import watch_status
        from search.runtime.console import open_console
        from storage.stores import open_stores

        console, stores, pause = open_console(), open_stores(storage_url), seconds or WATCH_SECONDS
        watch_status(console, stores, study, home, seconds=pause, failed=failed, everything=everything)
    else:
        from search.report.failed_trainings import show_failed
        from search.report.status import show_status

        if failed:
            show_failed(study, storage_url, everything=everything)
        else:
            show_status(study, storage_url, home, everything=everything)


def compare(
    study: Study = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Picture to write: .png, .pdf or .svg; default: retable/STUDY/compare.png."),
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON document, described in docs/json.md, and draw no picture without --picture."
        ),
    ] = False,
) -> None:
    """Compare the recipes confirmed on fresh splits: scores, gaps and ties, as a table and a picture."""
    if as_json:
        from search.report.documents.print import print_comparison_document

        print_comparison_document(study, storage_url, picture)
    else:
        from search.report.finalists.comparison import compare as run

        run(study, storage_url, home, picture)


def report(
    study: Study = None,
    storage_url: StoredIn = DEFAULT_STORAGE,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write, .html; default: retable/STUDY/report.html."),
    ] = None,
    home: HomeFolder = DEFAULT_HOME,
) -> None:
    """Write a study as one HTML page: the answer, the search, what matters, where the model errs, a map, the data."""
    from search.page.command import report as run

    run(study, storage_url, home, output)
