"""``search studies NAME``: what a study fixes, what it samples, from where and when."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from storage.database.existing import NoStudy, check_database
from studies.explain import Explanation, explain
from studies.spec import StudySpec, load_study
from trainer.recipe.recipe import Scalar


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
    from storage.errors import SchemaError
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
