"""``search studies``: lists the shipped and the stored studies, or explains one."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from search.report.status import state_of
from search.runtime.console import SEPARATOR, Column, open_console, print_table, say
from search.study_state.snapshot import StudySnapshot, read_snapshot
from storage.database.connection import connect
from storage.database.existing import NoStudy, check_database
from storage.errors import SchemaError
from storage.records.study_rows import StoredStudy
from storage.stores import stores_if_any
from studies.explain import Explanation, explain
from studies.file.catalog import bundled_studies
from studies.load_study import load_study
from studies.stored_spec import spec_from_dict
from trainer.recipe.recipe import Scalar

TRIALS = "search.trials"
"""The setting with the number of trials."""


def show_studies(url: str) -> None:
    """List the study files that ship with Retable, and the studies in the database."""
    console = open_console()
    print_table(
        console,
        "Study files (search start --study NAME)",
        [Column(name="name"), Column(name="title", prose=True)],
        list(bundled_studies().items()),
    )
    say(console)
    stores = stores_if_any(url)
    stored = stores.studies.all() if stores else []
    if not stored or stores is None:
        say(console, f"No stored study in {connect(url).place}.")
        return
    rows = []
    for study in stored:
        snapshot = read_snapshot(stores, study.name)
        best = snapshot.ranking[0] if snapshot.ranking else None
        rows.append(
            (
                study.name,
                state_of(snapshot),
                str(study.priority or "-"),
                _progress(snapshot),
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
    print_table(console, f"Stored studies in {stores.database.place}", columns, rows)


def _progress(snapshot: StudySnapshot) -> str:
    """``3/50`` trials; of a study without trials its probes."""
    if snapshot.study.budget == 0:
        return f"{snapshot.probes_ended}/{snapshot.probes_planned} probes"
    budget = snapshot.study.budget  # none with a deadline
    return str(snapshot.counted) if budget is None else f"{snapshot.counted}/{budget}"


def show_study(name: str, overrides: Sequence[str], url: str) -> None:
    """Explain the stored study of that name, else the study file.

    Args:
        overrides: ``FIELD=VALUE`` changes of either.

    Raises:
        StudyError: there is neither, or an override is invalid.
    """
    console = open_console()
    stored = _stored(name, url)
    if stored is None:
        _print_explanation(console, explain(load_study(name, overrides)))
        return
    how = "with the changes of --set:" if overrides else "as it runs:"
    say(console, Text.assemble("Stored study ", (name, "bold"), f", {how}"))
    explanation = explain(spec_from_dict(stored.spec, overrides))
    if not any(text.startswith(TRIALS) for text in overrides):
        # --trials and --hours change the budget beside the settings.
        budget = "until the deadline" if stored.budget is None else str(stored.budget)
        settings = ((path, budget if path == TRIALS else value) for path, value in explanation.settings)
        explanation = replace(explanation, settings=tuple(settings))
    _print_explanation(console, explanation)


def _stored(name: str, url: str) -> StoredStudy | None:
    try:
        check_database(url)
    except NoStudy:
        return None
    from storage.database.connection import connect
    from storage.records.studies import StudyStore

    database = connect(url)
    try:
        return StudyStore(database).find(name)
    except SchemaError:
        return None  # a database of another program
    finally:
        database.close()


def _print_explanation(console: Console, explanation: Explanation) -> None:
    say(console, Text(explanation.title, style="bold"))
    say(console, "  ".join(f"{setting}={value}" for setting, value in explanation.settings), prefix="  ")
    if explanation.begun_from:
        say(console, f"Begun from {explanation.begun_from}: that recipe is trial 0")
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
        title = "Portfolio: known good recipes, tried after the default recipe as far as the budget allows"
        say(console, Text(title, style="bold"))
    for entry in explanation.portfolio:
        facts = [entry.settings, *([f"when {entry.when}"] * bool(entry.when))]
        say(console, Text(entry.source, style="bold"), prefix="  ")
        say(console, SEPARATOR.join(facts), prefix=" " * 6)


def _short(value: Scalar) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
