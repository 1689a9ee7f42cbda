"""The verbs that only look: studies, folds, predict."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from search.report.status import state_of
from search.study_state.snapshot import read_standing
from storage.database.connection import connect
from storage.database.existing import NoStudy, check_database
from storage.errors import SchemaError
from storage.stores import ledger_if_any
from studies.explain import Explanation, explain
from studies.file.catalog import bundled_studies
from studies.spec import StudySpec, load_study
from trainer.recipe.recipe import Scalar


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


def show_study(name: str, overrides: Sequence[str], url: str) -> None:
    """One study explained: a stored one of that name, else the study file.

    Raises:
        StudyError: there is neither.
    """
    console = Console()
    spec = None if overrides else _stored_spec(name, url)
    if spec is not None:
        console.print(f"Stored study [bold]{escape(name)}[/], as it runs:")
    _print_explanation(console, explain(spec or load_study(name, overrides)))


def _stored_spec(name: str, url: str) -> StudySpec | None:
    try:
        check_database(url)
    except NoStudy:
        return None
    from storage.database.connection import connect
    from storage.records.studies import StudyStore

    try:
        stored = StudyStore(connect(url)).find(name)
    except SchemaError:
        return None  # somebody else's database
    return None if stored is None else StudySpec.from_dict(stored.spec)


def _print_explanation(console: Console, explanation: Explanation) -> None:
    console.print(f"[bold]{escape(explanation.title)}[/]")
    console.print(
        "  " + "  ".join(f"{setting}={value}" for setting, value in explanation.settings), highlight=False, markup=False
    )
    if explanation.begun_from:
        console.print(f"Begun from {escape(explanation.begun_from)}, whose recipe is its trial 0", highlight=False)
    fixed = Table(title="Fixed in every trial", title_justify="left")
    for column in ("setting", "value", "meaning"):
        fixed.add_column(column, overflow="fold", no_wrap=column == "setting")
    for fixed_row in explanation.fixed:
        fixed.add_row(fixed_row.field, escape(str(fixed_row.value)), fixed_row.doc)
    console.print(fixed)
    console.print("Sampled")
    for row in explanation.sampled:
        facts = [f"trial 0: {_short(row.default)}"] if row.default is not None else []
        facts += [f"only when {row.when}"] * bool(row.when)
        console.print(f"  [bold]{escape(row.name)}[/]  [dim]{escape(row.doc)}[/]", highlight=False)
        console.print(Padding(escape(row.values), (0, 0, 0, 6)), highlight=False)
        console.print(Padding(escape(" · ".join(facts)), (0, 0, 0, 6)), highlight=False)
    if explanation.portfolio:
        console.print("Portfolio: known to do well, tried after the default recipe as far as the budget allows")
    for entry in explanation.portfolio:
        facts = [entry.settings, *([f"when {entry.when}"] * bool(entry.when))]
        console.print(f"  [bold]{escape(entry.source)}[/]", highlight=False)
        console.print(Padding(escape(" · ".join(facts)), (0, 0, 0, 6)), highlight=False)


def _short(value: Scalar) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
