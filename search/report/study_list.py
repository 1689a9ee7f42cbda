"""The verbs that only look: studies, folds, predict."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.report.status import state_of
from search.study_setup.create_study import SEARCH_SPLIT
from search.study_state.snapshot import read_standing
from storage.database.connection import connect
from storage.stores import ledger_if_any, open_ledger
from studies.file.catalog import bundled_studies


def show_studies(url: str) -> None:
    """The study files that ship with Retable, and the studies in the database."""
    console = Console()
    table = Table(title="Study files (search start --study NAME)", title_justify="left")
    for column in ("name", "title"):
        table.add_column(column)
    for name, title in bundled_studies().items():
        table.add_row(name, title)
    console.print(table)
    ledger = ledger_if_any(url)
    stored = ledger.studies.all() if ledger else []
    if not stored or ledger is None:
        console.print(f"No stored study in {escape(connect(url).name)}.", highlight=False)
        return
    table = Table(title=f"Stored studies in {escape(ledger.database.name)}", title_justify="left")
    for column in ("name", "state", "priority", "trials", "best", "begun"):
        table.add_column(column)
    for study in stored:
        standing = read_standing(ledger, study.name)
        best = standing.ranking[0] if standing.ranking else None
        table.add_row(
            study.name,
            state_of(standing),
            str(study.priority or ""),
            f"{standing.counted}/{study.budget}",
            f"{best.value:.4f} ± {best.standard_error:.4f}" if best else "-",
            f"{datetime.datetime.fromtimestamp(study.created):%Y-%m-%d %H:%M}",
        )
    console.print(table)


def export_folds(name: str | None, url: str, output: Path) -> None:
    """Write the frozen folds of a study as a table."""
    ledger = open_ledger(url)
    ledger.write_folds(ledger.study(name), SEARCH_SPLIT, output)
    Console().print(f"The folds are written to {output}", highlight=False)


def predict(model: Path, images: Sequence[Path], output: Path, device: str) -> None:
    """An exported model on new images.

    Raises:
        ModelError, ImageError: the folder is no model, or images cannot be read (all are named).
    """
    from trainer.inference.predict import predict_folder, write_predictions

    predictions = predict_folder(model, images, device=device)
    write_predictions(output, predictions)
    Console().print(f"{len(predictions.ids)} images predicted to {output}", highlight=False)
