"""The verbs that only look: studies, status, folds, predict."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.at_once import NoStudy
from search.founding import SEARCH_SPLIT
from search.ledger import Ledger, open_ledger
from search.presence import SEEN_WITHIN
from search.progress import bar_line, print_trial
from search.standing import Standing, read_standing
from search.supervision import search_is_over, what_runs
from storage.database import connect
from storage.errors import SchemaError
from storage.values import StudyState
from studies.catalog import bundled_studies
from studies.spec import StudySpec

LOOKED_UP = 60  # models whose weights are looked for, one file system or hub request each


def show_studies(url: str) -> None:
    """The study files that ship with Retable, and the studies in the database."""
    console = Console()
    table = Table(title="Study files (search start --study NAME)", title_justify="left")
    for column in ("name", "title"):
        table.add_column(column)
    for name, title in bundled_studies().items():
        table.add_row(name, title)
    console.print(table)
    ledger = _ledger_if_any(url)
    stored = ledger.studies.all() if ledger else []
    if not stored or ledger is None:
        console.print(f"No stored study in {escape(connect(url).name)}.", highlight=False)
        return
    table = Table(title=f"Stored studies in {escape(ledger.database.name)}", title_justify="left")
    for column in ("name", "state", "trials", "best", "begun"):
        table.add_column(column)
    for study in stored:
        standing = read_standing(ledger, study.name)
        best = standing.ranking[0] if standing.ranking else None
        table.add_row(
            study.name,
            _state(standing),
            f"{standing.counted}/{study.budget}",
            f"{best.value:.4f} ± {best.standard_error:.4f}" if best else "-",
            f"{datetime.datetime.fromtimestamp(study.created):%Y-%m-%d %H:%M}",
        )
    console.print(table)


def _state(standing: Standing) -> str:
    """The study's state, or "done" where nothing is left to search."""
    done = standing.study.state is StudyState.RUNNING and search_is_over(standing)
    return "done" if done else str(standing.study.state)


def show_status(name: str | None, url: str) -> None:
    """How one study stands: every ended trial, what runs, who works, what was exported."""
    console = Console()
    ledger = open_ledger(url)
    study = ledger.study(name)
    standing = read_standing(ledger, study.name)
    default = StudySpec.from_dict(study.spec).default_recipe()
    console.print(
        f"Study [bold]{study.name}[/], {_state(standing)}, in {escape(ledger.database.name)}", highlight=False
    )
    if study.state_reason:
        console.print(f"[yellow]{escape(study.state_reason)}[/]", highlight=False)
    for record in standing.records:
        print_trial(console, record, default)
    console.print(
        bar_line(standing, what_runs(ledger, standing) if standing.workers else ""), highlight=False, markup=False
    )
    if standing.waiting:
        console.print(f"{standing.waiting} trial(s) wait for a worker to go on with them", highlight=False)
    for worker in ledger.workers.alive(SEEN_WITHIN):
        console.print(f"worker {escape(worker.name)} on {escape(worker.host)} ({worker.device})", highlight=False)
    for export in ledger.runs.exports(study.id)[-3:]:
        score = "" if export.score is None else f", out-of-fold {export.score:.4f} ± {export.score_se or 0.0:.4f}"
        when = datetime.datetime.fromtimestamp(export.created)
        console.print(f"exported {when:%Y-%m-%d %H:%M} to {escape(export.folder)}{score}", highlight=False)
    if not standing.records and not standing.workers:
        console.print(f"Nobody works on it: `search start --study {study.name}` goes on with it.", highlight=False)


def export_folds(name: str | None, url: str, output: Path) -> None:
    """Write the frozen folds of a study as a table."""
    ledger = open_ledger(url)
    ledger.write_folds(ledger.study(name), SEARCH_SPLIT, output)
    Console().print(f"The folds are written to {output}", highlight=False)


def show_backbones(pattern: str, weights: Path | None) -> None:
    """timm's pre-trained models whose names match, with family and, for up to `LOOKED_UP` of them, weights at hand.

    Raises:
        BackboneError: none matches, or the weights folder does not exist.
    """
    import timm

    from trainer.backbones import BackboneError, family_of
    from trainer.weights import missing_weights

    names = timm.list_models(pattern, pretrained=True)
    if not names:
        raise BackboneError(
            f"no pre-trained model of timm is called {pattern!r}; * stands for anything, as in 'resnet*'"
        )
    few = len(names) <= LOOKED_UP
    missing = set(missing_weights(names, weights)) if few else set()
    table = Table(title=f"{len(names)} pre-trained models", title_justify="left")
    for column in ("name", "family", *(["weights"] * few)):
        table.add_column(column, overflow="fold")
    for name in names:
        table.add_row(name, family_of(name), *(["not at hand" if name in missing else "at hand"] * few))
    console = Console()
    console.print(table)
    if not few:
        console.print(
            f"Narrow the pattern to {LOOKED_UP} names or fewer to see whose weights are at hand.", highlight=False
        )


def predict(model: Path, images: Sequence[Path], output: Path, device: str) -> None:
    """An exported model on new images.

    Raises:
        ModelError, ImageError: the folder is no model, or images cannot be read (all are named).
    """
    from trainer.predict_standalone import predict_folder, write_predictions

    ids, classes, proba = predict_folder(model, images, device=device)
    write_predictions(output, ids, classes, proba)
    Console().print(f"{len(ids)} images predicted to {output}", highlight=False)


def _ledger_if_any(url: str) -> Ledger | None:
    """The database, if it is set up."""
    try:
        return open_ledger(url)
    except (NoStudy, SchemaError):
        return None
