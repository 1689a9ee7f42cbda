"""``search studies NAME``: what a study fixes, what it samples, from where and when."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from search.cli.early_checks import NoStudy, check_database
from search.runtime.console import SEPARATOR, Column, open_console, print_table, say
from studies.explain import Explanation, explain
from studies.spec import StudySpec, load_study
from trainer.recipe.recipe import Scalar


def show_study(name: str, overrides: Sequence[str], url: str) -> None:
    """One study explained: a stored one of that name, else the study file.

    Raises:
        StudyError: there is neither.
    """
    console = open_console()
    spec = None if overrides else _stored_spec(name, url)
    if spec is not None:
        say(console, Text.assemble("Stored study ", (name, "bold"), ", as it runs:"))
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
    say(console, Text(explanation.title, style="bold"))
    say(console, "  ".join(f"{setting}={value}" for setting, value in explanation.settings), prefix="  ")
    if explanation.begun_from:
        say(console, f"Begun from {explanation.begun_from}, whose recipe is its trial 0")
    say(console)
    print_table(
        console,
        "Fixed in every trial",
        [Column(name="setting"), Column(name="value"), Column(name="meaning", prose=True)],
        [(row.field, str(row.value), row.doc) for row in explanation.fixed],
    )
    say(console)
    say(console, Text("Sampled", style="bold"))
    for row in explanation.sampled:
        facts = [f"trial 0: {_short(row.default)}"] if row.default is not None else []
        facts += [f"only when {row.when}"] * bool(row.when)
        say(console, Text.assemble((row.name, "bold"), "  ", (row.doc, "dim")), prefix="  ")
        for line in (row.values, SEPARATOR.join(facts)):
            say(console, line, prefix=" " * 6)
    if explanation.portfolio:
        say(console)
        title = "Portfolio: known to do well, tried after the default recipe as far as the budget allows"
        say(console, Text(title, style="bold"))
    for entry in explanation.portfolio:
        facts = [entry.settings, *([f"when {entry.when}"] * bool(entry.when))]
        say(console, Text(entry.source, style="bold"), prefix="  ")
        say(console, SEPARATOR.join(facts), prefix=" " * 6)


def _short(value: Scalar) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
