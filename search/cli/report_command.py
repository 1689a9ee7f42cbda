"""The command `search report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import DEFAULT_HOME, DEFAULT_STORAGE, HomeFolder, StoredIn, Study


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
