"""The verbs that only look: studies, folds, predict."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from search.cli.early_checks import NoStudy
from search.report.status import state_of
from search.runtime.console import Column, open_console, print_table, say
from search.study_setup.create_study import SEARCH_SPLIT
from search.study_state.snapshot import read_standing
from storage.database.connection import connect
from storage.errors import SchemaError
from storage.stores import Ledger, open_ledger
from studies.file.catalog import bundled_studies


def show_studies(url: str) -> None:
    """The study files that ship with Retable, and the studies in the database."""
    console = open_console()
    print_table(
        console,
        "Study files (search start --study NAME)",
        [Column(name="name"), Column(name="title", prose=True)],
        list(bundled_studies().items()),
    )
    say(console)
    ledger = _ledger_if_any(url)
    stored = ledger.studies.all() if ledger else []
    if not stored or ledger is None:
        say(console, f"No stored study in {connect(url).name}.")
        return
    rows = []
    for study in stored:
        standing = read_standing(ledger, study.name)
        best = standing.ranking[0] if standing.ranking else None
        rows.append(
            (
                study.name,
                state_of(standing),
                str(study.priority or "-"),
                f"{standing.counted}/{study.budget}",
                f"{best.value:.4f} ± {best.standard_error:.4f}" if best else "-",
                f"{datetime.datetime.fromtimestamp(study.created):%Y-%m-%d %H:%M}",
            )
        )
    numbers = ("priority", "trials", "best")
    columns = [
        *(Column(name=name) for name in ("name", "state")),
        *(Column(name=name, number=True) for name in numbers),
        Column(name="begun"),
    ]
    print_table(console, f"Stored studies in {ledger.database.name}", columns, rows)


def export_folds(name: str | None, url: str, output: Path) -> None:
    """Write the frozen folds of a study as a table."""
    ledger = open_ledger(url)
    ledger.write_folds(ledger.study(name), SEARCH_SPLIT, output)
    say(open_console(), f"The folds are written to {output}")


def predict(model: Path, images: Sequence[Path], output: Path, device: str) -> None:
    """An exported model on new images.

    Raises:
        ModelError, ImageError: the folder is no model, or images cannot be read (all are named).
    """
    from trainer.inference.predict import predict_folder, write_predictions

    predictions = predict_folder(model, images, device=device)
    write_predictions(output, predictions)
    say(open_console(), f"{len(predictions.ids)} images predicted to {output}")


def _ledger_if_any(url: str) -> Ledger | None:
    """The database, if it is set up."""
    try:
        return open_ledger(url)
    except (NoStudy, SchemaError):
        return None
